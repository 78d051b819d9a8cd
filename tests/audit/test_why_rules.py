"""What `why`, `stats` and the stepper tell of limits, pauses and turns."""

from __future__ import annotations

import pytest

from eventq import Queue
from eventq.audit import Cursor
from eventq.replay.fold import replay
from eventq.snapshot import compare
from tests.audit.asking import asked
from tests.replays import rules_of


def test_why_at_a_moment_when_the_limit_held_it(queue: Queue) -> None:
    """The limit, who was in it; and when a rate gave room again."""
    queue.set_limit("smtp", running=1, per="host")
    queue.set_limit("api", rate="1/1m")
    queue.new({"host": "mx1"}, key="a", limits=["smtp"])
    queue.new({"host": "mx1"}, key="b", limits=["smtp"])
    queue.new({"n": 1}, key="c", limits=["api"])
    queue.new({"n": 1}, key="d", limits=["api"])
    queue.run(lambda _ctx, _task: None, until="idle")
    seqs = {e.task: e.seq for e in queue.events() if e.kind == "leased"}
    numbers = {key: queue.get(key).number for key in "abcd"}  # type: ignore[union-attr]
    at_limit = asked(queue, "b", seqs[numbers["a"]])
    at_rate = asked(queue, "d", seqs[numbers["c"]])

    assert at_limit.verdict == "limit smtp of mx1 has no room: 1 at a time"
    assert any(note.startswith("1 task runs in it: a on ") for note in at_limit.notes)
    assert at_rate.verdict == "limit api has no room: 1 in 1m"
    assert "1 lease began in its window" in at_rate.notes
    assert any(note.endswith("in 1m") for note in at_rate.notes)


def test_why_at_a_moment_when_a_pause_held_it(queue: Queue) -> None:
    """Also once it is over, and for one that ends by itself."""
    queue.new({"n": 1}, key="a", lane="mail")
    queue.pause(lane="mail", by="ada", reason="down", until="2h")
    paused, held = queue.log.head().seq, queue.stats().held
    queue.resume(lane="mail", by="ada")
    queue.run(lambda _ctx, _task: None, until="idle")
    answer = asked(queue, "a", paused)

    assert held == {"pause of lane mail": 1}
    assert answer.verdict.startswith("lane mail is paused by ada since ")
    assert answer.verdict.endswith(": down")
    assert any(note.startswith("the pause ends at ") for note in answer.notes)
    assert asked(queue, "a").verdict.startswith("it has been completed")


def test_why_at_a_moment_when_another_share_had_its_turn(queue: Queue) -> None:
    """A task of lower number waits for one of another share, whose turn it is."""
    queue.set_turns(per="tenant")
    for key, tenant in (("a", "huge"), ("b", "huge"), ("c", "small")):
        queue.new({"tenant": tenant}, key=key)
    order: list[str] = []
    queue.run(lambda _ctx, task: order.append(task.key), until="idle")
    seqs = {e.task: e.seq for e in queue.events() if e.kind == "leased"}
    first = queue.get("a")
    assert first is not None
    answer = asked(queue, "b", seqs[first.number])

    assert order == ["a", "c", "b"]
    assert answer.verdict == "1 task is ahead: 1 by their share's turn"
    assert answer.rank is not None
    assert [(rival.task.key, rival.field) for rival in answer.rank.ahead] == [("c", "turn")]


def test_why_names_a_limit_that_is_not_defined(queue: Queue) -> None:
    """A slip in its name would be no limit at all otherwise."""
    lost = queue.new({}, limits=["lost"])
    answer = asked(queue, lost.key)

    assert answer.verdict == "limit lost is not defined, and so it holds all its tasks back"
    assert queue.stats().held == {"limit lost": 1}


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
