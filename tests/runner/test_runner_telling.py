"""Deadlines and cancellation: how a running worker is told, and what if it does not listen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from eventq import AlreadyRunningError, AttemptCancelledError, DeadlineExceededError, Queue, Task
from eventq.core.events import Expired
from eventq.handlers.context import AsyncContext, Context
from tests.checker import check_log
from tests.support import (
    Gate,
    ManualClock,
    ends,
    final,
    kinds,
    pass_time,
    runner_of,
    running,
    wait_until,
)


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, backoff="10s", clock=clock) as queue:
        yield queue
        check_log(queue.log)


class TestDeadlines:
    """Attempts that run too long, and tasks that come too late."""

    def test_check_and_sleep_raise_past_the_deadline(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """A worker that looks is told; the attempt fails and is retried by its policy."""
        queue.new(deadline="30s", max_retries=0, key="k")
        gate = Gate()
        told = []

        def worker(ctx: Context, _task: Task) -> None:
            assert ctx.deadline is not None
            assert (ctx.remaining(), ctx.cancelled) == (30.0, False)
            ctx.check()
            gate()
            for look in (ctx.check, lambda: ctx.sleep(60), ctx.extend):
                with pytest.raises(DeadlineExceededError):
                    look()
                told.append(ctx.remaining())
            ctx.check()

        with running(queue, worker):
            assert gate.reached.wait(60)
            clock.advance(30)
            gate.open()
            wait_until(ends(queue, "k"))

        assert told == [0.0, 0.0, 0.0]
        error = final(queue, "k").last_error
        assert error is not None
        assert error.type.endswith("DeadlineExceededError")

    def test_a_worker_that_ignores_its_deadline_loses_its_lease(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """The attempt fails in time; what the worker returns later is refused."""
        queue.new(deadline="30s", max_retries=0, key="k")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()):
            assert gate.reached.wait(60)
            pass_time(queue, clock, 30)
            wait_until(ends(queue, "k"))
            gate.open()
            wait_until(lambda: queue.stats().refused)

        assert kinds(queue, "k") == ["created", "leased", "failed", "expired", "refused"]

    def test_a_stray_keeps_its_thread_but_no_more(self, queue: Queue, clock: ManualClock) -> None:
        """While the ignorant worker holds the only thread, no other task is leased."""
        queue.new(deadline="30s", max_retries=0, key="k")
        gate = Gate()

        def worker(_ctx: Context, task: Task) -> None:
            if task.key == "k":
                gate()

        with running(queue, worker):
            assert gate.reached.wait(60)
            pass_time(queue, clock, 30)
            wait_until(ends(queue, "k"))
            queue.new(key="next")
            pass_time(queue, clock, 1)
            wait_until(lambda: runner_of(queue).lookout.looked_s == clock.seconds)
            assert queue.tasks(state="leased") == []
            gate.open()
            wait_until(ends(queue, "next"))

        assert kinds(queue, "next") == ["created", "leased", "completed"]

    def test_extend_moves_the_deadline(self, queue: Queue, clock: ManualClock) -> None:
        """A worker that makes progress may ask for its time anew, or for more."""
        queue.new(deadline="30s", key="k")
        gates = [Gate(), Gate()]

        def worker(ctx: Context, _task: Task) -> list[float | None]:
            gates[0]()
            ctx.extend()
            left = [ctx.remaining()]
            ctx.extend("2m")
            ctx.extend("1s")
            left.append(ctx.remaining())
            gates[1]()
            ctx.check()
            return left

        with running(queue, worker):
            assert gates[0].reached.wait(60)
            clock.advance(20)
            gates[0].open()
            assert gates[1].reached.wait(60)
            pass_time(queue, clock, 119)
            gates[1].open()
            wait_until(ends(queue, "k"))

        assert final(queue, "k").result == [30.0, 120.0]

    def test_a_task_that_expires_while_it_runs_is_failed_and_expired(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """Its age is a deadline too, also for a task without one."""
        queue.new(max_age="30s", key="k")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()):
            assert gate.reached.wait(60)
            pass_time(queue, clock, 30)
            wait_until(ends(queue, "k"))
            gate.open()

        body = queue.history("k")[3].body
        assert isinstance(body, Expired)
        assert body.reason == "max_age"

    def test_an_expired_task_is_never_leased(self, queue: Queue, clock: ManualClock) -> None:
        """A task whose time is over is expired by the run, not run."""
        queue.new(max_age="30s", key="k")
        clock.advance(30)

        report = queue.run(lambda _ctx, _task: None, until="idle")

        assert report.completed == 0
        assert kinds(queue, "k") == ["created", "expired"]


class TestCancellation:
    """Telling a worker that is at it."""

    @pytest.mark.parametrize("look", ["sleep", "check"])
    def test_cancelling_a_running_task_reaches_its_ctx(self, queue: Queue, look: str) -> None:
        """ctx.sleep wakes and raises, ctx.check raises; nothing more is recorded."""
        queue.new(key="k")
        gate, told = Gate(), []

        def worker(ctx: Context, _task: Task) -> None:
            gate.reached.set()
            try:
                while True:
                    ctx.sleep("1h") if look == "sleep" else ctx.check()
            except AttemptCancelledError:
                told.append(ctx.cancelled)
                raise

        with running(queue, worker):
            assert gate.reached.wait(60)
            queue.cancel("k")
            wait_until(lambda: told)

        assert told == [True]
        assert kinds(queue, "k") == ["created", "leased", "cancelled"]

    def test_cancelling_a_running_task_cancels_its_coroutine(self, queue: Queue) -> None:
        """An async worker gets asyncio's CancelledError where it waits."""
        queue.new(key="k")
        gate, told = Gate(), threading.Event()

        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            gate.reached.set()
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                told.set()
                raise

        with running(queue, worker):
            assert gate.reached.wait(60)
            queue.cancel("k")
            assert told.wait(60)
            queue.new(key="next")
            queue.cancel("next")

        assert kinds(queue, "k") == ["created", "leased", "cancelled"]

    def test_a_worker_that_finishes_all_the_same_is_refused(self, queue: Queue) -> None:
        """The outcome of a cancelled attempt changes nothing, but is kept as evidence."""
        queue.new(key="k")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()):
            assert gate.reached.wait(60)
            queue.cancel("k")
            wait_until(lambda: not queue.tasks())
            gate.open()
            wait_until(lambda: queue.stats().refused)

        assert kinds(queue, "k") == ["created", "leased", "cancelled", "refused"]

    def test_a_task_cancelled_before_its_turn_never_begins(self, queue: Queue) -> None:
        """A task that was leased ahead and cancelled meanwhile is not given to a worker."""
        warm = [queue.new(key=f"warm-{n}") for n in range(50)]
        queue.run(lambda _ctx, _task: None, until="idle")
        gate, begun = Gate(), []
        queue.new(key="slow")
        waiting = [queue.new(key=f"ahead-{n}").key for n in range(3)]

        def worker(_ctx: Context, task: Task) -> None:
            if task.key.startswith("warm"):
                return
            begun.append(task.key)
            gate()

        for task in warm:
            queue.new(key=f"{task.key}-again", priority=1)
        with running(queue, worker):
            assert gate.reached.wait(60)
            wait_until(lambda: len(queue.tasks(state="leased")) == 4)
            for key in waiting:
                queue.cancel(key)
            wait_until(lambda: len(runner_of(queue).attempts.strays) == 3, "the run to look around")
            gate.open()
            wait_until(lambda: not queue.tasks())

        assert begun == ["slow"]


