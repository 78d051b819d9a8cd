"""Limits, turns and pauses as users have them: set by code or by hand, held by runs, told after."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from eventq import ArgumentError, Handlers, Queue, TaskSpec, TaskState
from eventq.testing import harness
from eventq.verify import verify
from tests.support import node_of

KIB_64 = "x" * 65_536


class Gauge:
    """How many calls of each value go on at a time, at the most."""

    def __init__(self, together: int) -> None:
        """``together``: how many calls there must be at a time, of all values."""
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._together = threading.Barrier(together)

    def __call__(self, value: str) -> None:
        """One call; it lasts until so many have begun."""
        with self._lock:
            self._now[value] += 1
            self.most[value] = max(self.most[value], self._now[value])
        self._together.wait(60)
        with self._lock:
            self._now[value] -= 1


def test_a_limit_bounds_what_runs_for_each_value() -> None:
    """Of two hosts, each has its own bucket; together they use all places."""
    with Queue("memory://", workers=6, max_retries=0) as queue:
        queue.limit("smtp", running=2, per="host")
        gauge = Gauge(4)

        @queue.task("send", limits=["smtp"])
        def send(host: str) -> None:
            gauge(host)

        for number in range(60):
            send.new(f"mx{number % 2}")
        report = queue.run(until="idle")

        assert report.completed == 60
        assert gauge.most == {"mx0": 2, "mx1": 2}
        assert [(b.value, b.bound, b.running, b.waiting) for b in queue.limits()] == [
            (None, 2, 0, 0)
        ]
        assert verify(queue.log).ok


def test_one_exclusive_value_is_one_task_at_a_time() -> None:
    """Other values go on beside it."""
    with Queue("memory://", workers=4, max_retries=0) as queue:
        for number in range(20):
            queue.new({"repo": f"{number % 2}"}, exclusive=[f"repo:{number % 2}"])
        gauge = Gauge(2)

        report = queue.run(lambda _, task: gauge(task.tags["repo"]), until="idle")

        assert report.completed == 20
        assert gauge.most == {"0": 1, "1": 1}
        assert verify(queue.log).ok


def test_a_rate_lets_so_many_begin_in_any_window() -> None:
    """By the log's time, and an idle run waits for it."""
    shop = Handlers()
    shop.limit("api", rate="3/10s")
    begun: list[Any] = []

    @shop.task("call", limits=["api"])
    def call(number: int) -> None:
        begun.append(number)

    with harness(handlers=[shop]) as t:
        for number in range(8):
            call.new(number)
        t.forward("1m")
        leased = [event.decided_at for event in t.queue.events() if event.kind == "leased"]

        assert begun == list(range(8))
        assert all(
            later - first >= 10_000_000 for first, later in zip(leased, leased[3:], strict=False)
        )
        assert verify(t.queue.log).ok


def test_shares_take_turns_by_weight() -> None:
    """One with a hundred times the backlog keeps nobody waiting."""
    with Queue("memory://", workers=1) as queue:
        queue.fair(per="tenant", weights={"big": 2})
        for number in range(30):
            queue.new({"tenant": "huge", "n": number})
        for number in range(6):
            queue.new({"tenant": "big", "n": number})
            queue.new({"tenant": "small", "n": number})
        order: list[str] = []

        queue.run(lambda _, task: order.append(task.tags["tenant"]), until="idle")

        assert Counter(order[:12]) == {"big": 6, "huge": 3, "small": 3}
        assert verify(queue.log).ok


