"""When a run has nothing to do: whether that is its end, and how long a clock that is moved may go.

Nothing here is decided for tasks: it is looked at what is left of them.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.core.lease import next_eligible
from eventq.core.projection import Projection
from eventq.host.clock import MovedClock
from eventq.node.node import Node
from eventq.runner.attempts import Attempts
from eventq.runner.options import RunOptions


class Rest(Struct, frozen=True):
    """Nothing runs here or is ready for the run: all that is left waits, or is others'."""

    is_done: bool
    """The run has reached what it was to go on until."""
    until_us: int
    """When something is to be done again, by the clock."""


class Resting:
    """Looks for one run whether it rests, and says so to a clock that moves when all do."""

    def __init__(
        self, node: Node, attempts: Attempts, options: RunOptions, *, ring: Callable[[], None]
    ) -> None:
        self.moved = node.clock if isinstance(node.clock, MovedClock) else None
        """The clock, if it moves only when somebody moves it."""
        self._log = node.log
        self._attempts = attempts
        self._until = options.until
        self._ring = ring

    def end(self) -> None:
        """The run looks around."""
        if self.moved is not None:
            self.moved.busy(self._ring)

    def look(
        self, projection: Projection, ticks_at: int | None, *, now: int, pause_s: float
    ) -> Rest | None:
        """The rest of a run that rests; for ``pause_s`` nothing happens that rings its bell.

        ``ticks_at`` is when the next schedule ticks.
        """
        if (self._until is None and self.moved is None) or self._attempts.held:
            return None
        if next_eligible(projection, now, self._attempts.workload.audience) is not None:
            return None
        until_us = self._until_us(projection, ticks_at, now=now, pause_s=pause_s)
        return Rest(self._is_done(projection, now), until_us)

    def begin(self, rest: Rest | None) -> bool:
        """Lets the clock go on; returns whether the run is to go on, too."""
        if rest is None or self._attempts.unsettled:
            return True
        if not rest.is_done and self.moved is not None:
            self.moved.rest(self._ring, rest.until_us, moves=self._until is not None)
        return not rest.is_done

    def _is_done(self, projection: Projection, now: int) -> bool:
        if self._until is None:
            return False
        if self._until != "idle":
            return now >= self._until
        audience = self._attempts.workload.audience
        if projection.leased_count or projection.governing.pending.awaits_rate(audience):
            return False
        if not projection.governing.is_on:
            return not projection.retrying_count(audience)
        # Of those to be retried, one that is due is kept back: by a pause or an undefined limit.
        return not any(t.attempt and audience.accepts(t.route) for t in projection.waiting())

    def _until_us(
        self, projection: Projection, ticks_at: int | None, *, now: int, pause_s: float
    ) -> int:
        ends = [projection.next_instant(), ticks_at]
        if isinstance(self._until, int):
            ends.append(self._until)
        known = [at for at in ends if at is not None]
        if projection.leased_count or not known:
            # Others may renew their leases, or let them lapse: only time that is looked at counts.
            known.append(now + round(pause_s * SECOND_US))
        return min(known) - self._log.clock_offset_us()
