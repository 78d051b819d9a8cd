"""Where an attempt of this process's run stands at this moment: its stack, for people to read.

Nothing is stopped for it and nothing is kept ready for it, so an attempt that is not looked at pays
nothing.
"""

from __future__ import annotations

import asyncio
import sys
from types import FrameType
from typing import Any

from eventq.runner.executors import thread
from eventq.runner.executors.aio import AsyncExecutor
from eventq.runner.frames import StackLine, awaited, lines_of, outwards
from eventq.runner.isolation.supervision import Supervision

# The frames in which an attempt is a local variable of that name.
CALL = "ThreadExecutor._caller.<locals>.call"
LOOP = "BaseEventLoop.run_forever"


def stack_of(fence: int) -> list[StackLine] | None:
    """The stack of the attempt with this fence, its last call last.

    Of one in a process of its own, as that says it. None where it is not of a run in this process,
    and where its own process does not answer.
    """
    loops: list[asyncio.AbstractEventLoop] = []
    for top in sys._current_frames().values():  # noqa: SLF001 - the only way to other threads
        frames: list[FrameType] = []
        for frame in outwards(top):
            if frame.f_code is Supervision.run.__code__ and frame.f_locals["self"].is_of(fence):
                found: list[StackLine] | None = frame.f_locals["self"].stack()
                return found
            if _is_call(frame) and _is_of(frame.f_locals.get("attempt"), fence):
                return lines_of(reversed(frames))
            if frame.f_code.co_qualname == LOOP:
                loops.append(frame.f_locals["self"])
            frames.append(frame)
    for loop in loops:
        for task in asyncio.all_tasks(loop):
            frames = list(awaited(task.get_coro()))
            is_ours = bool(frames) and frames[0].f_code is AsyncExecutor._run.__code__  # noqa: SLF001
            if is_ours and _is_of(frames[0].f_locals.get("attempt"), fence):
                return lines_of(frames[1:])
    return None


def _is_call(frame: FrameType) -> bool:
    code = frame.f_code
    return code.co_qualname == CALL and code.co_filename == thread.__file__


def _is_of(attempt: Any, fence: int) -> bool:  # noqa: ANN401 - a variable of that name
    return attempt is not None and attempt.task.fence == fence
