"""A run after one that left workers behind: nothing is run beside itself without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from eventq import LogCorruptError, Queue, Task
from eventq.core.commits import Commit
from eventq.handlers.context import AsyncContext, Context
from eventq.runner.executors import thread as executor
from tests.checker import check_log
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    kinds,
    look,
    queue_on,
    runner_of,
    running,
    wait_until,
)


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue of two workers whose runs wait for nobody; what it leaves must be a good log."""
    monkeypatch.setattr(executor, "JOIN_S", 0.0)
    with queue_on(log, clock=clock, workers=2) as queue:
        yield queue
    check_log(HookedLog(log.storage))


def break_off(log: HookedLog, error: BaseException, gate: Gate) -> None:
    """Has the next append of a completion raise, once a worker has come to the gate."""

    def hook(commit: Commit) -> None:
        if any('"completed"' in body for body in commit.bodies):
            log.before_append = lambda _: None
            wait_until(gate.reached.is_set)
            raise error

    log.before_append = hook


class Outliving:
    """A worker that holds the task ``slow`` at a gate, whatever it is told."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.begun: list[str] = []

    def __call__(self, _ctx: Context, task: Task) -> str:
        """Works."""
        self.begun.append(task.key)
        if task.key == "slow":
            self.gate()
        return task.key

    async def in_loop(self, ctx: AsyncContext, task: Task) -> str:
        """Works, and blocks the loop, once the quick task has ended."""
        for _ in range(3 * (task.key == "slow")):
            await asyncio.sleep(0)
        return self(ctx, task)


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("error", [LogCorruptError(1, "as told"), KeyboardInterrupt()])
def test_a_run_that_broke_off_leaves_nothing_to_run_twice(
    queue: Queue, log: HookedLog, kind: str, error: BaseException
) -> None:
    """What still works keeps its lease until it ends; what had ended is recorded."""
    worker = Outliving()
    queue.new(key="quick", priority=1)
    queue.new(key="slow")
    break_off(log, error, worker.gate)
    with running(queue, worker if kind == "def" else worker.in_loop) as run:
        run.wait()
    assert run.error is error

    with running(queue, worker):
        look(queue)
        queue.new(key="next")
        wait_until(lambda: kinds(queue, "next")[-1] == "completed", "a worker of its own")
        assert kinds(queue, "slow") == ["created", "leased"]
        worker.gate.open()
        wait_until(lambda: not queue.tasks())

    assert [kinds(queue, key) for key in ("quick", "slow")] == [
        ["created", "leased", "completed"]
    ] * 2
    assert sorted(worker.begun) == ["next", "quick", "slow"]


def test_a_worker_that_stops_when_its_run_broke_off_is_given_back(
    queue: Queue, log: HookedLog
) -> None:
    """It has not failed: its task runs again with no attempt burnt."""
    gate = Gate()

    def stops(ctx: Context, task: Task) -> None:
        if task.key == "slow":
            gate()
            ctx.check()

    queue.new(key="quick", priority=1)
    queue.new(key="slow", max_retries=0)
    break_off(log, LogCorruptError(1, "as told"), gate)
    with running(queue, stops) as run:
        run.wait()

    with running(queue, lambda _ctx, _task: None):
        look(queue)
        gate.open()
        wait_until(lambda: not queue.tasks())

    assert kinds(queue, "slow") == ["created", "leased", "released", "leased", "completed"]


@pytest.mark.parametrize("ends", ["forced", "late"])
def test_what_outlives_a_run_that_ended_is_refused_by_the_next(
    queue: Queue, clock: ManualClock, ends: str
) -> None:
    """A forced stop or a deadline has ended the lease, and the work was done all the same."""
    worker = Outliving()
    queue.new(key="slow", deadline="30s", backoff="1s")
    with running(queue, worker) as run:
        wait_until(worker.gate.reached.is_set)
        runner = runner_of(queue)
        if ends == "late":
            clock.advance(30)
            look(queue)
        queue.stop()
        queue.stop()
        run.wait()
    assert runner.attempts.strays
    clock.advance(1)

    with running(queue, lambda _ctx, _task: "second"):
        wait_until(lambda: not queue.tasks())
        worker.gate.open()
        wait_until(lambda: queue.stats().refused)

    assert kinds(queue, "slow")[-3:] == ["leased", "completed", "refused"]


def test_a_worker_whose_loop_is_gone_is_waited_for_by_nobody(queue: Queue, log: HookedLog) -> None:
    """It can never end, so its task is given back."""
    gate = Gate()

    async def ignores(_ctx: AsyncContext, task: Task) -> None:
        while task.key == "slow":
            gate.reached.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                continue

    queue.new(key="slow", priority=1)
    queue.new(key="quick")
    break_off(log, LogCorruptError(1, "as told"), gate)
    with pytest.raises(LogCorruptError):
        queue.run(ignores)

    queue.run(lambda _ctx, _task: None, until="idle")

    assert kinds(queue, "slow") == ["created", "leased", "released", "leased", "completed"]
