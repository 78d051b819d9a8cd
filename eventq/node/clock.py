"""The clock, handed to whoever needs the time; no other room reads one, so tests can move it."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from eventq.core.durations import SECOND_US


class Clock(Protocol):
    """What time it is, in two senses."""

    def now_us(self) -> int:
        """Wall time: microseconds since 1970, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


class SteadyTime:
    """A wall time that goes on from where it was when the clock jumps back: nothing waits it out.

    May be asked by several threads at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Held for moments only, while the clocks are read.
        self._lock = threading.Lock()
        self._last_us = 0
        self._last_s = clock.monotonic()

    def now(self, *, offset_us: int, at_least: int = 0) -> int:
        """Microseconds since 1970: the clock's and ``offset_us``, but never behind itself.

        ``at_least``, the instant of what has been read, it never falls behind either.
        """
        with self._lock:
            # In this order: a pause between the two (a suspended process) must not be counted
            # twice, which would push the log's time ahead for good. Nor may two threads do so.
            now = max(self._clock.now_us() + offset_us, at_least)
            now_s = self._clock.monotonic()
            passed_us = int((now_s - self._last_s) * SECOND_US)
            self._last_us = max(now, self._last_us + passed_us)
            self._last_s = now_s
            return self._last_us


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """See Clock.now_us."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return time.monotonic()
