"""The clock, handed to whoever needs the time; no other room reads one, so tests can move it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What time it is, in two senses."""

    def now_us(self) -> int:
        """Wall time: microseconds since 1970, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """See Clock.now_us."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return time.monotonic()
