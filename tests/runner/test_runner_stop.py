"""How a run ends: asked once, asked twice, after the grace period, when idle, or broken off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from eventq import (
    AttemptCancelledError,
    LogCorruptError,
    LogUnavailableError,
    Queue,
    QueueClosedError,
    Retry,
    Task,
    TaskState,
)
from eventq.core.commits import Commit
from eventq.handlers.context import AsyncContext, Context
from eventq.runner.runner import RunReport
from tests.checker import check_log
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    Spawned,
    kinds,
    look,
    nudge,
    queue_on,
    runner_of,
    running,
    slot_of,
    wait_until,
)


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture
def log() -> HookedLog:
    """The log below the queue."""
    return HookedLog()


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with queue_on(log, clock=clock, workers=1, backoff="10s") as queue:
        yield queue
    check_log(HookedLog(log.storage))


class HeldUp:
    """A worker that is quick, so that tasks are leased ahead, until it meets the task ``slow``."""

    def __init__(self, queue: Queue) -> None:
        self.gate = Gate()
        self.begun: list[str] = []
        queue.new_many([{}] * 50, priority=1)
        queue.new(key="slow")
        for number in range(3):
            queue.new(key=f"ahead-{number}")

    def __call__(self, _ctx: Context, task: Task) -> None:
        """Works."""
        if task.caller_key is None:
            return
        self.begun.append(task.key)
        if task.key == "slow":
            self.gate()

    def wait(self, queue: Queue) -> None:
        """Returns once the slow task runs and the three are leased behind it."""
        wait_until(self.gate.reached.is_set)
        wait_until(lambda: len(queue.tasks(state="leased")) == 4, "tasks to be leased ahead")


class TestStop:
    """Stopping by hand, as signals do it."""

    def test_the_first_gives_back_what_has_not_begun(self, queue: Queue) -> None:
        """Leased-ahead tasks are ready again with no attempt burnt; what runs finishes."""
        worker = HeldUp(queue)

        with running(queue, worker) as run:
            worker.wait(queue)
            assert queue.stop()
            wait_until(lambda: len(queue.tasks(state="ready")) == 3)
            assert run.running
            worker.gate.open()
            report = run.result()

        assert (report.completed, report.released, report.left) == (51, 3, 3)
        assert worker.begun == ["slow"]
        assert [(task.attempt, task.state) for task in queue.tasks()] == [(0, "ready")] * 3
        assert kinds(queue, "ahead-0") == ["created", "leased", "released"]

    def test_no_new_leases_after_the_first(self, queue: Queue) -> None:
        """A task that comes while the run winds down is left to others."""
        queue.new(key="slow")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()) as run:
            wait_until(gate.reached.is_set)
            queue.stop()
            queue.new(key="next", priority=9)
            gate.open()
            run.wait()

        assert kinds(queue, "slow") == ["created", "leased", "completed"]
        assert kinds(queue, "next") == ["created"]

    def test_the_second_cancels_and_gives_back(self, queue: Queue) -> None:
        """What runs is told through its ctx, and its task is ready again with no attempt burnt."""
        queue.new(key="k")
        begun = threading.Event()

        def worker(ctx: Context, _task: Task) -> None:
            begun.set()
            ctx.sleep("1h")

        with running(queue, worker) as run:
            wait_until(begun.is_set)
            queue.stop()
            queue.stop()
            report = run.result()

        assert report.released == 1
        assert kinds(queue, "k") == ["created", "leased", "released"]
        assert [(task.attempt, task.state) for task in queue.tasks()] == [(0, TaskState.READY)]

    def test_it_does_not_look_for_what_becomes_due(
        self, queue: Queue, clock: ManualClock, pauses: list[float | None]
    ) -> None:
        """Nothing of it is leased any more, and a run that waits for its workers rests."""
        gate = Gate()
        queue.new()
        queue.new(delay="1s")
        with running(queue, lambda _ctx, _task: gate()):
            wait_until(gate.reached.is_set)
            queue.stop()
            wait_until(lambda: runner_of(queue).stopping.ends_s is not None)
            clock.advance(2)
            pauses.clear()
            look(queue)
            seen = list(pauses)
            gate.open()

        assert seen
        assert all(pause_s is not None and pause_s > 0.1 for pause_s in seen)

    def test_the_end_of_the_grace_period_is_a_second_stop(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """Whoever has not finished by then is cancelled and given back."""
        queue.new(key="k")
        begun = threading.Event()

        def worker(ctx: Context, _task: Task) -> None:
            begun.set()
            with pytest.raises(AttemptCancelledError):
                ctx.sleep("1h")
            ctx.check()

        with running(queue, worker, grace="5s") as run:
            wait_until(begun.is_set)
            queue.stop()
            wait_until(lambda: runner_of(queue).stopping.ends_s is not None)
            clock.advance(4.9)
            nudge(queue)
            assert run.running
            clock.advance(0.1)
            nudge(queue)
            report = run.result()

        assert report.released == 1
        assert kinds(queue, "k") == ["created", "leased", "released"]

    def test_an_async_worker_is_cancelled_by_the_second(self, queue: Queue) -> None:
        """Its coroutine gets CancelledError, and its task is ready again."""
        queue.new(key="k")
        begun = threading.Event()

        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        with running(queue, worker) as run:
            wait_until(begun.is_set)
            queue.stop()
            queue.stop()
            run.wait()

        assert kinds(queue, "k") == ["created", "leased", "released"]

    def test_what_a_cancelled_worker_finishes_in_time_is_kept_as_refused(
        self, queue: Queue
    ) -> None:
        """A worker that ends right after its cancellation leaves evidence that it did the work."""
        queue.new(key="k")
        begun = threading.Event()

        def worker(ctx: Context, _task: Task) -> str:
            begun.set()
            with pytest.raises(AttemptCancelledError):
                ctx.sleep("1h")
            return "done all the same"

        with running(queue, worker) as run:
            wait_until(begun.is_set)
            queue.stop()
            queue.stop()
            assert run.result().refused == 1

        assert kinds(queue, "k") == ["created", "leased", "released", "refused"]

    def test_close_stops_a_run_and_waits_for_it(self, queue: Queue) -> None:
        """What runs finishes first; then the queue is closed."""
        queue.new(key="k")
        gate = Gate()

        with running(queue, lambda _ctx, _task: gate()) as run:
            wait_until(gate.reached.is_set)
            closing = Spawned(queue.close)
            wait_until(lambda: runner_of(queue).stopping.asked_count == 1)
            assert closing.running
            gate.open()
            assert run.result().completed == 1
            closing.result()

        with pytest.raises(QueueClosedError):
            queue.stats()

    def test_without_a_run_stop_does_nothing(self, queue: Queue) -> None:
        """Nothing is remembered for the next run."""
        assert not queue.stop()
        queue.new()
        assert queue.run(lambda _ctx, _task: None, until="idle").completed == 1


class TestIdle:
    """Until there is nothing left to do."""

    def test_an_empty_queue_is_idle(self, queue: Queue) -> None:
        """The run returns at once."""
        assert queue.run(lambda _ctx, _task: None, until="idle").completed == 0

    def test_far_first_attempts_are_not_waited_for(self, queue: Queue) -> None:
        """A task scheduled for later that was never attempted is left alone, and counted."""
        queue.new(delay="1h")
        queue.new()
        report = queue.run(lambda _ctx, _task: None, until="idle")

        assert (report.completed, report.left) == (1, 1)
        assert len(queue.tasks(state="scheduled")) == 1

    def test_what_is_left_is_that_of_the_later_report(self) -> None:
        """All else of two reports is added up."""
        both = RunReport(completed=2, expired=1, left=7).plus(RunReport(completed=3, left=4))

        assert both == RunReport(completed=5, expired=1, left=4)

    def test_retries_are_waited_for(self, queue: Queue, clock: ManualClock) -> None:
        """A task that waits for its retry keeps the run going."""
        queue.new(key="k")
        failures = iter([Retry("once")])

        def worker(_ctx: Context, _task: Task) -> None:
            for failure in failures:
                raise failure

        with running(queue, worker, until="idle") as run:
            wait_until(lambda: queue.tasks(state="scheduled"))
            assert run.running
            clock.advance(10)
            nudge(queue)
            report = run.result()

        assert (report.failed, report.completed) == (1, 1)

    def test_leases_of_other_nodes_are_waited_for(
        self, queue: Queue, log: HookedLog, clock: ManualClock
    ) -> None:
        """As long as another process works, the queue is not idle."""
        queue.new(key="k")
        gate = Gate()
        with (
            queue_on(HookedLog(log.storage), clock=clock, workers=1) as other,
            running(other, lambda _ctx, _task: gate(), until="idle"),
        ):
            wait_until(gate.reached.is_set)
            waiting = Spawned(queue.run, lambda _ctx, _task: None, until="idle")
            wait_until(lambda: slot_of(queue).runner is not None or not waiting.running)
            clock.advance(1)
            nudge(queue)
            wait_until(
                lambda: not waiting.running or runner_of(queue).lookout.looked_s == clock.seconds
            )
            assert waiting.running
            gate.open()
            report = waiting.result()

        assert report.completed == 0
        assert kinds(queue, "k") == ["created", "leased", "completed"]


class TestTrouble:
    """Logs that are away or damaged while a run goes on."""

    def test_a_log_that_is_away_for_a_while_is_borne(self, queue: Queue, log: HookedLog) -> None:
        """Outcomes wait for the log to come back; no task is lost or run twice."""
        queue.new_many([{}] * 5)
        refusals = iter(range(2))

        def refuse(commit: Commit) -> None:
            if "completed" in "".join(commit.bodies) and next(refusals, None) is not None:
                raise LogUnavailableError("gone fishing")

        log.before_append = refuse
        ran: list[int] = []

        report = queue.run(lambda _, task: ran.append(task.number), until="idle")

        assert report.completed == 5
        assert ran == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("stops", [1, 2])
    def test_a_forced_stop_does_not_wait_for_a_log_that_is_away(
        self, queue: Queue, log: HookedLog, clock: ManualClock, stops: int
    ) -> None:
        """The second stop, or the end of the grace period, ends the run with the log's error."""
        queue.new()
        gate = Gate()

        def refuse(commit: Commit) -> None:
            if "leased" not in commit.bodies[0]:
                gate.reached.set()
                raise LogUnavailableError("gone fishing")

        log.before_append = refuse
        with running(queue, lambda _ctx, _task: None, grace="5s") as run:
            wait_until(gate.reached.is_set)
            for _ in range(stops):
                queue.stop()
            if stops == 1:
                wait_until(lambda: runner_of(queue).stopping.ends_s is not None)
                clock.advance(5)
                nudge(queue)
            run.wait()

        assert isinstance(run.error, LogUnavailableError)
        log.before_append = lambda _: None

    def test_a_damaged_log_ends_the_run_and_its_attempts(
        self, log: HookedLog, clock: ManualClock
    ) -> None:
        """The run raises; what runs is told, and what waits its turn never begins."""
        queue = queue_on(log, clock=clock, workers=1)
        worker = HeldUp(queue)
        told = threading.Event()

        def tell(ctx: Context, task: Task) -> None:
            worker(ctx, task)
            if task.key == "slow":
                with pytest.raises(AttemptCancelledError):
                    ctx.sleep("1h")
                told.set()

        worker.gate.open()
        with running(queue, tell) as run:
            worker.wait(queue)
            head = log.head()
            broken = Commit("x", head.seq + 1, head.at, head.seal, b"no seal", [1], {}, ["{}"])
            log.storage.commits["default"].append(broken)
            nudge(queue)
            run.wait()
            wait_until(told.is_set)

        assert isinstance(run.error, LogCorruptError)
        assert run.error.position == head.seq + 1
        assert worker.begun == ["slow"]

    def test_a_run_on_a_closed_queue_leaves_nothing_open(self, log: HookedLog) -> None:
        """Also for an async worker, whose loop was not begun."""

        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            """Never called."""

        queue = queue_on(log)
        queue.close()
        with pytest.raises(QueueClosedError):
            queue.run(worker)

        assert threading.active_count() >= 1
