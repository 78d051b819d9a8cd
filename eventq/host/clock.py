"""The clock, handed to whoever needs the time; no other room reads one, so tests can move it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from eventq.core.durations import SECOND_US
from eventq.core.task import instant
from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.clock")

# A log that is ahead of the clock by more than this was written by a wrong one: clocks that are set
# right are milliseconds apart, and seconds when something is amiss.
AHEAD_US = 60 * SECOND_US
AHEAD = "the log is ahead of the clock; what is due, expires or waits goes by the clock"
JUMPED = "the clock has jumped, or this machine was suspended"


class Clock(Protocol):
    """What time it is, in two senses."""

    def now_us(self) -> int:
        """Wall time: microseconds since 1970, UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""


@runtime_checkable
class MovedClock(Clock, Protocol):
    """A clock that moves only when somebody moves it. A run asks for no more than a Clock."""

    def on_move(self, wake: Callable[[], None]) -> None:
        """Has ``wake`` called after each move, on the thread that moves; it never blocks."""

    def off_move(self, wake: Callable[[], None]) -> None:
        """Ends `on_move`."""

    def rest(self, wake: Callable[[], None], until_us: int, *, moves: bool) -> None:
        """The run that ``wake`` wakes has nothing to do before an instant of this clock.

        Once all runs on it rest, the clock goes to the first of their instants, if one of them asks
        for it (``moves``): they would wait for ever. A run rests until it is woken or says `busy`.
        """

    def busy(self, wake: Callable[[], None]) -> None:
        """Ends `rest`: the run looks around."""


class SteadyTime:
    """A wall time that goes on from where it was when the clock jumps back: nothing waits it out.

    Neither that nor a log's stamp is followed where it is more than a minute ahead of the clock: it
    comes of a clock that is or was wrong. Both are warned of. May be asked by several threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Held for moments only, while the clocks are read.
        self._lock = threading.Lock()
        self._last_us = 0
        self._last_s = clock.monotonic()
        self._clock_us: int | None = None
        self._is_told = False

    def now(self, *, offset_us: int, at_least: int = 0) -> int:
        """Microseconds since 1970: the clock's and ``offset_us``, but never behind itself.

        ``at_least``, the instant of what has been read, it never falls behind either.
        """
        with self._lock:
            # In this order: a pause between the two (a suspended process) must not be counted
            # twice, which would push the log's time ahead for good. Nor may two threads do so.
            clock_us = self._clock.now_us() + offset_us
            now_s = self._clock.monotonic()
            passed_us = int((now_s - self._last_s) * SECOND_US)
            expected_us = clock_us if self._clock_us is None else self._clock_us + passed_us
            most_us = clock_us + AHEAD_US
            now_us = self._last_us + passed_us
            if now_us < at_least <= most_us:
                now_us = at_least
            if not clock_us <= now_us <= most_us:
                now_us = clock_us
            self._last_us, self._last_s, self._clock_us = now_us, now_s, clock_us
            is_ahead = at_least > most_us and not self._is_told
            if is_ahead:
                self._is_told = True
        if not -AHEAD_US <= clock_us - expected_us <= AHEAD_US:
            _warn(JUMPED, was_at=expected_us, clock_at=clock_us)
        if is_ahead:
            warn_if_ahead(at_least, clock_us)
        return now_us

    def warn_again(self) -> None:
        """Has the next look at a log that is ahead of the clock warn once more."""
        self._is_told = False


class LogClock:
    """The clock of a log's time: `SteadyTime` for the wall, the machine's own for lengths."""

    def __init__(self, clock: Clock, now: Callable[[], int]) -> None:
        self.source = clock
        self.now_us = now
        self.monotonic = clock.monotonic


def warn_if_ahead(log_at: int, clock_at: int) -> None:
    """Warns, with both instants, where a log that ends at the one is far ahead of the other."""
    if log_at > clock_at + AHEAD_US:
        _warn(AHEAD, log_at=log_at, clock_at=clock_at)


class SystemClock:
    """The machine's own clock."""

    # Each attempt asks twice.
    monotonic = staticmethod(time.monotonic)

    def now_us(self) -> int:
        """See Clock.now_us."""
        return time.time_ns() // 1_000


def _warn(message: str, **instants: int) -> None:
    logger.warning(message, extra={name: shown_at(at) for name, at in instants.items()})


def shown_at(at: int) -> str:
    """The instant as a warning shows it, to the second."""
    return instant(at).isoformat(timespec="seconds")
