"""One attempt: calling the worker, and what its return or exception means as an outcome.

Nothing here appends; outcomes are values that the runner settles.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable

from msgspec import Struct

from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.events import RESULT_BYTES, ErrorInfo
from eventq.core.plain import plain
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.validation import check_json
from eventq.errors import ArgumentError, AttemptStoppedError, Cancel, Retry
from eventq.runner.context import Context
from eventq.runner.describing import MESSAGE_CHARACTERS, clean, describe

UNDONE = "the worker returned a {}, which nobody runs: write it without yield"
UNTOLD = ErrorInfo("Exception", "the worker raised an error that cannot be described")


class Attempt(Struct, eq=False):
    """A leased task on its way through a worker. The runner's thread and one worker share it."""

    task: Task
    context: Context
    begun_s: float | None = None
    ended_s: float = 0.0
    outcome: Outcome | None = None
    stopped: bool = False
    """The worker ended by letting ctx.check()'s error pass, or by asyncio's cancellation."""
    revoked: bool = False
    """The lease is gone: the runner has settled the attempt without the worker."""
    interrupt: Callable[[Attempt], object] | None = None
    """Given this, cancels its asyncio task, once it has one; from any thread."""
    told_s: float = math.inf
    """Since when it goes on without a lease. Monotonic seconds."""
    reported: bool = False
    """It is known to be stuck."""

    def begin(self, monotonic_s: float) -> None:
        """For the executor, right before the worker is called: the deadline counts from here."""
        self.begun_s = monotonic_s
        task = self.task
        if task.policy.deadline_us is not None or task.expires_at_us is not None:
            self.context.set_deadline(task.policy.deadline_us)

    def due_s(self, *, now: int, monotonic_s: float) -> float | None:
        """When its deadline will pass, at the earliest; None for never. Monotonic seconds."""
        if self.context.deadline_s is not None:
            return self.context.deadline_s
        task = self.task
        # It may begin at any moment from now on.
        lengths_us = []
        if task.policy.deadline_us is not None:
            lengths_us.append(task.policy.deadline_us)
        if task.expires_at_us is not None:
            lengths_us.append(task.expires_at_us - now)
        return monotonic_s + min(lengths_us) / SECOND_US if lengths_us else None

    def fail(self, error: BaseException) -> None:
        """For the executor: the worker raised. Never raises; an outcome that is there stays."""
        if self.outcome is None:
            self.stopped = is_stop(error)
            self.outcome = raised(self.task, error)

    def stop(self, why: str) -> None:
        """Asks its worker to end, which may take its time."""
        self.context.stop(why)
        if self.interrupt is not None:
            self.interrupt(self)

    def end(self, error: BaseException, monotonic_s: float) -> None:
        """For the executor: what ended the attempt is its outcome, unless it has one."""
        self.fail(error)
        self.ended_s = monotonic_s


def returned(task: Task, value: object) -> Outcome:
    """The outcome of a worker that returned: completed, with the value if it can be kept."""
    if value is None:
        return Outcome(task.number, task.fence, "completed")
    try:
        result_json = check_json(value, "result", RESULT_BYTES)
    except ArgumentError as error:
        if _is_undone(value):
            return failed(task, describe(TypeError(UNDONE.format(type(value).__name__))))
        # The work is done; that its result cannot be kept must not run it again.
        return Outcome(task.number, task.fence, "completed", result_missing=str(error))
    return Outcome(task.number, task.fence, "completed", result_json=result_json)


def raised(task: Task, error: BaseException) -> Outcome:
    """The outcome of a worker that raised; describing the error may raise as well."""
    try:
        return _judged(task, _gist(error))
    except BaseException as wrong:  # noqa: BLE001 - a broken exception must not take its thread along
        try:
            return failed(task, describe(wrong))
        except BaseException:  # noqa: BLE001 - and neither must what it raised when it was asked
            return failed(task, UNTOLD)


def is_stop(error: BaseException) -> bool:
    """Whether the worker ended because its ctx or asyncio asked it to."""
    try:
        return isinstance(_gist(error), (AttemptStoppedError, asyncio.CancelledError))
    except BaseException:  # noqa: BLE001 - see raised
        return False


def is_awaitable(value: object) -> bool:
    """Whether the worker has handed out something to be awaited, like a coroutine."""
    return hasattr(type(value), "__await__")


def failed(task: Task, error: ErrorInfo, *, delay_us: int | None = None) -> Outcome:
    """A failure; the chance that its backoff's jitter uses is drawn when it is settled."""
    return Outcome(task.number, task.fence, "failed", error=error, delay_us=delay_us)


def released(attempt: Attempt, reason: str) -> Outcome:
    """An attempt that is given back, and not counted."""
    return Outcome(attempt.task.number, attempt.task.fence, "released", reason=reason)


def _judged(task: Task, error: BaseException) -> Outcome:
    if isinstance(error, Cancel):
        reason = clean(str(plain(error.reason)), MESSAGE_CHARACTERS)
        return Outcome(task.number, task.fence, "cancelled", reason=reason)
    delay_us = None
    if isinstance(error, Retry) and error.delay is not None:
        delay_us = parse_duration(error.delay, "delay")
    return failed(task, describe(error), delay_us=delay_us)


def _gist(error: BaseException) -> BaseException:
    """The error that decides: a group's leaf, if all leaves mean the same to eventq; else itself.

    A TaskGroup wraps whatever its children raise. Of several waits, the longest is meant.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = _leaves(error)
    for kind in (Cancel, AttemptStoppedError):
        if all(isinstance(leaf, kind) for leaf in leaves):
            return leaves[0]
    if all(isinstance(leaf, Retry) for leaf in leaves):
        return max(leaves, key=_wait_of)
    return error


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _wait_of(retry: BaseException) -> int:
    delay = getattr(retry, "delay", None)
    return -1 if delay is None else parse_duration(delay, "delay")


def _is_undone(value: object) -> bool:
    """Whether the worker has only handed out the work, none of which has run."""
    if inspect.iscoroutine(value):
        # Else Python warns that it was never awaited, which the failure says better.
        value.close()
        return True
    return inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)