@pytest.mark.parametrize(
    "scope",
    [{}, {"lane": "mail"}, {"name": "a.*"}, {"limit": "smtp"}, {"tags": {"tenant": "7"}}],
    ids=str,
)
def test_what_is_paused_is_not_leased_until_it_is_resumed(scope: Any) -> None:  # noqa: ANN401
    """It can be made meanwhile, and `until="idle"` does not wait for it."""
    with Queue("memory://", workers=1) as queue:
        queue.set_limit("smtp", running=5)
        queue.pause(**scope, reason="down", by="ada")
        task = queue.new({"tenant": "7"}, name="a.b", lane="mail", limits=["smtp"])

        first = queue.run(lambda *_: None, names=["*"], until="idle")
        [pause] = queue.pauses()
        queue.resume(**scope)
        second = queue.run(lambda *_: None, names=["*"], until="idle")

        assert (first.completed, second.completed) == (0, 1)
        assert (pause.reason, pause.by, pause.waiting) == ("down", "ada", 1)
        assert queue.pauses() == []
        assert queue.get(task.key).state is TaskState.COMPLETED  # type: ignore[union-attr]
        assert verify(queue.log).ok


def test_a_pause_ends_by_itself() -> None:
    """No event says so: the log's time does."""
    shop = Handlers()

    @shop.task("work")
    def work() -> None: ...

    with harness(handlers=[shop]) as t:
        t.queue.pause(until="1h")
        task = work.new()
        t.forward("59m")
        before = t.queue.get(task.key)
        t.forward("2m")
        after = t.queue.get(task.key)

        assert [each.state for each in (before, after) if each] == ["ready", "completed"]
        assert t.queue.pauses() == []
        assert verify(t.queue.log).ok


def test_a_pause_and_a_limit_survive_a_restart(tmp_path: Any) -> None:  # noqa: ANN401
    """They are in the log."""
    url = f"sqlite:///{tmp_path}/a.db"
    with Queue(url) as queue:
        queue.pause(lane="mail", until=timedelta(hours=1))
        queue.set_limit("smtp", running=3)

    with Queue(url) as queue:
        assert [pause.scope.lane for pause in queue.pauses()] == ["mail"]
        assert [(bucket.limit, bucket.bound) for bucket in queue.limits()] == [("smtp", 3)]


def test_cancel_running_tells_what_runs() -> None:
    """And only that."""
    with Queue("memory://", workers=1) as queue:
        task, other = queue.new({"n": "1"}), queue.new({"n": "2"})

        def worker(ctx: Any, task: Any) -> None:  # noqa: ANN401
            if task.tags["n"] == "1":
                queue.pause(tags={"n": "1"}, cancel_running=True, reason="stop it", by="ada")
                ctx.sleep("1h")

        queue.run(worker, until="idle")

        after = queue.get(task.key), queue.get(other.key)
        assert [each.state for each in after if each] == ["cancelled", "completed"]
        assert after[0] is not None
        assert after[0].final_reason == "stop it"


def test_a_limit_that_nobody_has_defined_blocks_until_somebody_does() -> None:
    """Its first definition gives the tasks that wait their values."""
    with Queue("memory://", workers=1) as queue:
        queue.new({"host": "mx1"}, limits=["smtp"])
        queue.new({}, limits=["smtp"])
        first = queue.run(lambda *_: None, until="idle")
        assert not queue.limits()[0].is_defined

        queue.set_limit("smtp", running=1, per="host", by="ada")
        second = queue.run(lambda *_: None, until="idle")

        assert (first.completed, second.completed) == (0, 1)
        with pytest.raises(ArgumentError, match="per: expected 'host' as long as"):
            queue.set_limit("smtp", running=1, per="other")
        assert verify(queue.log).ok


