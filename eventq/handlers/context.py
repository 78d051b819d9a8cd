"""What a worker is given beside its task; it changes nothing but its own attempt's deadline."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from datetime import datetime

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.task import Task, instant
from eventq.errors import (
    ArgumentError,
    AttemptCancelledError,
    DeadlineExceededError,
    NoAttemptError,
)
from eventq.host.clock import Clock
from eventq.host.logger import SafeLogger

NEVER_US = 2**63
LATE = "the attempt ran past its deadline"

# One for all attempts, held for a moment: a lock in each would cost every task its making.
_making_events = threading.Lock()

running: ContextVar[Context] = ContextVar("eventq_running")


def current() -> Context:
    """The context of the attempt that runs here, also in what its worker calls.

    Not in a thread that the worker starts, unless it copies the context variables to it. Raises
    NoAttemptError where no attempt runs.
    """
    try:
        return running.get()
    except LookupError:
        raise NoAttemptError("no attempt runs here") from None


class Context:
    """One attempt as its worker sees it. Safe to use from any thread the worker starts."""

    __slots__ = {
        **dict.fromkeys(("_clock", "_deadline_at", "_stopped", "_stopped_why", "task")),
        "deadline_s": "For the runner: the deadline on the monotonic clock.",
    }

    def __init__(self, task: Task, clock: Clock) -> None:
        self.task = task
        self._clock = clock
        self._stopped_why: str | None = None
        self._stopped: threading.Event | None = None
        self.deadline_s: float | None = None
        self._deadline_at: int | None = None

    @property
    def fence(self) -> int:
        """The lease's position in the log: others can refuse whoever brings a smaller one."""
        return self.task.fence

    @property
    def deadline(self) -> datetime | None:
        """When the attempt will be failed if it still runs; None for never."""
        return None if self._deadline_at is None else instant(self._deadline_at)

    @property
    def deadline_at(self) -> int | None:
        """For the runner: the deadline in microseconds since 1970."""
        return self._deadline_at

    @property
    def stopped_why(self) -> str | None:
        """For the runner: what the worker was told when it was asked to end."""
        return self._stopped_why

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: cancelled, out of time, or its lease lost."""
        return self._stopped_why is not None or self.is_late()

    @property
    def log(self) -> SafeLogger:
        """A logger (``eventq.worker``) whose records carry task, attempt and fence.

        Its calls may add an ``extra`` of their own. Whatever the application's logging raises,
        the attempt goes on.
        """
        task = self.task
        extra = {"task": task.key, "attempt": task.attempt, "fence": task.fence}
        return SafeLogger("eventq.worker", extra)

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        if self.deadline_s is None:
            return None
        return max(0.0, self.deadline_s - self._clock.monotonic())

    def check(self) -> None:
        """Returns while the attempt should go on.

        Raises DeadlineExceededError past the deadline, AttemptCancelledError when the task was
        cancelled, its lease lost or given back. Let them pass through the worker.
        """
        if self.is_late():
            raise DeadlineExceededError(LATE)
        if self._stopped_why is not None:
            raise AttemptCancelledError(self._stopped_why)

    def sleep(self, duration: Duration) -> None:
        """Sleeps, but wakes and raises like `check` as soon as the attempt should stop."""
        length_s = parse_duration(duration) / SECOND_US
        remaining_s = self.remaining()
        with _making_events:
            # Two threads of one worker must wait for the same one.
            if self._stopped is None:
                self._stopped = threading.Event()
        # Looked at after the event is in place: whoever stops sets the reason first, then it.
        if self._stopped_why is None:
            self._stopped.wait(length_s if remaining_s is None else min(length_s, remaining_s))
        self.check()

    def extend(self, by: Duration | None = None) -> None:
        """Moves the deadline to ``by`` from now, if that is later; never past ``expires_at``.

        None takes the task's own deadline again. Raises as `check` does when it is too late.
        """
        self.check()
        by_us = self.task.policy.deadline_us if by is None else parse_duration(by, "by")
        if by_us is None:
            raise ArgumentError("by", by, "a duration, since the task has no deadline")
        self.set_deadline(by_us)

    def set_deadline(self, length_us: int | None) -> None:
        """For the runner: the deadline lies ``length_us`` from now, or at ``expires_at``."""
        expires_at = self.task.expires_at_us
        if length_us is None and expires_at is None:
            return
        now = max(self._clock.now_us(), self.task.seen_at_us)
        ends_at = NEVER_US if length_us is None else max(now + length_us, self._deadline_at or 0)
        self._deadline_at = ends_at if expires_at is None else min(ends_at, expires_at)
        self.deadline_s = self._clock.monotonic() + (self._deadline_at - now) / SECOND_US

    def stop(self, why: str) -> None:
        """For the runner: tells the worker to stop."""
        self._stopped_why = self._stopped_why or why
        if self._stopped is not None:
            self._stopped.set()

    def become_async(self) -> None:
        """For the runner: the worker has handed out a coroutine, and none of it has run.

        The coroutine holds this very context, so that its class is changed, not the context.
        """
        self.__class__ = AsyncContext

    def is_late(self) -> bool:
        """For the runner: whether the deadline has passed."""
        return self.deadline_s is not None and self._clock.monotonic() >= self.deadline_s


class AsyncContext(Context):
    """The context of an ``async def`` worker, which is also cancelled through asyncio."""

    __slots__ = ()

    async def sleep(self, duration: Duration) -> None:  # type: ignore[override]
        """Sleeps without holding up the loop; the runner cancels it when it should stop."""
        import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

        length_s = parse_duration(duration) / SECOND_US
        remaining_s = self.remaining()
        await asyncio.sleep(length_s if remaining_s is None else min(length_s, remaining_s))
        self.check()
