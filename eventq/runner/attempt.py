"""One attempt: calling the worker, and what its return or exception means as an outcome.

Nothing here appends; outcomes are values that the runner settles.
"""

from __future__ import annotations

import inspect
import random
import traceback
from typing import Any

import msgspec

from eventq.core.decide import Outcome
from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.events import ERROR_BYTES, RESULT_BYTES, ErrorInfo
from eventq.core.task import Task
from eventq.core.validation import check_json
from eventq.errors import ArgumentError, AttemptStoppedError, Cancel, Retry
from eventq.runner.context import Context

# Of the 8 KiB an error may take, so that type and traceback always have room beside the message.
MESSAGE_CHARACTERS = 1_000
TYPE_CHARACTERS = 200
UNDONE = "the worker returned a {}, which nobody runs: write it as async def, and without yield"


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
    """The outcome of a worker that raised. Whatever it raised, there is one."""
    try:
        if isinstance(error, Cancel):
            reason = _clean(str(error.reason))[:MESSAGE_CHARACTERS]
            return Outcome(task.number, task.fence, "cancelled", reason=reason)
        delay_us = None
        if isinstance(error, Retry) and error.delay is not None:
            delay_us = parse_duration(error.delay, "delay")
        return failed(task, describe(error), delay_us=delay_us)
    except Exception as wrong:  # noqa: BLE001 - a broken exception must not take its thread along
        return failed(task, describe(wrong))


def failed(task: Task, error: ErrorInfo, *, delay_us: int | None = None) -> Outcome:
    """A failure, with the chance its backoff's jitter will use."""
    draw = random.random()  # noqa: S311 - spreads retries, guards nothing
    return Outcome(task.number, task.fence, "failed", error=error, delay_us=delay_us, draw=draw)


def released(attempt: Attempt, reason: str) -> Outcome:
    """An attempt that is given back, and not counted."""
    return Outcome(attempt.task.number, attempt.task.fence, "released", reason=reason)


def describe(error: BaseException) -> ErrorInfo:
    """The error as it is kept: type, message, and the end of its traceback, 8 KiB at most."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - a broken __str__ must not lose the outcome
        message = f"<its __str__ raised {type(broken).__name__}>"
    info = ErrorInfo(
        type=_clean(name[:TYPE_CHARACTERS])[:TYPE_CHARACTERS],
        message=_clean(message[:MESSAGE_CHARACTERS])[:MESSAGE_CHARACTERS],
    )
    if isinstance(error, (Retry, AttemptStoppedError)):
        return info
    # The first frame is ours; the worker's begin behind it.
    frames = error.__traceback__.tb_next if error.__traceback__ else None
    text = "".join(traceback.format_exception(type(error), error, frames))
    return msgspec.structs.replace(info, traceback=_cut(text, info))


def _is_undone(value: object) -> bool:
    """Whether the worker has only handed out the work: nothing of it has run."""
    if inspect.iscoroutine(value):
        # Else Python warns that it was never awaited, which the failure says better.
        value.close()
        return True
    return inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)


def _clean(text: str) -> str:
    """Text that every log can store: no lone surrogates, no NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _cut(text: str, info: ErrorInfo) -> str:
    """The end of the traceback, where the cause is, so that all fits into ERROR_BYTES as JSON."""
    room = ERROR_BYTES - len(msgspec.json.encode(info)) - 64
    if len(text) > room:
        text = "..." + text[-room:]
    text = _clean(text)
    while len(msgspec.json.encode(text)) > room:
        excess = len(msgspec.json.encode(text)) - room
        text = "..." + text[3 + max(1, excess // 4) :]
    return text