class TestWorkers:
    """How many at a time."""

    @pytest.mark.parametrize("workers", [1, 3])
    def test_threads_work_n_at_a_time(self, workers: int) -> None:
        """Exactly N tasks are running at once, never more."""
        with Queue("memory://", workers=workers) as queue:
            queue.new_many([{}] * (workers * 4))
            barrier = threading.Barrier(workers)
            inside: list[int] = []
            most = []

            def worker(_ctx: Context, task: Task) -> None:
                inside.append(task.number)
                most.append(len(inside))
                barrier.wait(60)
                inside.remove(task.number)
                barrier.wait(60)

            report = queue.run(worker, until="idle")

        assert report.completed == workers * 4
        assert max(most) == workers

    def test_coroutines_work_n_at_a_time(self) -> None:
        """So do coroutines in one loop."""
        with Queue("memory://", workers=5) as queue:
            queue.new_many([{}] * 20)
            inside: list[int] = []
            most = []

            async def worker(_ctx: AsyncContext, task: Task) -> None:
                inside.append(task.number)
                most.append(len(inside))
                for _ in range(20):
                    await asyncio.sleep(0)
                inside.remove(task.number)

            report = queue.run(worker, until="idle")

        assert report.completed == 20
        assert max(most) == 5

    def test_running_twice_at_once_is_refused(self, queue: Queue) -> None:
        """One queue has one run at a time; afterwards another may come."""
        queue.new(key="k")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()):
            assert gate.reached.wait(60)
            with pytest.raises(AlreadyRunningError, match="already running"):
                queue.run(print)
            gate.open()
            wait_until(ends(queue, "k"))
        queue.new()

        assert queue.run(lambda _ctx, _task: None, until="idle").completed == 1
