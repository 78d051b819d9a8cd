"""Cron expressions by the wall clock of a zone, also on the days on which it is changed.

An expression whose minute or hour begins with ``*`` goes by elapsed time: it is due whenever the
wall clock shows what it says. Any other names times of the day: one that the clock skips comes
right after the gap, one that it shows twice comes once, the first time (so does Debian's cron).
cronsim knows the language; nothing here keeps state.
"""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta, tzinfo

from cronsim import CronSim

from eventq.core.durations import SECOND_US

# From a change of the clock to the next one it is longer than that, everywhere.
DAY = 86_400
# No change moves a clock by more (Samoa once left a day out).
LARGEST_CHANGE = 2 * DAY

_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock has no zone
_SECOND = timedelta(seconds=1)


class CronRule:
    """One expression in one zone. Instants are microseconds since 1970 (UTC)."""

    def __init__(self, spec: str, zone: tzinfo) -> None:
        """Raises CronSimError for what is no expression of five fields."""
        minute, hour = spec.split()[:2]
        self._is_elapsed = minute.startswith("*") or hour.startswith("*")
        self._zone = zone
        # Where it stands does not matter: each use is of a copy that is set.
        self._wall_times = CronSim(spec, _NAIVE)

    def after(self, at: int) -> int | None:
        """The first due behind an instant; None where there is none for fifty years."""
        # The clock of a zone shows whole seconds, and so do dues; the second that `at` is in was
        # due, if at all, at its beginning.
        second = at // SECOND_US
        try:
            due = self._elapsed_after(second) if self._is_elapsed else self._fixed_after(second)
        except (StopIteration, OverflowError, ValueError):
            # Nothing fits, or the calendar ends before it does.
            return None
        return due * SECOND_US

    def explain(self) -> str:
        """The expression in words."""
        return self._wall_times.explain()

    def _fixed_after(self, second: int) -> int:
        wall = _NAIVE + timedelta(seconds=second + self._offset(second))
        while True:
            wall = self._next_wall(wall)
            due = self._instant_of(wall)
            # Earlier, where the clock shows this time again.
            if due > second:
                return due

    def _elapsed_after(self, second: int) -> int:
        offset = self._offset(second)
        while True:
            wall = self._next_wall(_NAIVE + timedelta(seconds=second + offset))
            due = (wall - _NAIVE) // _SECOND - offset
            changes = self._change_between(second, due, offset)
            if changes is None:
                return due
            second, offset = changes - 1, self._offset(changes)

    def _next_wall(self, wall: datetime) -> datetime:
        """The next time behind this one that the expression fits, on a clock that never changes."""
        steps = copy(self._wall_times)
        steps.dt = wall
        return next(steps)

    def _instant_of(self, wall: datetime) -> int:
        """When the clock first shows this time; where it never does, when it has skipped it."""
        offset = wall.replace(tzinfo=self._zone).utcoffset()
        assert offset is not None, "a zone has an offset"
        second = (wall - _NAIVE - offset) // _SECOND
        if self._offset(second) == offset // _SECOND:
            return second
        before = second - LARGEST_CHANGE
        changes = self._change_between(before, second, self._offset(before))
        assert changes is not None, "a skipped time lies in a gap"
        return changes

    def _change_between(self, second: int, until: int, offset: int) -> int | None:
        """The first second up to another one at which the zone has another offset than before."""
        while second < until:
            step = min(second + DAY, until)
            if self._offset(step) != offset:
                while step - second > 1:
                    middle = (second + step) // 2
                    if self._offset(middle) == offset:
                        second = middle
                    else:
                        step = middle
                return step
            second = step
        return None

    def _offset(self, second: int) -> int:
        if self._zone is UTC:
            return 0
        offset = datetime.fromtimestamp(second, self._zone).utcoffset()
        assert offset is not None, "a zone has an offset"
        return offset // _SECOND
