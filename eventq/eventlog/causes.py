"""Which events name the task that caused them: what a log's index of causes is made of.

Logs understand no more than this of what they hold.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

# How the stored body of a cancellation begins, and what one with a cause holds.
CANCELLED = '{"kind":"cancelled"'
CAUSE = '"cause":'


class _Caused(Struct):
    cause: int | None = None


_decoder = msgspec.json.Decoder(_Caused)


def causes_of(bodies: list[str]) -> dict[int, int]:
    """The cause of each stored body that has one, by its place among them."""
    return {
        index: cause
        for index, text in enumerate(bodies)
        if text.startswith(CANCELLED) and CAUSE in text and (cause := _cause(text)) is not None
    }


def _cause(text: str) -> int | None:
    """The cause that a body names; None where it names none, or is damaged."""
    try:
        cause = _decoder.decode(text).cause
    except (msgspec.DecodeError, RecursionError):
        return None
    return cause if cause is None or 0 < cause < 2**63 else None
