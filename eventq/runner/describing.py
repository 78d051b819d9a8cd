"""An error as the log keeps it: type, message and traceback, cut to 8 KiB.

Exceptions are anybody's code. Whatever they raise when they are asked, all that can be had is kept.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import msgspec

from eventq.core.plain import plain, storable
from eventq.core.values import ERROR_BYTES, ErrorInfo
from eventq.errors import AttemptStoppedError, Cancel, Fail, ProcessDiedError, Retry

# Of the 8 KiB an error may take, so that type and traceback always have room beside the message.
MESSAGE_CHARACTERS = 1_000
TYPE_CHARACTERS = 200
# In a traceback that is too long, no message or line of code takes more than this.
LINE_CHARACTERS = 500
CUT = "...\n"
# Their frames at the top of a traceback are how the worker was called.
CALLERS = {
    "eventq.handlers.around",
    "eventq.handlers.work",
    "eventq.runner.executors.aio",
    "eventq.runner.follower",
    "eventq.runner.executors.thread",
    "eventq.runner.isolation.child",
    "eventq.sandbox.rerun",
}


def describe(error: BaseException) -> ErrorInfo:
    """The error as it is kept: type, message, and its traceback, 8 KiB at most.

    A Retry, a Fail or a Cancel that was raised from another error says how to go on, and that one
    says what happened; the reason of a Retry or a Fail stands behind its traceback.
    """
    if isinstance(error, (Retry, Fail, Cancel)) and error.__cause__ is not None:
        info = describe(error.__cause__)
        is_kept_elsewhere = isinstance(error, Cancel)
        return info if is_kept_elsewhere or not error.reason else _with_reason(info, error)
    kind = type(error)
    info = ErrorInfo(
        type=storable(_told(lambda: _name_of(kind), "type"), TYPE_CHARACTERS),
        message=storable(_told(lambda: str(plain(str(error))), "__str__"), MESSAGE_CHARACTERS),
    )
    if issubclass(kind, (Retry, Fail, AttemptStoppedError, ProcessDiedError)):
        return info
    return msgspec.structs.replace(info, traceback=_cut(_lines(error, info), info))


def _with_reason(info: ErrorInfo, error: BaseException) -> ErrorInfo:
    """The error with what was raised from it behind its traceback."""
    reason = storable(_told(lambda: str(plain(str(error))), "reason"), MESSAGE_CHARACTERS)
    lines = [*info.traceback.splitlines(keepends=True), f"\n{_name_of(type(error))}: {reason}\n"]
    bare = msgspec.structs.replace(info, traceback="")
    return msgspec.structs.replace(info, traceback=_cut(lines, bare))


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


def _cut(lines: list[str], info: ErrorInfo) -> str:
    """The traceback so that all fits into ERROR_BYTES as JSON.

    First long messages are shortened, then what is in the middle goes: how the worker came there
    is at the top, the error itself at the end.
    """
    room = ERROR_BYTES - len(msgspec.json.encode(info)) - 64
    if sum(map(len, lines)) <= room:
        whole = storable("".join(lines))
        if _size(whole) <= room:
            return whole
    longest = min(LINE_CHARACTERS, room // 12)
    short = [storable(line if len(line) <= longest else line[:longest] + CUT) for line in lines]
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
