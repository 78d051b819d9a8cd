"""A clock that tests move. It knows nothing of queues, only who is to be woken when it moves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.task import instant
from eventq.core.validation import check_instant

START = datetime(2030, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is moved, for ``Queue(..., clock=clock)``.

    Moving it wakes a run that waits. A run until idle that waits for nothing but time, as for a
    retry or the lapse of a dead node's lease, moves it there itself.
    """

    def __init__(self, start: datetime = START) -> None:
        """``start``: an instant with a time zone. Raises ArgumentError."""
        self._us = self._start_us = check_instant(start, "start") or 0
        self._moving = threading.Lock()
        # Who is woken by a move.
        self._wakes: list[Callable[[], None]] = []
        # The runs among them: until when each rests, and whether it would have the clock go there.
        self._runs: dict[Callable[[], None], tuple[int, bool] | None] = {}

    def now_us(self) -> int:
        """See Clock.now_us."""
        return self._us

    def monotonic(self) -> float:
        """See Clock.monotonic; the seconds since the clock's start."""
        return (self._us - self._start_us) / SECOND_US

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return instant(self._us)

    def forward(self, duration: Duration) -> None:
        """Moves the clock on, and wakes whoever waits for an instant. Raises ArgumentError."""
        length_us = parse_duration(duration)
        self._set(lambda us: us + length_us)

    def on_move(self, wake: Callable[[], None]) -> None:
        """See MovedClock.on_move."""
        self._wakes.append(wake)

    def off_move(self, wake: Callable[[], None]) -> None:
        """See MovedClock.off_move."""
        with self._moving:
            self._wakes.remove(wake)
            self._runs.pop(wake, None)
        # Those who are left may all be resting now.
        self._move_if_all_rest()

    def rest(self, wake: Callable[[], None], until_us: int, *, moves: bool) -> None:
        """See MovedClock.rest."""
        with self._moving:
            self._runs[wake] = until_us, moves
        self._move_if_all_rest()

    def busy(self, wake: Callable[[], None]) -> None:
        """See MovedClock.busy."""
        with self._moving:
            self._runs[wake] = None

    def move_to(self, at_us: int) -> None:
        """Moves the clock on to an instant, unless it is there or beyond; wakes as `forward`."""
        self._set(lambda us: max(us, at_us))

    def _move_if_all_rest(self) -> None:
        with self._moving:
            rests = [rest for rest in self._runs.values() if rest is not None]
            if len(rests) < len(self._runs) or not any(moves for _, moves in rests):
                return
            until_us = min(until for until, _ in rests)
        self.move_to(until_us)

    def _set(self, moved: Callable[[int], int]) -> None:
        with self._moving:
            self._us = moved(self._us)
        for wake in list(self._wakes):
            wake()
