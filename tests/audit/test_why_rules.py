"""What `why`, `stats` and the stepper tell of limits, pauses and turns."""

from __future__ import annotations

import pytest

from eventq import Queue
from eventq.audit import Cursor, why
from eventq.replay.fold import replay
from eventq.replay.points import find_point
from eventq.snapshot import compare
from tests.replays import rules_of


def verdict(queue: Queue, key: str) -> str:
    """Why the task has not run yet."""
    now = queue._node.now()
    return why(queue.log, key, find_point(queue.log, "end", now=now)).verdict


def test_why_names_the_pause() -> None:
    """With who made it and why."""
    with Queue("memory://") as queue:
        task = queue.new({}, lane="mail")
        queue.pause(lane="mail", by="ada", reason="provider down")

        assert verdict(queue, task.key).startswith("lane mail is paused by ada since ")
        assert verdict(queue, task.key).endswith(": provider down")
        assert queue.stats().held == {"pause of lane mail": 1}


def test_why_names_the_limit_and_who_holds_it() -> None:
    """A full bucket, one that nobody has defined, and a rate that is used up."""
    with Queue("memory://", workers=1) as queue:
        queue.set_limit("smtp", running=1)
        queue.set_limit("api", rate="1/1h")
        first, second = queue.new({}, limits=["smtp"]), queue.new({}, limits=["smtp"])
        told = []
        queue.run(lambda *_: told.append(verdict(queue, second.key)), until="idle")
        queue.new_many([{}, {}], limits=["api"])
        lost = queue.new({}, limits=["nobody"])

        assert told[0] == "limit smtp has no room: 1 at a time"
        assert verdict(queue, lost.key).startswith("limit nobody is not defined")
        assert queue.stats().held == {"limit nobody": 1}
        assert queue.get(first.key) is not None


def test_why_names_the_turn() -> None:
    """Of equal priority, another share came before."""
    with Queue("memory://", workers=1) as queue:
        queue.set_turns(per="tenant")
        a, b = queue.new({"tenant": "a"}), queue.new({"tenant": "a"})
        other = queue.new({"tenant": "b"})
        order: list[str] = []
        queue.run(lambda _, task: order.append(task.key), until="idle")
        lease = next(e.seq for e in queue.events() if e.kind == "leased" and e.task == b.number)
        answer = why(queue.log, b.key, find_point(queue.log, lease - 1, now=queue._node.now()))

        assert order == [a.key, other.key, b.key]
        assert answer.rank is not None
        assert answer.rank.ahead_by["turn"] in {0, 1}


@pytest.mark.parametrize("begin", ["end", "after its steps"])
def test_the_stepper_goes_back_through_rules(begin: str) -> None:
    """At each position it stands where a replay up to there stands."""
    with Queue("memory://", workers=2) as queue:
        queue.set_limit("smtp", running=1, rate="2/1h", per="host")
        queue.set_turns(per="tenant", weights={"a": 2})
        queue.new_many([{"host": "x", "tenant": t} for t in "aab"], limits=["smtp"])
        queue.new({"n": 1}, exclusive=["one"])
        queue.pause(lane="mail")
        queue.run(lambda *_: queue.stop())
        queue.resume(lane="mail")
        queue.set_turns(lifted=True)
        cursor = Cursor(queue.log, now=queue._node.now())
        if begin == "end":
            cursor.jump("end")
        else:
            while cursor.forward():
                pass

        while cursor.seq:
            fresh = replay(queue.log, until=cursor.seq)
            assert rules_of(cursor.projection) == rules_of(fresh)
            assert cursor.projection.tasks == fresh.tasks
            assert compare(fresh, cursor.projection).is_empty
            cursor.backward()
