"""The schedules of a queue as a person or program asks for them: looked at, paused, made by hand.

Each is looked at as it stands, and what is to become of it is appended unless it has moved on
since; then it is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from itertools import islice
from typing import Literal, overload

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.asking import Asking, check_asking
from eventq.core.durations import Duration
from eventq.core.events import Created
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.core.schedules import Schedule
from eventq.core.scheduling import (
    EditSchedule,
    MakeByHand,
    known_in,
    replanned,
)
from eventq.core.task import Task, instant
from eventq.core.timing import Overlap
from eventq.core.validation import (
    check_count,
    check_flag,
    check_instant,
)
from eventq.core.values import Via
from eventq.errors import ArgumentError
from eventq.node.node import Node
from eventq.schedules.plans import (
    CodedSchedule,
    catch_up_words,
    check_rules,
    paused_ticks,
    tick_bytes,
)
from eventq.schedules.rules import check_timing, dues_between, next_dues, rule_of
from eventq.schedules.words import timing_words

# Dues that a backfill makes tasks of, unless it is told to make more, and how many it may at most.
BACKFILL = 100
MOST_BACKFILL = 100_000
# As many at a time: one commit takes them, whatever tags they have.
PORTION_BYTES = 512 * 1024
PORTION = 200
MOST_NEXT = 10_000


class ScheduleState(Struct, frozen=True):
    """How a schedule stands, for people and programs."""

    schedule: str
    """Its name."""
    spec: str
    """When its dues come, in words."""
    cron: str | None
    zone: str | None
    """None for an interval."""
    every_us: int | None
    name: str | None
    """Of the handler whose tasks it makes."""
    paused: bool
    next_at: datetime | None
    """The next due; None where none comes any more."""
    last_due: datetime | None
    """The last due that has come, and what became of it."""
    last_outcome: str | None
    task: int | None
    """The number of the task that it made last."""
    catch_up: str
    within_us: int | None
    overlap: str
    jitter_us: int
    shift_us: int
    """By how much its dues are put off."""
    by: str | None
    """Who changed it last, and why."""
    reason: str
    seq: int
    """Position of the last event about it."""


class QueueSchedules:
    """All schedules of a queue, by name; each as it stands when it is asked for."""

    def __init__(self, node: Node, coded: Callable[[], list[CodedSchedule]]) -> None:
        self._node = node
        self._coded = coded

    def __getitem__(self, name: str) -> QueueSchedule:
        """The schedule of this name. Raises ArgumentError where there is none."""
        schedule = self.named(name)
        schedule.look()
        return schedule

    def named(self, name: str, lanes: frozenset[str] | None = None) -> QueueSchedule:
        """The schedule of this name, without a look whether there is one.

        With ``lanes`` it is none as soon as it makes tasks in another lane.
        """
        return QueueSchedule(self._node, name, lanes)

    def __contains__(self, name: object) -> bool:
        """Whether there is a schedule of this name."""
        with self._node.reading() as projection:
            return name in projection.schedules.by_name

    def __iter__(self) -> Iterator[QueueSchedule]:
        """All of them, by name."""
        with self._node.reading() as projection:
            names = sorted(projection.schedules.by_name)
        return (QueueSchedule(self._node, name) for name in names)

    def __len__(self) -> int:
        """How many there are."""
        with self._node.reading() as projection:
            return len(projection.schedules.by_name)

    def states(self) -> list[ScheduleState]:
        """How all of them stand, by name."""
        with self._node.reading() as projection:
            found = sorted(projection.schedules.by_name.items())
        return [state_of(known) for _, known in found]

    def prune(
        self, *, preview: bool = False, by: str | None = None, reason: str = "", via: Via = "code"
    ) -> list[str]:
        """Forgets those that this queue's code does not define; returns their names.

        With ``preview`` it only names them. Raises ArgumentError for a queue that defines none.
        """
        check_flag(preview, "preview")
        check_asking(by, reason, via)
        coded = {each.name for each in self._coded()}
        if not coded:
            expected = "a queue whose code defines schedules: all others are forgotten"
            raise ArgumentError("queue", self._node.log.url, expected)
        with self._node.reading() as projection:
            names = sorted(projection.schedules.by_name.keys() - coded)
        for name in [] if preview else names:
            QueueSchedule(self._node, name).drop(by=by, reason=reason, via=via)
        return names


class QueueSchedule:
    """One schedule; every method looks at it as it stands.

    All that a person may do takes ``by``, who does it, and ``reason``, why; the log keeps both.
    Raises ArgumentError once there is no schedule of this name.
    """

    def __init__(self, node: Node, name: str, lanes: frozenset[str] | None = None) -> None:
        self.name = name
        self._node = node
        self._lanes = lanes

    @property
    def state(self) -> ScheduleState:
        """How it stands."""
        return state_of(self.look())

    def look(self) -> Schedule:
        """What the log says of it."""
        with self._node.reading() as projection:
            return known_in(projection, self.name, self._lanes)

    def next(self, count: int = 5) -> list[datetime]:
        """Its next dues, also while it is paused: so many, or as many as come."""
        count = check_count(count, "count", least=1, most=MOST_NEXT)
        return coming_dues(self.look(), count)

    def pause(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> None:
        """Has its dues make nothing until `resume`. One that is paused stays so."""

        def paused(known: Schedule, _now: int) -> list[Planned | Unplanned | Ticked]:
            if known.planned.paused:
                return []
            return [_said(known.planned, asking, paused=True, next_at=known.next_at)]

        asking = check_asking(by, reason, via)
        self._edit(paused)

    def resume(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> None:
        """Has its dues make tasks again. Those that have come meanwhile make none, and are told.

        Raises ArgumentError for one that is not paused.
        """

        def resumed(known: Schedule, now: int) -> list[Planned | Unplanned | Ticked]:
            if not known.planned.paused:
                raise ArgumentError("schedule", self.name, "a schedule that is paused")
            told = paused_ticks(known, now)
            next_at = known.next_at if told is None else told.next_at
            said = _said(known.planned, asking, paused=False, next_at=next_at)
            return [said] if told is None else [told, said]

        asking = check_asking(by, reason, via)
        self._edit(resumed)

    def update(
        self,
        *,
        spec: str | None = None,
        tz: str | tzinfo | None = None,
        every: Duration | None = None,
        catch_up: Literal["none", "last", "all"] | int | None = None,
        within: Duration | None = None,
        overlap: Overlap | None = None,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> None:
        """Changes it by hand; None leaves a thing as it is.

        That holds until the definition in code changes. ``spec`` and ``tz``: a cron expression, or
        its zone; ``every``: an interval instead. Raises ArgumentError.
        """

        def updated(known: Schedule, now: int) -> list[Planned | Unplanned | Ticked]:
            planned = known.planned
            timing, rules = planned.timing, planned.rules
            if every is not None or spec is not None or tz is not None:
                if every is not None and (spec is not None or tz is not None):
                    raise ArgumentError("every", every, "either every, or spec and tz, not both")
                timing = check_timing(
                    cron=timing.cron if spec is None else spec,
                    zone=timing.zone if tz is None else tz,
                    every=every,
                    jitter=None,
                )
                timing = replace(timing, jitter_us=planned.timing.jitter_us)
            rules = check_rules(
                catch_up=catch_up_words(rules) if catch_up is None else catch_up,
                within=within,
                overlap=rules.overlap if overlap is None else overlap,
            )
            if within is None:
                rules = replace(rules, within_us=planned.rules.within_us)
            if (timing, rules) == (planned.timing, planned.rules):
                return []
            next_at = rule_of(timing, now).after(now)
            wanted = replace(
                _said(planned, asking, paused=planned.paused, next_at=next_at),
                timing=timing,
                rules=rules,
            )
            return [replanned(known, wanted, now)]

        asking = check_asking(by, reason, via)
        self._edit(updated)

    def drop(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> None:
        """Forgets it. A run whose code defines it plans it anew."""
        said = Unplanned(self.name, **check_asking(by, reason, via).marks)
        self._edit(lambda _known, _now: [said])

    def trigger(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> Task | None:
        """Makes one more task now, whatever is open or paused, and moves nothing.

        None where its tasks have a unique value, and one that has it is open.
        """
        command = MakeByHand(self.name, None, check_asking(by, reason, via), self._lanes)
        return self._node.execute(command).tasks[-1]

    @overload
    def backfill(
        self,
        since: datetime,
        until: datetime,
        *,
        limit: int = BACKFILL,
        preview: Literal[True],
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> list[datetime]: ...
    @overload
    def backfill(
        self,
        since: datetime,
        until: datetime,
        *,
        limit: int = BACKFILL,
        preview: Literal[False] = False,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> list[Task]: ...
    def backfill(
        self,
        since: datetime,
        until: datetime,
        *,
        limit: int = BACKFILL,
        preview: bool = False,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> list[datetime] | list[Task]:
        """Makes the tasks of past dues, from ``since`` on and before ``until``, whatever was made.

        With ``preview`` it only says which. Raises ArgumentError where there are more than
        ``limit``, or where ``until`` is to come: then nothing is made. They are made in portions,
        each all or nothing.
        """
        asking = check_asking(by, reason, via)
        limit = check_count(limit, "limit", least=1, most=MOST_BACKFILL)
        known = self.look()
        dues = self._past_dues(known, since, until, limit)
        if check_flag(preview, "preview"):
            return list(map(instant, dues))
        made: list[Task] = []
        size_bytes = tick_bytes(known.planned.call)
        portion = max(1, min(PORTION, PORTION_BYTES // size_bytes))
        for begin in range(0, len(dues), portion):
            each = tuple(dues[begin : begin + portion])
            command = MakeByHand(self.name, each, asking, self._lanes)
            committed = self._node.execute(command)
            after = zip(committed.events, committed.tasks, strict=True)
            made += [task for (_, body), task in after if type(body) is Created and task]
        return made

    def _past_dues(
        self, known: Schedule, since: datetime, until: datetime, limit: int
    ) -> list[int]:
        since_at, until_at = check_instant(since, "since"), check_instant(until, "until")
        if since_at is None or until_at is None or since_at >= until_at:
            raise ArgumentError("until", until, "an instant behind `since`")
        if until_at > self._node.now():
            raise ArgumentError("until", until, "an instant that has come")
        beside = known.planned_at if known.next_at is None else known.next_at
        rule = rule_of(known.planned.timing, beside)
        dues = list(islice(dues_between(rule, since_at - 1, until_at - 1), limit + 1))
        if len(dues) > limit:
            raise ArgumentError("limit", limit, "as many as there are dues, which are more")
        return dues

    def _edit(self, edit: Callable[[Schedule, int], list[Planned | Unplanned | Ticked]]) -> None:
        """Appends what ``edit`` says of it as it stands, again where it has moved on meanwhile."""
        while True:
            known = self.look()
            bodies = edit(known, self._node.now())
            if not bodies:
                return
            command = EditSchedule(self.name, known.seq, tuple(bodies))
            if self._node.execute(command).result:
                return


def coming_dues(known: Schedule, count: int) -> list[datetime]:
    """The next dues of a schedule, also while it is paused: so many, or as many as come."""
    if known.next_at is None:
        return []
    rule = rule_of(known.planned.timing, known.next_at)
    later = islice(next_dues(rule, known.next_at), count - 1)
    return [instant(due) for due in (known.next_at, *later)]


def state_of(known: Schedule) -> ScheduleState:
    """How a schedule stands."""
    planned, ticked = known.planned, known.ticked
    timing, rules = planned.timing, planned.rules
    return ScheduleState(
        schedule=known.name,
        spec=timing_words(timing),
        cron=timing.cron,
        zone=None if timing.cron is None else timing.zone,
        every_us=timing.every_us,
        name=planned.call.name,
        paused=planned.paused,
        next_at=None if known.next_at is None else instant(known.next_at),
        last_due=None if ticked is None else instant(ticked.due),
        last_outcome=None if ticked is None else ticked.outcome,
        task=known.tasks[-1] if known.tasks else None,
        catch_up=str(catch_up_words(rules)),
        within_us=rules.within_us,
        overlap=rules.overlap,
        jitter_us=timing.jitter_us,
        shift_us=planned.shift_us,
        by=planned.by,
        reason=planned.reason,
        seq=known.seq,
    )


def _said(planned: Planned, asking: Asking, *, paused: bool, next_at: int | None) -> Planned:
    """The plan as it stands, said again by somebody."""
    return replace(
        planned,
        paused=paused,
        next_at=next_at,
        decided_at=None,
        **asking.marks,
    )
