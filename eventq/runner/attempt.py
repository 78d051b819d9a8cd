"""One attempt: calling the worker, and what its return or exception means as an outcome.

Nothing here appends; outcomes are values that the runner settles.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.events import ERROR_BYTES, RESULT_BYTES, ErrorInfo
from eventq.core.plain import plain
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.validation import check_json
from eventq.errors import ArgumentError, AttemptStoppedError, Cancel, Retry
from eventq.runner.context import Context

# Of the 8 KiB an error may take, so that type and traceback always have room beside the message.
MESSAGE_CHARACTERS = 1_000
TYPE_CHARACTERS = 200
# In a traceback that is too long, no message or line of code takes more than this.
LINE_CHARACTERS = 500
CUT = "...\n"
# Their frames at the top of a traceback are how the worker was called.
CALLERS = {
    "eventq.runner.executors.aio",
    "eventq.runner.executors.thread",
    "eventq.sandbox.rerun",
}
UNDONE = "the worker returned a {}, which nobody runs: write it without yield"
UNTOLD = ErrorInfo("Exception", "the worker raised an error that cannot be described")


class Attempt:
    """A leased task on its way through a worker. The runner's thread and one worker share it."""

    __slots__ = ("begun_s", "context", "ended_s", "handle", "outcome", "revoked", "stopped", "task")

    def __init__(self, task: Task, context: Context) -> None:
        self.task = task
        self.context = context
        self.begun_s: float | None = None
        self.ended_s = 0.0
        self.outcome: Outcome | None = None
        self.stopped = False
        """The worker ended by letting ctx.check()'s error pass, or by asyncio's cancellation."""
        self.revoked = False
        """The lease is gone: the runner has settled the attempt without the worker."""
        self.handle: Any = None
        """What the executor needs to cancel it."""

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


def describe(error: BaseException) -> ErrorInfo:
    """The error as it is kept: type, message, and its traceback, 8 KiB at most."""
    kind = type(error)
    info = ErrorInfo(
        type=_clean(_told(lambda: _name_of(kind), "type"), TYPE_CHARACTERS),
        message=_clean(_told(lambda: str(plain(str(error))), "__str__"), MESSAGE_CHARACTERS),
    )
    if issubclass(kind, (Retry, AttemptStoppedError)):
        return info
    return msgspec.structs.replace(info, traceback=_cut(_lines(error, info), info))


def _judged(task: Task, error: BaseException) -> Outcome:
    if isinstance(error, Cancel):
        reason = _clean(str(plain(error.reason)), MESSAGE_CHARACTERS)
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


def _name_of(kind: type) -> str:
    name = kind.__qualname__
    return name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}"


def _told(tell: Callable[[], str], what: str) -> str:
    """What an exception says of itself, as plain text; its own code may do anything."""
    try:
        return str.__str__(tell())
    except BaseException as broken:  # noqa: BLE001 - a broken __str__ must not lose the outcome
        return f"<its {what} raised {type(broken).__name__}>"


def _lines(error: BaseException, info: ErrorInfo) -> list[str]:
    """The traceback from the worker's own frames on; as much as can be had of a broken one."""
    try:
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_globals.get("__name__") in CALLERS:
            frames = frames.tb_next
        try:
            return traceback.format_exception(type(error), error, frames)
        except BaseException:  # noqa: BLE001 - a SyntaxError, say, whose fields have other types
            stack = traceback.format_tb(frames)
            return [*stack, f"{info.type}: {info.message}\n"]
    except BaseException:  # noqa: BLE001 - type and message are told all the same
        return []


def _clean(text: str, most: int) -> str:
    """So many characters at most of a text, as every log can store it."""
    return _storable(text[:most])[:most]


def _storable(text: str) -> str:
    """Text that every log can store: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _cut(lines: list[str], info: ErrorInfo) -> str:
    """The traceback so that all fits into ERROR_BYTES as JSON.

    First long messages are shortened, then what is in the middle goes: how the worker came there
    is at the top, the error itself at the end.
    """
    room = ERROR_BYTES - len(msgspec.json.encode(info)) - 64
    if sum(map(len, lines)) <= room:
        whole = _storable("".join(lines))
        if _size(whole) <= room:
            return whole
    longest = min(LINE_CHARACTERS, room // 12)
    short = [_storable(line if len(line) <= longest else line[:longest] + CUT) for line in lines]
    if sum(map(_size, short)) <= room:
        return "".join(short)
    top = _fitting(short, room // 3)
    rest = short[top:]
    end = _fitting(rest[::-1], room - room // 3)
    return "".join([*short[:top], CUT, *rest[len(rest) - end :]])


def _fitting(lines: list[str], room: int) -> int:
    """How many of the first lines fit into so many bytes."""
    for count, line in enumerate(lines):
        room -= _size(line)
        if room < 0:
            return count
    return len(lines)


def _size(text: str) -> int:
    return len(msgspec.json.encode(text)) - 2
