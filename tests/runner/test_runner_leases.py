"""Leases between nodes: renewal, lapses, sharing, and how far ahead a node leases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventq import Queue, Task
from eventq.core.decide import Draft
from eventq.core.events import Failed, Leased
from eventq.core.projection import Holder
from eventq.node.commit_plan import Command
from eventq.runner.context import AsyncContext, Context
from eventq.runner.lapses import LOOK_S, LapseWatch
from eventq.runner.pacing import AHEAD_S, BLOCK, Pace
from tests.checker import check_log
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    kinds,
    nudge,
    queue_on,
    runner_of,
    running,
    wait_until,
)


@pytest.fixture
def log() -> HookedLog:
    """The log that all nodes share."""
    return HookedLog()


@pytest.fixture
def clock() -> ManualClock:
    """The first node's clock."""
    return ManualClock()


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """The first node."""
    with queue_on(log, clock=clock, workers=1) as queue:
        yield queue
    check_log(HookedLog(log._storage))


def lease(queue: Queue, *, ttl_us: int) -> None:
    """Leases task 1 for a node that does nothing more, as one that was killed."""
    drafts: list[Draft] = [(1, Leased(1, queue._node.name, ttl_us))]
    queue._node.execute(Command(lambda _: drafts, leasing=True))


class TestLapses:
    """Nodes that stop renewing."""

    def test_a_dead_nodes_task_is_leased_again_after_its_ttl(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """By the judge's own clock: not before the ttl is over, and right then."""
        with queue_on(HookedLog(log._storage), clock=ManualClock()) as dead:
            dead.new(key="k")
            lease(dead, ttl_us=5_000_000)

        with running(queue, lambda _ctx, _task: "saved"):
            for _ in range(49):
                clock.advance(0.1)
                nudge(queue)
                wait_until(lambda: runner_of(queue)._looked_s == clock.seconds)
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
        assert dead._node.name in failed.error.message

    def test_a_lapse_counts_as_an_attempt(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """A task without retries expires with its node."""
        with queue_on(HookedLog(log._storage), clock=clock) as dead:
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
            queue_on(HookedLog(log._storage), clock=clock, workers=1) as judge,
            running(queue, lambda _ctx, _task: gate(), lease_ttl="3s"),
        ):
            wait_until(gate.reached.is_set)
            with running(judge, lambda _ctx, _task: "stolen", lease_ttl="3s"):
                for _ in range(10):
                    renewed = queue._node.log.head().seq
                    clock.advance(1)
                    nudge(queue)
                    wait_until(lambda seq=renewed: log.head().seq > seq, "a renewal")  # type: ignore[misc]
                    nudge(judge)
                    wait_until(lambda: runner_of(judge)._looked_s == clock.seconds)
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
            queue_on(HookedLog(log._storage), clock=judges_clock, workers=1) as judge,
            running(queue, worker, lease_ttl="3s"),
        ):
            wait_until(gate.reached.is_set)
            with running(judge, judge_it, lease_ttl="3s"):
                wait_until(lambda: runner_of(judge)._looked_s == judges_clock.seconds)
                for _ in range(3):
                    judges_clock.advance(1.5)
                    nudge(judge)
                    wait_until(lambda: runner_of(judge)._looked_s == judges_clock.seconds)
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
            report = check_log(one._node.log)

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

    def test_a_lone_slow_task_is_never_leased_ahead(self, queue: Queue, clock: ManualClock) -> None:
        """When tasks take long, a node holds no more than its workers do."""
        queue.new_many([{}] * 6)
        most = []

        def worker(_ctx: Context, _task: Task) -> None:
            most.append(len(queue.tasks(state="leased")))
            clock.advance(1)

        queue.run(worker, until="idle")

        assert most == [1] * 6


class TestLapseWatch:
    """The judge, by a manual clock."""

    @staticmethod
    def holders(
        *, seen_seq: int = 5, seen_at: int = 0, ttl_us: int = 10_000_000
    ) -> dict[str, Holder]:
        """One other node, and this one."""
        return {
            "other": Holder(ttl_us, seen_seq, seen_at, {1}),
            "me": Holder(1, 1, 0, {2}),
        }

    def look(self, watch: LapseWatch, at_s: float, **seen: int) -> list[tuple[str, int]]:
        """One look at that time."""
        holders = self.holders(**seen)
        return watch.look(holders, me="me", monotonic_s=at_s, now=round(at_s * 1e6))

    def test_the_ttl_counts_from_the_moment_a_sign_was_seen(self) -> None:
        """Whatever the log's own instants say, once this process has begun to look."""
        watch = LapseWatch()
        assert watch.look({}, me="me", monotonic_s=99, now=99_000_000) == []
        looks = [self.look(watch, at_s) for at_s in range(100, 110)]

        assert looks == [[]] * 10
        assert self.look(watch, 110) == [("other", 5)]

    def test_a_new_sign_of_life_begins_anew(self) -> None:
        """A renewal gives another ttl."""
        watch = LapseWatch()
        watch.look({}, me="me", monotonic_s=99, now=99_000_000)
        looks = [self.look(watch, at_s, seen_seq=at_s // 5) for at_s in range(100, 140)]

        assert looks == [[]] * 40

    def test_at_the_first_look_a_sign_is_as_old_as_the_log_says(self) -> None:
        """After a restart, a node that is long dead is not granted a ttl anew."""
        assert self.look(LapseWatch(), 100, seen_at=90_000_000) == [("other", 5)]
        assert self.look(LapseWatch(), 100, seen_at=90_000_001) == []
        assert self.look(LapseWatch(), 100, seen_at=200_000_000) == []

    def test_time_in_which_nobody_could_look_is_not_held_against_others(self) -> None:
        """After a suspension of an hour the others have the rest of their ttl left."""
        watch = LapseWatch()
        watch.look({}, me="me", monotonic_s=99, now=99_000_000)
        self.look(watch, 100)

        assert self.look(watch, 3_700) == []
        assert [self.look(watch, 3_700 + LOOK_S * turn) for turn in (1, 2, 3)] == [[]] * 3
        assert self.look(watch, 3_700 + 8) == [("other", 5)]

    def test_a_node_that_let_go_is_forgotten(self) -> None:
        """It may come again with the same name and a fresh ttl."""
        watch = LapseWatch()
        self.look(watch, 100, seen_at=100_000_000)
        watch.look({}, me="me", monotonic_s=101, now=0)

        assert [self.look(watch, at_s) for at_s in range(102, 111)] == [[]] * 9


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
