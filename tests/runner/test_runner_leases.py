"""Leases between nodes: renewal, lapses, sharing, and how far ahead a node leases."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from eventq import Handlers, Queue, Task
from eventq.core.events import Failed
from eventq.handlers.context import AsyncContext, Context
from eventq.runner.attempt import LeaseTime
from eventq.runner.pacing import AHEAD_S, BLOCK, Pace
from tests.checker import check_log
from tests.runner import isolated
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    kinds,
    lease,
    look,
    node_of,
    nudge,
    queue_on,
    runner_of,
    running,
    wait_until,
)


class TestLapses:
    """Nodes that stop renewing."""

    def test_a_dead_nodes_task_is_leased_again_after_its_ttl(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """By the judge's own clock: not before the ttl is over, and right then."""
        with queue_on(HookedLog(log.storage), clock=ManualClock()) as dead:
            dead.new(key="k")
            lease(dead, ttl_us=5_000_000)

        with running(queue, lambda _ctx, _task: "saved"):
            for _ in range(49):
                clock.advance(0.1)
                nudge(queue)
                wait_until(lambda: runner_of(queue).lookout.looked_s == clock.seconds)
            assert kinds(queue, "k") == ["created", "leased"]
            clock.advance(0.2)
            nudge(queue)
            wait_until(lambda: not queue.tasks())

        assert kinds(queue, "k") == [
            "created", "leased", "failed", "retried", "leased", "completed",
        ]  # fmt: skip
        failed = queue.history("k")[2].body
        assert isinstance(failed, Failed)
        assert failed.error.type == "LeaseLapsed"
        assert node_of(dead).name in failed.error.message

    def test_a_lapse_counts_as_an_attempt(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """A task without retries expires with its node."""
        with queue_on(HookedLog(log.storage), clock=clock) as dead:
            dead.new(key="k", max_retries=0)
            lease(dead, ttl_us=1_000_000)
        clock.advance(5)

        queue.run(lambda _ctx, _task: None, until="idle")

        assert kinds(queue, "k") == ["created", "leased", "failed", "expired"]

    def test_renewal_keeps_a_long_attempt_alive(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """An attempt many times as long as the ttl keeps its lease under another node's eyes."""
        queue.new(key="k")
        gate = Gate()
        with (
            queue_on(HookedLog(log.storage), clock=clock, workers=1) as judge,
            running(queue, lambda _ctx, _task: gate(), lease_ttl="3s"),
        ):
            wait_until(gate.reached.is_set)
            with running(judge, lambda _ctx, _task: "stolen", lease_ttl="3s"):
                for _ in range(10):
                    renewed = queue.log.head().seq
                    clock.advance(1)
                    nudge(queue)
                    wait_until(lambda seq=renewed: log.head().seq > seq, "a renewal")  # type: ignore[misc]
                    nudge(judge)
                    wait_until(lambda: runner_of(judge).lookout.looked_s == clock.seconds)
                gate.open()
                wait_until(lambda: not queue.tasks())

        assert kinds(queue, "k") == ["created", "leased", "completed"]
        assert sum(event.kind == "renewed" for event in queue.events()) == 10

    def test_a_node_that_lost_its_lease_is_told_and_refused(
        self, queue: Queue, log: HookedLog
    ) -> None:
        """A worker whose lease another node let lapse is cancelled; its outcome is refused."""
        queue.new(key="k")
        gate, told = Gate(), threading.Event()

        def worker(ctx: Context, _task: Task) -> str:
            gate()
            wait_until(lambda: ctx.cancelled)
            told.set()
            return "too late"

        def judge_it(_ctx: Context, _task: Task) -> str:
            second()
            return "in time"

        second, judges_clock = Gate(), ManualClock()
        with (
            queue_on(HookedLog(log.storage), clock=judges_clock, workers=1) as judge,
            running(queue, worker, lease_ttl="3s"),
        ):
            wait_until(gate.reached.is_set)
            with running(judge, judge_it, lease_ttl="3s"):
                wait_until(lambda: runner_of(judge).lookout.looked_s == judges_clock.seconds)
                for _ in range(3):
                    judges_clock.advance(1.5)
                    nudge(judge)
                    wait_until(lambda: runner_of(judge).lookout.looked_s == judges_clock.seconds)
                wait_until(second.reached.is_set)
                gate.open()
                nudge(queue)
                wait_until(told.is_set)
                wait_until(lambda: queue.stats().refused)
                second.open()
                wait_until(lambda: not judge.tasks())

        assert kinds(queue, "k")[-3:] == ["leased", "refused", "completed"]
        task = queue.get("k")
        assert task is not None
        assert task.result == "in time"

    def test_leases_of_a_torn_run_are_given_back_by_the_next(self, queue: Queue) -> None:
        """A lease of this very node that nobody works on does not wait for its ttl."""
        queue.new(key="k")
        lease(queue, ttl_us=3_600_000_000)

        report = queue.run(lambda _ctx, _task: None, until="idle")

        assert report.completed == 1
        assert kinds(queue, "k") == ["created", "leased", "released", "leased", "completed"]


class TestSharing:
    """Several nodes on one log."""

    def test_two_nodes_on_one_file_share_the_work(self, tmp_path: Path) -> None:
        """Each task is run once, and neither node takes all of the slow ones."""
        url = f"sqlite:///{tmp_path}/eventq.db"
        by: dict[str, list[int]] = {"one": [], "two": []}
        with Queue(url, workers=2) as one, Queue(url, workers=2) as two:
            one.new_many([{}] * 120)
            barrier = threading.Barrier(2)

            def run(name: str, queue: Queue) -> None:
                async def worker(_ctx: AsyncContext, task: Task) -> None:
                    by[name].append(task.number)
                    await asyncio.sleep(0.01)

                barrier.wait()
                queue.run(worker, until="idle")

            threads = [
                threading.Thread(target=run, args=pair) for pair in (("one", one), ("two", two))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            report = check_log(one.log)

        assert sorted(by["one"] + by["two"]) == list(range(1, 121))
        assert min(len(by["one"]), len(by["two"])) >= 30
        assert report.kinds["leased"] == report.kinds["completed"] == 120

    def test_tasks_stuck_behind_a_slow_one_are_given_back(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """What was leased ahead is released after STUCK_S, so that others can take it."""
        queue.new_many([{}] * 50, priority=1)
        for key in ("slow", "behind-0", "behind-1"):
            queue.new(key=key)
        gate = Gate()

        def worker(_ctx: Context, task: Task) -> None:
            if task.key == "slow":
                gate()

        with running(queue, worker):
            wait_until(gate.reached.is_set)
            wait_until(lambda: len(queue.tasks(state="leased")) == 3)
            clock.advance(0.6)
            nudge(queue)
            wait_until(lambda: len(queue.tasks(state="ready")) == 2)
            gate.open()
            wait_until(lambda: not queue.tasks())

        assert kinds(queue, "behind-0") == ["created", "leased", "released", "leased", "completed"]
        assert kinds(queue, "slow") == ["created", "leased", "completed"]

    def test_a_node_whose_loop_is_blocked_leases_no_more(
        self, log: HookedLog, clock: ManualClock
    ) -> None:
        """What it could not start is given back once, left to others, and taken when it goes on."""
        gate = Gate()

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            if task.key == "block":
                gate()

        with (
            queue_on(log, clock=clock, workers=3) as queue,
            running(queue, worker),
        ):
            queue.new(key="block")
            wait_until(gate.reached.is_set)
            queue.new_many([{}] * 5)
            for _ in range(9):
                look(queue)
                clock.advance(0.3)
            look(queue)
            counts = queue.stats()
            assert (counts.leased, counts.attempts) == (1, 3)
            gate.open()
            wait_until(lambda: not queue.tasks())

        check_log(HookedLog(log.storage))

    def test_new_tasks_do_not_put_off_what_is_stuck(
        self, log: HookedLog, clock: ManualClock
    ) -> None:
        """A task that waits for a blocked loop is given back in time, whatever is leased since."""
        gate = Gate()

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            if task.key == "block":
                gate()

        with queue_on(log, clock=clock, workers=9) as queue, running(queue, worker):
            queue.new(key="block")
            wait_until(gate.reached.is_set)
            for number in range(3):
                queue.new(key=f"task-{number}")
                look(queue)
                clock.advance(0.3)
            look(queue)
            assert kinds(queue, "task-0") == ["created", "leased", "released"]
            gate.open()
            wait_until(lambda: not queue.tasks())

    def test_a_lone_slow_task_is_never_leased_ahead(self, queue: Queue, clock: ManualClock) -> None:
        """When tasks take long, a node holds no more than its workers do."""
        queue.new_many([{}] * 6)
        most = []

        def worker(_ctx: Context, _task: Task) -> None:
            most.append(len(queue.tasks(state="leased")))
            clock.advance(1)

        queue.run(worker, until="idle")

        assert most == [1] * 6


class TestPace:
    """How far ahead, by measured task time."""

    def test_nothing_is_known_at_first(self) -> None:
        """Before a measurement only free workers get tasks."""
        assert Pace(4).ahead() == 0

    def test_fast_tasks_are_held_in_blocks(self) -> None:
        """Two blocks for tasks of no time, fewer for slower ones, none for slow ones."""
        ahead = []
        for task_s in (0.0, 1e-6, AHEAD_S / 100, AHEAD_S / 2, AHEAD_S, 1.0):
            pace = Pace(1)
            pace.measure(task_s * 10, 10)
            ahead.append(pace.ahead())

        assert ahead == [2 * BLOCK, 2 * BLOCK, 100, 2, 1, 0]

    def test_slowness_is_believed_at_once_and_quickness_slowly(self) -> None:
        """One slow task ends leasing ahead; it takes several quick ones to begin again."""
        pace = Pace(1)
        pace.measure(0.0001, 1)
        pace.measure(1.0, 1)
        slow = pace.ahead()
        for _ in range(5):
            pace.measure(0.0001, 1)
        still_slow = pace.ahead()
        for _ in range(30):
            pace.measure(0.0001, 1)

        assert (slow, still_slow) == (0, 0)
        assert pace.ahead() > 10

    def test_more_workers_hold_more(self) -> None:
        """Each worker has its share ahead."""
        pace = Pace(8)
        pace.measure(AHEAD_S, 1)

        assert pace.ahead() == 8


@pytest.mark.parametrize("kind", ["thread", "loop", "process"])
def test_nothing_begins_behind_its_lease_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited for a worker meanwhile is given back: another node may have it by now."""
    found = iter([True])
    monkeypatch.setattr(LeaseTime, "is_over", lambda *_: next(found, False))
    handlers = Handlers()

    @handlers.task
    async def double_later(number: int) -> int:
        return 2 * number

    @handlers.task
    def double_here(number: int) -> int:
        return 2 * number

    work: Any = {"thread": double_here, "loop": double_later, "process": isolated.double}[kind]
    with Queue("memory://", workers=1, handlers=[handlers, isolated.handlers]) as queue:
        task = queue.new(work, 2)
        queue.run(until="idle")

        assert kinds(queue, task.key) == ["created", "leased", "released", "leased", "completed"]
        check_log(queue.log)


def test_a_lease_is_over_once_its_time_has_passed_since_the_last_sign_of_life() -> None:
    """Whoever renews at the same moment is too late."""
    lease = LeaseTime(ttl_s=5.0, signed_s=10.0)

    assert not lease.is_over(14.9)
    assert lease.is_over(15.0)
