"""Where an attempt that runs in this process stands at this moment: its stack, for people to read.

Nothing is stopped for it and nothing is kept ready for it, so an attempt that is not looked at pays
nothing. Values of variables are not looked at.
"""

from __future__ import annotations

import asyncio
import linecache
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from msgspec import Struct

from eventq.runner.executors import thread
from eventq.runner.executors.aio import AsyncExecutor

MOST_FRAMES = 100
# The frames in which an attempt is a local variable of that name.
CALL = "ThreadExecutor._caller.<locals>.call"
LOOP = "BaseEventLoop.run_forever"


class StackLine(Struct, frozen=True):
    """One call of a stack."""

    file: str
    line: int
    function: str
    text: str
    """The line of the source, where that is at hand."""


def stack_of(fence: int) -> list[StackLine] | None:
    """The stack of the attempt with this fence, its last call last.

    None where it does not run in this process, or runs in a process of its own.
    """
    loops: list[asyncio.AbstractEventLoop] = []
    for top in sys._current_frames().values():  # noqa: SLF001 - the only way to other threads
        frames: list[FrameType] = []
        for frame in _outwards(top):
            if _is_call(frame) and _is_of(frame.f_locals.get("attempt"), fence):
                return _lines(reversed(frames))
            if frame.f_code.co_qualname == LOOP:
                loops.append(frame.f_locals["self"])
            frames.append(frame)
    for loop in loops:
        for task in asyncio.all_tasks(loop):
            found: Any = task.get_coro()
            frames = list(_awaited(found))
            is_ours = bool(frames) and frames[0].f_code is AsyncExecutor._run.__code__  # noqa: SLF001
            if is_ours and _is_of(frames[0].f_locals.get("attempt"), fence):
                return _lines(iter(frames[1:]))
    return None


def _is_call(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_qualname == CALL and code.co_filename == thread.__file__


def _is_of(attempt: Any, fence: int) -> bool:  # noqa: ANN401 - a variable of that name
    return attempt is not None and attempt.task.fence == fence


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _awaited(coroutine: Any) -> Iterator[FrameType]:  # noqa: ANN401 - whatever is awaited
    """The frames of a coroutine and of what it waits for, from the outside in."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame
        coroutine = coroutine.cr_await


def _lines(frames: Iterator[FrameType]) -> list[StackLine]:
    found = []
    for frame in frames:
        code, line = frame.f_code, frame.f_lineno or 0
        text = linecache.getline(code.co_filename, line).strip()
        found.append(StackLine(code.co_filename, line, code.co_name, text))
    # Of a deep one, where it stands matters most.
    return found[-MOST_FRAMES:]
