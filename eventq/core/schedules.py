"""The schedules of a queue: what each is to make, which due comes next, what became of the last.

The fold knows no time zone: what comes next stands in the events.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Raw, Struct
from msgspec.structs import replace
from sortedcontainers import SortedList

from eventq.core.commits import AnyPlanning
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.errors import LogCorruptError

# Tasks of which it is asked whether they are open when the next due comes: the last one, with those
# that were triggered since the last due.
TASKS_KEPT = 8


class Schedule(Struct, frozen=True, gc=False):
    """What was last said of a schedule, with positions and instants."""

    planned: Planned
    planned_seq: int
    planned_at: int
    seq: int
    """Of the last event about it. Who decides by another one decides anew."""
    next_at: int | None
    """The next due; None where there is none."""
    ticked: Ticked | None = None
    """What became of the last due of the clock's."""
    ticked_at: int = 0
    tasks: tuple[int, ...] = ()
    """Tasks that the next due may overlap with; the last one made is the last."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.planned.schedule

    @property
    def ticks_at(self) -> int | None:
        """When its next due is ticked; None while it is paused."""
        if self.planned.paused or self.next_at is None:
            return None
        return self.next_at + self.planned.shift_us


class Schedules:
    """All schedules by name, with an index of the instants at which they tick."""

    def __init__(self, by_name: Mapping[str, Schedule] | None = None) -> None:
        self.by_name = dict(by_name or {})
        self._coming: SortedList[tuple[int, str]] = SortedList(
            (at, name) for name, each in self.by_name.items() if (at := each.ticks_at) is not None
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.by_name)

    def get(self, name: str) -> Schedule | None:
        """The schedule of this name."""
        return self.by_name.get(name)

    def apply(self, seq: int, at: int, body: AnyPlanning) -> None:
        """Folds one event. Raises LogCorruptError for a tick of what was not planned."""
        known = self.by_name.get(body.schedule)
        after: Schedule | None
        if isinstance(body, Planned):
            # A copy: a Raw would keep the whole decoded commit alive.
            call = replace(body.call, tags=Raw(bytes(body.call.tags)))
            after = _planned(known, seq, at, replace(body, call=call))
        elif isinstance(body, Unplanned):
            after = None
        elif known is None:
            raise LogCorruptError(seq, f"there is no schedule {body.schedule!r} to tick")
        else:
            after = _ticked(known, seq, at, body)
        self._put(body.schedule, known, after)

    def coming(self) -> Iterator[tuple[int, str]]:
        """The instants at which schedules tick, and their names, the earliest first."""
        return iter(self._coming)

    def next_instant(self) -> int | None:
        """When the first of them ticks; None where none does."""
        return self._coming[0][0] if self._coming else None

    def check(self) -> None:
        """Asserts the index by a recount; for tests."""
        wanted = sorted((at, each.name) for each in self.by_name.values() if (at := each.ticks_at))
        assert list(self._coming) == wanted
        assert all(each.name == name for name, each in self.by_name.items())

    def _put(self, name: str, before: Schedule | None, after: Schedule | None) -> None:
        old_at = None if before is None else before.ticks_at
        if after is None:
            self.by_name.pop(name, None)
            new_at = None
        else:
            self.by_name[name] = after
            new_at = after.ticks_at
        if old_at == new_at:
            return
        if old_at is not None:
            self._coming.remove((old_at, name))
        if new_at is not None:
            self._coming.add((new_at, name))


def _planned(known: Schedule | None, seq: int, at: int, body: Planned) -> Schedule:
    if known is None:
        return Schedule(body, seq, at, seq, body.next_at)
    return replace(
        known, planned=body, planned_seq=seq, planned_at=at, seq=seq, next_at=body.next_at
    )


def _ticked(known: Schedule, seq: int, at: int, body: Ticked) -> Schedule:
    # Its task is created right behind.
    made = (seq + 1,) if body.outcome == "made" else ()
    if body.hand == "backfill":
        return replace(known, seq=seq)
    if body.hand == "trigger":
        return replace(known, seq=seq, tasks=(*known.tasks, *made)[-TASKS_KEPT:])
    # By position, since each due of each schedule comes here. Tasks before have ended, or are not
    # looked at.
    return Schedule(
        known.planned,
        known.planned_seq,
        known.planned_at,
        seq,
        body.next_at,
        body,
        at,
        made or known.tasks,
    )
