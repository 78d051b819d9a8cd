"""Running workers: order, outcomes, retries, deadlines, cancellation, N at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from eventq import Backoff, Cancel, Queue, Retry, Task, TaskState
from eventq.core.events import Cancelled, Failed, Retried
from eventq.core.values import ERROR_BYTES
from eventq.handlers.context import Context
from tests.checker import check_log
from tests.support import ManualClock, ends, final, kinds, pass_time, running, wait_until


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


class TestOrderAndOutcomes:
    """Which task runs next, and what becomes of it."""

    def test_one_worker_runs_tasks_in_priority_order(self, queue: Queue) -> None:
        """Highest priority, then earliest instant, then lowest number, whatever came first."""
        for number in range(60):
            queue.new({"n": number}, priority=number % 7)
        seen: list[tuple[int, int]] = []

        queue.run(lambda _, task: seen.append((-task.priority, task.number)), until="idle")

        assert seen == sorted(seen)
        assert len(seen) == 60

    def test_a_return_value_is_the_result(self, queue: Queue) -> None:
        """Any JSON value is kept; None is no result."""
        queue.new_many([{"value": {"a": [1, 2.5, None, "é"]}}, {"value": None}])

        report = queue.run(lambda _, task: task.tags["value"], until="idle")

        assert report.completed == 2
        assert final(queue, "1").result == {"a": [1, 2.5, None, "é"]}
        assert (final(queue, "2").result, final(queue, "2").result_json) == (None, None)

    @pytest.mark.parametrize(
        "value, why",
        [
            (object(), "JSON value"),
            ({1, 2}, "JSON value"),
            (b"bytes", "JSON value"),
            (float("nan"), "finite"),
            (2**64, "64 bits"),
            ("\ud800", "surrogates"),
            ("a\0b", "NUL"),
            ({"a": {1: 2}}, "names are text"),
            ("x" * 65_536, "65536 bytes"),
        ],
    )
    def test_a_result_that_cannot_be_kept_completes_the_task(
        self, queue: Queue, value: object, why: str
    ) -> None:
        """The work is done, so it is not run again; the event says what is missing and why."""
        queue.new()

        report = queue.run(lambda _ctx, _task: value, until="idle")

        assert report.completed == 1
        task = final(queue, "1")
        assert (task.state, task.result) == (TaskState.COMPLETED, None)
        assert task.result_missing is not None
        assert task.result_missing.startswith("result: expected")
        assert why in task.result_missing

    def test_work_that_was_only_handed_out_has_failed(self, queue: Queue) -> None:
        """A generator as result means that nothing was done: no completion."""

        async def later(_ctx: object, _task: object) -> object:
            return yielding(_ctx, _task)

        def yielding(_ctx: object, _task: object) -> Iterator[int]:
            yield 1

        for worker in (yielding, later):
            task = queue.new(max_retries=0)
            queue.run(worker, until="idle")

            assert final(queue, task.key).state is TaskState.EXPIRED
            error = final(queue, task.key).last_error
            assert error is not None
            assert error.type == "TypeError"
            assert "nobody runs" in error.message

    def test_a_cyclic_result_completes_the_task(self, queue: Queue) -> None:
        """A value that contains itself cannot be JSON."""
        queue.new()
        cycle: list[Any] = []
        cycle.append(cycle)

        queue.run(lambda _ctx, _task: cycle, until="idle")

        assert "nested" in (final(queue, "1").result_missing or "")

    def test_failures_are_retried_with_growing_waits(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        """The n-th retry comes n times the backoff after the failure, until retries run out."""
        queue.new(key="k", max_retries=2)
        began: list[int] = []

        def worker(_ctx: Context, _task: Task) -> None:
            began.append(clock.us)
            raise ValueError(f"attempt {len(began)}")

        with running(queue, worker):
            for wait in (10, 20):
                wait_until(lambda: queue.tasks(state="scheduled"))
                pass_time(queue, clock, wait - 0.001)
                assert queue.tasks(state="leased") == []
                pass_time(queue, clock, 0.001)
            wait_until(ends(queue, "k"))

        assert [at - began[0] for at in began] == [0, 10_000_000, 30_000_000]
        task = final(queue, "k")
        assert (task.state, task.final_reason) == (TaskState.EXPIRED, "max_retries")
        assert (task.attempt, task.retry_count) == (3, 2)
        assert task.last_error is not None
        assert (task.last_error.type, task.last_error.message) == ("ValueError", "attempt 3")
        assert "in worker" in task.last_error.traceback

    def test_retry_says_its_own_wait(self, queue: Queue) -> None:
        """Retry(delay=...) takes the place of the backoff; it counts as a failure."""
        queue.new(key="k", max_retries=1)

        def worker(_ctx: Context, _task: Task) -> None:
            raise Retry("not yet", delay=0)

        report = queue.run(worker, until="idle")

        assert report.failed == 2
        failed, retried = queue.history("k")[2:4]
        assert isinstance(retried.body, Retried)
        assert retried.body.scheduled_at == failed.at
        assert isinstance(failed.body, Failed)
        assert (failed.body.error.message, failed.body.error.traceback) == ("not yet", "")

    @pytest.mark.parametrize("delay", [-1, "soon", float("nan"), object()])
    def test_a_wrong_retry_delay_is_a_failure_that_says_so(
        self,
        queue: Queue,
        delay: Any,  # noqa: ANN401 - anything wrong
    ) -> None:
        """The attempt fails by the task's own backoff, with the error naming the argument."""
        queue.new(key="k", max_retries=0)

        def worker(_ctx: Context, _task: Task) -> None:
            raise Retry(delay=delay)

        queue.run(worker, until="idle")

        error = final(queue, "k").last_error
        assert error is not None
        assert error.message.startswith("delay: expected")

    def test_cancel_is_final(self, queue: Queue) -> None:
        """Cancel(reason) ends the task without a retry, and the reason is kept."""
        queue.new(key="k")

        def worker(_ctx: Context, _task: Task) -> None:
            raise Cancel("pointless")

        report = queue.run(worker, until="idle")

        assert (report.cancelled, report.failed) == (1, 0)
        assert kinds(queue, "k") == ["created", "leased", "failed", "cancelled"]
        assert final(queue, "k").final_reason == "pointless"

    @pytest.mark.parametrize("reason", ["x" * 3_000_000, 7, None, "\ud800\0", object()])
    def test_any_cancel_reason_is_borne(
        self,
        queue: Queue,
        reason: Any,  # noqa: ANN401 - anything wrong
    ) -> None:
        """A reason that is too long or no text is kept as well as can be; the run goes on."""
        queue.new_many([{"bad": True}, {"bad": False}])

        def worker(_ctx: Context, task: Task) -> None:
            if task.tags["bad"]:
                raise Cancel(reason)

        report = queue.run(worker, until="idle")

        assert (report.cancelled, report.completed) == (1, 1)
        body = queue.history("1")[-1].body
        assert isinstance(body, Cancelled)
        assert len(body.reason) <= 1_000

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
    def test_even_exits_are_outcomes(self, queue: Queue, error: BaseException) -> None:
        """A worker that calls sys.exit fails its attempt; the run goes on."""
        queue.new_many([{"bad": True}, {"bad": False}], max_retries=0)

        def worker(_ctx: Context, task: Task) -> None:
            if task.tags["bad"]:
                raise error

        report = queue.run(worker, until="idle")

        assert (report.failed, report.completed) == (1, 1)
        last = final(queue, "1").last_error
        assert last is not None
        assert last.type == type(error).__name__

    def test_huge_errors_are_cut(self, queue: Queue) -> None:
        """Type, message and traceback together stay under 8 KiB; the end of the trace is kept."""
        queue.new(max_retries=0)
        kind = type("E" * 5_000, (Exception,), {})

        def worker(_ctx: Context, _task: Task) -> None:
            raise kind("long" * 1_000_000) from ValueError("\0\ud800\x01" * 1_000_000)

        queue.run(worker, until="idle")

        error = final(queue, "1").last_error
        assert error is not None
        assert len(msgspec.json.encode(error)) <= ERROR_BYTES
        assert error.message.startswith("longlong")
        assert "..." in error.traceback

    def test_errors_that_cannot_be_shown_are_borne(self, queue: Queue) -> None:
        """An exception whose own methods raise is a failure like any other."""

        class BrokenError(Cancel):
            def __init__(self) -> None:
                Exception.__init__(self)

            def __str__(self) -> str:
                raise RuntimeError

        queue.new_many([{"bad": True}, {"bad": False}], max_retries=0)

        def worker(_ctx: Context, task: Task) -> None:
            if task.tags["bad"]:
                raise BrokenError

        report = queue.run(worker, until="idle")

        assert report.completed == 1
        assert final(queue, "1").state in {TaskState.EXPIRED, TaskState.CANCELLED}


@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_chance_comes_by_the_constructor(chance: float) -> None:
    """The jitter of a retry takes away the share of the wait that was drawn."""
    backoff = Backoff.constant("10s", jitter=1.0)
    clock = ManualClock()

    with Queue("memory://", clock=clock, backoff=backoff, chance=lambda: chance) as queue:
        queue.new(key="k", max_retries=1)
        with running(queue, lambda _ctx, _task: 1 / 0):
            wait_until(lambda: "failed" in kinds(queue, "k"))
        [task] = queue.tasks()

    assert task.scheduled_at_us == clock.us + round(10_000_000 * (1 - chance))
