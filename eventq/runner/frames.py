"""Calls of a stack as people read them: where each stands in the source.

Values of variables are never looked at.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from msgspec import Struct

MOST_FRAMES = 100


class StackLine(Struct, frozen=True):
    """One call of a stack."""

    file: str
    line: int
    function: str
    text: str
    """The line of the source, where that is at hand."""


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that called it, from the inside out."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def awaited(coroutine: Any) -> Iterator[FrameType]:  # noqa: ANN401 - whatever is awaited
    """The frames of a coroutine and of what it waits for, from the outside in."""
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame
        coroutine = coroutine.cr_await


def lines_of(frames: Iterable[FrameType]) -> list[StackLine]:
    """The frames, which come from the outside in; of a deep stack its last ones."""
    found = []
    for frame in frames:
        code, line = frame.f_code, frame.f_lineno or 0
        text = linecache.getline(code.co_filename, line).strip()
        found.append(StackLine(code.co_filename, line, code.co_name, text))
    # Where it stands matters most.
    return found[-MOST_FRAMES:]
