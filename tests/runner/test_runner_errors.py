"""What is kept of an error: groups of errors, and errors longer than a log may take."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventq import AttemptCancelledError, Cancel, DeadlineExceededError, Queue, Retry, Task
from eventq.core.events import Retried
from eventq.handlers.context import AsyncContext, Context
from tests.checker import check_log
from tests.support import final, kinds, running, wait_until

Worker = Callable[..., Any]


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, backoff=0, max_retries=0) as queue:
        yield queue
        check_log(queue.log)


class TestGroups:
    """What a TaskGroup makes of what its children raise."""

    @pytest.mark.parametrize("kind", ["TaskGroup", "nested"])
    def test_cancel_in_a_group_cancels(self, queue: Queue, kind: str) -> None:
        """The reason is that of the first."""
        queue.new(key="k")

        async def child() -> None:
            raise Cancel("pointless")

        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            if kind == "nested":
                inner = ExceptionGroup("inner", [Cancel("pointless")])
                raise ExceptionGroup("outer", [inner, Cancel("as well")])
            async with asyncio.TaskGroup() as group:
                group.create_task(child())

        report = queue.run(worker, until="idle")

        assert (report.cancelled, report.failed) == (1, 0)
        assert final(queue, "k").final_reason == "pointless"

    def test_retries_in_a_group_take_the_longest_wait(self, queue: Queue) -> None:
        """Whoever asked for it gets it."""
        queue.new(key="k", max_retries=1)

        def worker(_ctx: Context, task: Task) -> None:
            if task.attempt == 1:
                waits = [Retry("a"), Retry("b", delay="7s"), Retry("c", delay="3s")]
                raise ExceptionGroup("group", waits)

        with running(queue, worker):
            wait_until(lambda: len(kinds(queue, "k")) == 4)

        failed, retried = queue.history("k")[2:4]
        assert isinstance(retried.body, Retried)
        assert retried.body.scheduled_at == failed.at + 7_000_000
        error = final(queue, "k").last_error
        assert error is not None
        assert (error.type, error.message) == ("eventq.Retry", "b")

    def test_beside_another_error_they_are_a_failure(self, queue: Queue) -> None:
        """The group is told as it is, with the task's own backoff."""
        queue.new(key="k")

        def worker(_ctx: Context, _task: Task) -> None:
            raise ExceptionGroup("group", [Cancel("pointless"), ValueError("bad")])

        assert queue.run(worker, until="idle").failed == 1
        error = final(queue, "k").last_error
        assert error is not None
        assert error.type == "ExceptionGroup"
        assert "ValueError: bad" in error.traceback

    def test_a_stop_in_a_group_is_a_stop(self, queue: Queue) -> None:
        """A child that let the error of ``ctx.check()`` pass leaves no `refused`."""
        queue.new(key="k")
        begun = threading.Event()

        def worker(ctx: Context, _task: Task) -> None:
            begun.set()
            try:
                ctx.sleep("1h")
            except AttemptCancelledError as error:
                raise ExceptionGroup("group", [error]) from None

        with running(queue, worker) as run:
            wait_until(begun.is_set)
            queue.stop()
            queue.stop()
            report = run.result()

        assert (report.released, report.refused) == (1, 0)

    def test_a_deadline_in_a_group_is_told_as_one(self, queue: Queue) -> None:
        """By its own type."""
        queue.new(key="k")

        def worker(_ctx: Context, _task: Task) -> None:
            raise ExceptionGroup("group", [DeadlineExceededError("late")])

        queue.run(worker, until="idle")

        error = final(queue, "k").last_error
        assert error is not None
        assert error.type == "eventq.DeadlineExceededError"


class TestLongErrors:
    """What is kept of an error that is longer than the log may take."""

    def raised(self, queue: Queue, worker: Worker) -> Any:  # noqa: ANN401
        """The error that is kept of a worker."""
        task = queue.new()
        queue.run(worker, until="idle")
        error = final(queue, task.key).last_error
        assert error is not None
        assert len(str(error.traceback)) < 8_192
        return error

    @pytest.mark.parametrize("length", [9_000, 4_000_000])
    def test_a_long_message_leaves_the_stack(self, queue: Queue, length: int) -> None:
        """Message and frames are both there, and legible."""

        def inner() -> None:
            raise ValueError("broken: " + "x" * length)

        error = self.raised(queue, lambda _ctx, _task: inner())

        assert error.message.startswith("broken: xxx")
        assert error.traceback.startswith("Traceback (most recent call last):\n")
        assert "in inner" in error.traceback
        assert "ValueError: broken: xxx" in error.traceback

    def test_long_notes_and_causes_leave_the_stack(self, queue: Queue) -> None:
        """Top and end are kept, whatever is between."""

        def inner() -> None:
            error = ValueError("broken")
            for number in range(2_000):
                error.add_note(f"note {number}")
            raise error from KeyError("cause" * 5_000)

        error = self.raised(queue, lambda _ctx, _task: inner())

        assert "in inner" in error.traceback
        assert "ValueError: broken" in error.traceback
        assert error.traceback.endswith("note 1999\n")

    def test_a_deep_stack_keeps_both_its_ends(self, queue: Queue) -> None:
        """Where it began, where it broke, and the message."""

        def down(depth: int) -> None:
            if depth == 0:
                raise ValueError("at the bottom")
            [down, up][depth % 2](depth - 1)

        def up(depth: int) -> None:
            down(depth)

        def worker(_ctx: Context, _task: Task) -> None:
            down(200)

        error = self.raised(queue, worker)

        assert "in worker" in error.traceback
        assert "\n...\n" in error.traceback
        assert error.traceback.endswith("ValueError: at the bottom\n")
