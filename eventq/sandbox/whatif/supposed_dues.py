"""The dues of schedules by another timing: what recorded ones brought comes at other instants.

A due brings its task and what that made by `ctx.new`, as long after it as in the record. Which of
the recorded dues it is like, chance says, by the seed, the schedule and the due.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.events import Created
from eventq.core.timing import Timing
from eventq.core.values import Predecessor
from eventq.errors import ArgumentError
from eventq.sandbox.whatif.arrivals import Arrival
from eventq.sandbox.whatif.dues import ScheduleRecord
from eventq.sandbox.whatif.trace import Trace
from eventq.schedules.rules import dues_between, rule_of

# More tasks than these are a slip.
MOST_TASKS = 1_000_000


class DueCount(Struct, frozen=True):
    """The dues of a schedule with another timing."""

    schedule: str
    recorded: int
    """Those that made a task."""
    what_if: int
    """Those that make one in the what-if."""
    skipped: int
    """Those that make none there, since the task of the one before is open."""


class SupposedDues:
    """All dues of a what-if, and what becomes of them."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        """In order; their numbers are behind the record."""
        self.overlaps: dict[str, str] = {}
        """By schedule, what happens while the task of the due before is open."""
        self._root_of: dict[int, int] = {}
        self._counts: dict[str, list[int]] = {}
        self._skipped: set[int] = set()
        self._last: dict[str, int] = {}

    def add(self, made: list[Arrival]) -> None:
        """One more due, which brings these; the first is its own task."""
        self.arrivals += made
        self._root_of |= {each.task: made[0].task for each in made}

    def begin(self, name: str, *, recorded: int, overlap: str) -> None:
        """The dues of a schedule follow."""
        self._counts[name] = [recorded, 0, 0]
        self.overlaps[name] = overlap

    def is_due(self, arrival: Arrival) -> bool:
        """Whether it is the own task of one of these dues."""
        return self._root_of.get(arrival.task) == arrival.task

    def is_dropped(self, arrival: Arrival) -> bool:
        """Whether a due that was skipped would have brought it."""
        return self._root_of.get(arrival.task) in self._skipped

    def last_of(self, name: str) -> int | None:
        """The task of the last due that made one."""
        return self._last.get(name)

    def note(self, arrival: Arrival, name: str, *, skipped: bool) -> None:
        """What becomes of a due."""
        self._counts[name][2 if skipped else 1] += 1
        if skipped:
            self._skipped.add(arrival.task)
        else:
            self._last[name] = arrival.task

    def counts(self) -> list[DueCount]:
        """What became of them, by schedule."""
        return [DueCount(name, *counts) for name, counts in sorted(self._counts.items())]


def suppose_dues(
    trace: Trace,
    crons: Mapping[str, Timing | None],
    *,
    number: int,
    seed: int,
) -> SupposedDues:
    """The dues by other timings, all along the trace, written into it behind all others.

    ``number`` is the first that no task of the record has. Raises ArgumentError for a schedule of
    which the record tells no due.
    """
    dues, span = SupposedDues(), (trace.begun_at, trace.ended_at)
    for name, timing in crons.items():
        record = trace.schedules.by_name[name]
        if record.planned is None or not record.families:
            raise ArgumentError("crons", name, "a schedule that made a task between the points")
        is_unique = record.planned.call.unique is not None
        overlap = "skip" if is_unique else record.planned.rules.overlap
        dues.begin(name, recorded=len(record.families), overlap=overlap)
        families = list(record.families.values())
        for at in () if timing is None else _instants(record, timing, span):
            chance = random.Random(f"{seed}:{name}:{at}")  # noqa: S311 - guards nothing
            made = _bring(trace, chance.choice(families), at, number)
            dues.add(made)
            number += len(made)
            if len(dues.arrivals) > MOST_TASKS:
                raise ArgumentError("crons", name, f"at most {MOST_TASKS} tasks")
    dues.arrivals.sort(key=lambda each: (each.at, each.task))
    return dues


def merged(arrivals: Iterable[Arrival], trace: Trace, dues: SupposedDues) -> Iterator[Arrival]:
    """What arrives, with the supposed dues in place of those that were recorded."""
    kept = (each for each in arrivals if not trace.schedules.is_of_due(each.task))
    return heapq.merge(kept, dues.arrivals, key=lambda each: each.at)


def _instants(record: ScheduleRecord, timing: Timing, span: tuple[int, int]) -> Iterator[int]:
    """When the dues are ticked."""
    planned = record.planned
    assert planned is not None, "it has made tasks"
    if planned.timing.cron is not None:
        timing = replace(timing, zone=planned.timing.zone)
    shift_us = planned.shift_us
    for begin, end in record.spans(*span):
        rule = rule_of(timing, begin)
        for due in dues_between(rule, begin - shift_us, end - shift_us):
            yield due + shift_us


def _bring(trace: Trace, family: Sequence[Arrival], at: int, number: int) -> list[Arrival]:
    """The tasks of one due, with the recorded attempts of those that they are like."""
    numbers = {each.task: new for new, each in enumerate(family, number)}
    moved_us = at - family[0].at
    made = []
    for each in family:
        assert isinstance(each.body, Created), "those are kept"
        trace.repeat(each.task, numbers[each.task])
        body = _moved(each.body, numbers, moved_us)
        made.append(Arrival(each.at + moved_us, numbers[each.task], body))
    return made


def _moved(body: Created, numbers: Mapping[int, int], moved_us: int) -> Created:
    def moved(at: int | None) -> int | None:
        return None if at is None else at + moved_us

    return replace(
        body,
        scheduled_at=moved(body.scheduled_at),
        expires_at=moved(body.expires_at),
        after=tuple(Predecessor(numbers.get(e.task, e.task), e.verdict) for e in body.after),
        flow=None if body.flow is None else numbers.get(body.flow, body.flow),
    )
