"""What tests of programs that use eventq want: a clock to move. Nothing here is for production."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.validation import check_instant

START = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is moved, for ``Queue(..., clock=clock)``.

    Moving it wakes a run that waits. A run until idle that waits for nothing but a retry moves it
    there itself.
    """

    def __init__(self, start: datetime = START) -> None:
        """``start``: an instant with a time zone. Raises ArgumentError."""
        self._us = self._start_us = check_instant(start, "start") or 0
        self._moving = threading.Lock()
        self._wakes: list[Callable[[], None]] = []

    def now_us(self) -> int:
        """See Clock.now_us."""
        return self._us

    def monotonic(self) -> float:
        """See Clock.monotonic; the seconds since the clock's start."""
        return (self._us - self._start_us) / SECOND_US

    def forward(self, duration: Duration) -> None:
        """Moves the clock on, and wakes whoever waits for an instant. Raises ArgumentError."""
        self._move(parse_duration(duration))

    def on_move(self, wake: Callable[[], None]) -> None:
        """See MovedClock.on_move."""
        self._wakes.append(wake)

    def off_move(self, wake: Callable[[], None]) -> None:
        """See MovedClock.off_move."""
        self._wakes.remove(wake)

    def skip(self, seconds: float) -> None:
        """See MovedClock.skip."""
        self._move(round(seconds * SECOND_US))

    def _move(self, length_us: int) -> None:
        with self._moving:
            self._us += length_us
        for wake in list(self._wakes):
            wake()
