"""What the checker is handed, and what it gives back. Nothing here judges.

Invariants have the numbers of the design's list of what must always hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

Body = dict[str, Any]


@dataclass(frozen=True)
class RawCommit:
    """A commit as a log stores it: ``bodies`` are the JSON texts that the seal covers."""

    id: str
    first: int
    at: int
    prev: bytes
    seal: bytes
    tasks: list[int]
    keys: dict[str, int]
    bodies: list[str]


@dataclass(frozen=True)
class Finding:
    """What does not hold: which invariant, at which position (None: at none), and how."""

    invariant: int | str
    seq: int | None
    text: str

    def __str__(self) -> str:
        """One line for people."""
        where = "" if self.seq is None else f" at {self.seq}"
        return f"invariant {self.invariant}{where}: {self.text}"


class Event(NamedTuple):
    """One event, with the instant that it was decided by."""

    seq: int
    at: int
    task: int
    body: Body


Report = Callable[[int | str, int | None, str], None]