def test_a_change_by_hand_holds_until_the_code_changes(caplog: Any) -> None:  # noqa: ANN401
    """Code that says what was replaced does nothing and warns."""
    with Queue("memory://", workers=1) as queue:

        def bound_after(running: int, version: int = 0) -> int | None:
            shop = Handlers()
            shop.limit("smtp", running=running, version=version)
            queue._registry._collections[1:] = [shop]
            queue.run(lambda *_: None, until="idle")
            return queue.limits()[0].bound

        assert bound_after(3) == 3
        queue.set_limit("smtp", running=1, by="ada")
        assert bound_after(3) == 1
        assert bound_after(4) == 4
        assert bound_after(3) == 4
        assert "limit smtp is not set as this code defines it" in caplog.text
        assert bound_after(3, version=1) == 3


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda q: q.limit("smtp", running=0), "running"),
        (lambda q: q.limit("smtp", rate="100"), "rate"),
        (lambda q: q.limit("smtp", rate="0/1s"), "rate"),
        (lambda q: q.limit("smtp", rate="1/0s"), "rate"),
        (lambda q: q.limit("smtp", rate="5/60"), "rate"),
        (lambda q: q.limit("exclusive", running=2), "limit"),
        (lambda q: q.limit("a b", running=2), "limit"),
        (lambda q: q.limit("smtp", running=-1), "running"),
        (lambda q: q.limit("smtp", running=1, per=""), "per"),
        (lambda q: q.set_limit("smtp", running=1, per="a b"), "per"),
        (lambda q: q.fair(per="1"), "per"),
        (lambda q: q.new({}, limits=[("smtp", "a\x00")]), "limits"),
        (lambda q: q.fair(weights={"a": 0}), "weights"),
        (lambda q: q.new({}, limits=["per host"]), "limits"),
        (lambda q: q.new({}, limits="smtp"), "limits"),
        (lambda q: q.new({}, limits=["a", "a"]), "limits"),
        (lambda q: q.new({}, limits=["hosts"]), "limits"),
        (lambda q: q.new({"host": KIB_64[:60_000]}, limits=["hosts"]), "limits"),
        (lambda q: q.new({"host": "a\nb"}, limits=["hosts"]), "limits"),
        (lambda q: q.new_many([{"host": "a"}, {}], limits=["hosts"]), "tasks[1]: limits"),
        (lambda q: q.new({}, limits={"smtp": KIB_64}), "limits"),
        (lambda q: q.new({}, exclusive=["a\x00"]), "exclusive"),
        (lambda q: q.new({}, share=""), "share"),
        (lambda q: q.pause(value="mx1"), "value"),
        (lambda q: q.pause(tags={}), "tags"),
        (lambda q: q.pause(until="-1s"), "until"),
        (lambda q: q.pause(until="0s"), "until"),
        (lambda q: q.resume(lane="mail"), "scope"),
    ],
    ids=count(),
)
def test_bad_input_is_refused_by_name(call: Any, argument: str) -> None:  # noqa: ANN401
    """Nothing is appended then."""
    with Queue("memory://") as queue:
        queue.limit("hosts", running=1, per="host")
        before = queue.log.head().seq

        with pytest.raises(ArgumentError) as refused:
            call(queue)

        assert refused.value.argument == argument
        assert queue.log.head().seq == before


def test_a_producer_that_defines_the_limit_folds_nothing() -> None:
    """The value is read at once; whoever does not define it asks the log."""
    with Queue("memory://") as queue:
        queue.limit("smtp", running=1, per="host")
        queue.new({"host": "mx1"}, limits=["smtp"])
        assert node_of(queue)._folded.projection is None

        queue.new_many([TaskSpec({"host": "mx1"}, limits=["elsewhere"])])
        assert node_of(queue)._folded.projection is not None


def test_a_task_made_for_a_run_at_rest_keeps_the_rules() -> None:
    """Not leased as it is made where it is paused, or where its bucket is full."""
    with Queue("memory://", workers=2) as queue:
        queue.limit("one", running=1)

        def worker(_: Any, task: Any) -> None:  # noqa: ANN401
            if task.tags.get("first"):
                queue.new({}, limits=["one"])
                queue.new({}, lane="mail")

        queue.pause(lane="mail")
        queue.new({"first": True}, limits=["one"])
        report = queue.run(worker, until="idle")

        assert (report.completed, queue.stats().ready) == (2, 1)
        assert verify(queue.log).ok
