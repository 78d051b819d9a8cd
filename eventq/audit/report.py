"""A report of a period: what was made, what became of it, how long it took, what went wrong.

One pass over the period, from the tasks that were open when it began. Nothing is asked twice.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from eventq.audit.finding import Reach
from eventq.audit.signs import NodeCounts, Signs, Silence
from eventq.catalog.by_hand import was_asked_for
from eventq.catalog.counting import Times
from eventq.catalog.minutes import MINUTE_US, MinuteCounts, percentile, step_of
from eventq.catalog.passing import Progress, folded_told
from eventq.catalog.record import place_of
from eventq.core.commits import AnyBody, Unknown, time_of
from eventq.core.events import Failed, Leased, Refused
from eventq.core.moves import ENDS_LEASE
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import LAPSED, NODE
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_histories, task_of
from eventq.replay.points import Point
from eventq.snapshot import projection_at
from eventq.snapshot.starting import projection_at_start

# So many of each list are kept.
MOST = 10
MOST_BY_HAND = 100


class Minute(Struct, frozen=True):
    """What happened in one minute."""

    at: int
    created: int
    started: int
    completed: int
    failed: int


class NameCounts(Struct, frozen=True):
    """What happened to tasks of one name."""

    name: str | None
    created: int
    completed: int
    failed: int
    """Attempts."""
    expired: int
    cancelled: int
    waited: Times
    ran: Times


class Failures(Struct, frozen=True):
    """Failures of one type that were raised in one place."""

    type: str
    place: str
    failures: int
    message: str
    last_task: str
    """The key of the last one."""
    last_at: int


class RanTwice(Struct, frozen=True):
    """An outcome that came after its lease was lost, of a task that another attempt ran, too."""

    key: str
    number: int
    name: str | None
    node: str
    """Whose outcome came late, and ..."""
    outcome: str
    at: int
    again_on: str
    """... the node that was given the task next."""


class LongWait(Struct, frozen=True):
    """A ready task that waited for an attempt, and what was leased meanwhile."""

    key: str
    number: int
    name: str | None
    ready_at: int
    waited_us: int
    leases: int
    """How many leases others were given in that time."""
    most_of: str | None
    """The name that most of these had."""
    most_leases: int


class LongRun(Struct, frozen=True):
    """An attempt that ran for long."""

    key: str
    number: int
    name: str | None
    node: str
    attempt: int
    started_at: int
    ran_us: int
    outcome: str


class HandedChange(Struct, frozen=True):
    """Something that a person did."""

    seq: int
    at: int
    kind: str
    key: str | None
    by: str | None
    via: str | None
    reason: str


class Report(Struct, frozen=True):
    """A period in numbers. Instants are microseconds, UTC."""

    after: int
    """It is of the events behind this position, and ..."""
    seq: int
    """... up to this one."""
    since: int
    until: int
    open_before: int
    open_after: int
    created: int
    started: int
    completed: int
    expired: int
    cancelled: int
    failed: int
    """Attempts, lapsed ones among them."""
    retried: int
    lapsed: int
    refused: int
    waited: Times
    ran: Times
    minutes: list[Minute]
    """Those in which something happened, oldest first."""
    names: list[NameCounts]
    """Those of which most was done first."""
    nodes: list[NodeCounts]
    silences: list[Silence]
    ran_twice: list[RanTwice]
    failures: list[Failures]
    waits: list[LongWait]
    runs: list[LongRun]
    by_hand: list[HandedChange]
    by_hand_count: int

    @property
    def busiest(self) -> list[Minute]:
        """The minutes in which most attempts began, the busiest first."""
        return sorted(self.minutes, key=lambda each: (-each.started, each.at))[:MOST]


def report(log: EventLog, reach: Reach, *, progress: Progress | None = None) -> Report:
    """What happened within the reach; costs one pass over it, of which ``progress`` is told.

    Raises LogArchivedError and LogCorruptError.
    """
    projection = _projection_before(log, reach)
    tally = _Tally(projection)
    open_before = len(projection.tasks)
    for commit, bodies, after in folded_told(projection, log, reach.seq, progress):
        at = commit.at
        for place, (number, body) in enumerate(zip(commit.tasks, bodies, strict=True)):
            tally.take(commit.first + place, number, time_of(at, body), body, after[place])
    return tally.report(log, reach, open_before, len(projection.tasks))


def _projection_before(log: EventLog, reach: Reach) -> Projection:
    start = log.start()
    if reach.after > start.seq:
        at = log.read(after=reach.after - 1, limit=1)[0].at
        projection = projection_at(log, Point(reach.after, at))
    elif start.seq:
        projection = projection_at_start(log, until=reach.seq)
    else:
        projection = Projection(log.namespace)
    projection.suspend_indexes()
    return projection


class _Tally:
    """What a pass over a period has counted so far."""

    def __init__(self, projection: Projection) -> None:
        self._signs = Signs()
        self._minutes: dict[int, MinuteCounts] = {}
        self._names: dict[str | None, MinuteCounts] = {}
        self._lapsed = 0
        self._first_at: int | None = None
        self._running: dict[int, tuple[int, int, str, int]] = {}
        self._late: list[tuple[int, int, Refused]] = []
        self._failures: dict[tuple[str, str], list[Any]] = {}
        self._waits: list[tuple[int, int, Task]] = []
        self._runs: list[tuple[int, int, LongRun]] = []
        self._lease_times: list[int] = []
        self._lease_names: list[str | None] = []
        self._by_hand: list[HandedChange] = []
        self._by_hand_count = 0
        for holder, held in projection.holders.items():
            for number in held.tasks:
                task = projection.tasks[number]
                leased_at = task.started_at_us or held.seen_at
                self._running[number] = leased_at, task.fence, holder, task.attempt
                self._signs.take_over(number, holder, held.ttl_us, held.seen_at)

    def take(
        self, seq: int, number: int, at: int, body: AnyBody | Unknown, task: Task | None
    ) -> None:
        """One more event; ``task`` is its task behind it."""
        self._first_at = at if self._first_at is None else self._first_at
        self._signs.take(number, at, body)
        self._take_by_hand(seq, number, at, body, task)
        if number == NODE:
            return
        if type(body) is Refused:
            self._late.append((number, at, body))
        name = None if task is None else task.name
        for counts in (self._minute(at), self._named(name)):
            _count(counts, body)
        if task is None:
            return
        if type(body) is Leased:
            self._begin(seq, at, body, task)
        elif body.kind in ENDS_LEASE and number in self._running:
            self._end(at, body, task)

    def _begin(self, seq: int, at: int, body: Leased, task: Task) -> None:
        number = task.number
        self._running[number] = at, seq, body.worker, body.attempt
        waited_us = max(0, at - task.scheduled_at_us)
        for counts in (self._minute(at), self._named(task.name)):
            _add(counts.waits, waited_us)
        _keep(self._waits, (waited_us, seq, task))
        self._lease_times.append(at)
        self._lease_names.append(task.name)

    def _end(self, at: int, body: AnyBody | Unknown, task: Task) -> None:
        began, fence, node, attempt = self._running.pop(task.number)
        ran_us, outcome = at - began, body.kind
        for counts in (self._minute(at), self._named(task.name)):
            _add(counts.runs, ran_us)
        if isinstance(body, Failed):
            self._take_failure(at, body, task)
            if body.error.type == LAPSED:
                self._lapsed, outcome = self._lapsed + 1, "lapsed"
        run = LongRun(task.key, task.number, task.name, node, attempt, began, ran_us, outcome)
        _keep(self._runs, (ran_us, fence, run))

    def _take_failure(self, at: int, body: Failed, task: Task) -> None:
        error = body.error
        known = self._failures.setdefault((error.type, place_of(error.traceback)), [0, "", "", 0])
        known[:] = [known[0] + 1, error.message, task.key, at]

    def _take_by_hand(
        self, seq: int, number: int, at: int, body: AnyBody | Unknown, task: Task | None
    ) -> None:
        by, via = getattr(body, "by", None), getattr(body, "via", None)
        if by is None and via in {None, "code"} and not was_asked_for(body):
            return
        if number != NODE and getattr(body, "bulk", None) is not None:
            # The event that begins a change to many stands for all of it.
            return
        self._by_hand_count += 1
        if len(self._by_hand) < MOST_BY_HAND:
            key = None if task is None else task.key
            reason = getattr(body, "reason", "")
            self._by_hand.append(HandedChange(seq, at, body.kind, key, by, via, reason))

    def report(self, log: EventLog, reach: Reach, open_before: int, open_after: int) -> Report:
        """All of it together."""
        self._signs.end(reach.at)
        total = MinuteCounts(waits={}, runs={})
        for counts in self._minutes.values():
            total.add(counts)
        began = reach.at if self._first_at is None else self._first_at
        return Report(
            after=reach.after,
            seq=reach.seq,
            since=began if reach.since is None else reach.since,
            until=reach.at,
            open_before=open_before,
            open_after=open_after,
            created=total.created,
            started=total.started,
            completed=total.completed,
            expired=total.expired,
            cancelled=total.cancelled,
            failed=total.failed,
            retried=total.retried,
            lapsed=self._lapsed,
            refused=len(self._late),
            waited=_times(total.waits),
            ran=_times(total.runs),
            minutes=[_minute(each, self._minutes[each]) for each in sorted(self._minutes)],
            names=self._name_counts(),
            nodes=sorted(self._signs.nodes.values(), key=lambda each: -each.started),
            silences=self._signs.silences,
            ran_twice=_twice(log, self._late, reach.seq),
            failures=self._worst(),
            waits=[self._long_wait(*each) for each in sorted(self._waits, reverse=True)],
            runs=[run for *_, run in sorted(self._runs, key=lambda each: each[:2], reverse=True)],
            by_hand=self._by_hand,
            by_hand_count=self._by_hand_count,
        )

    def _minute(self, at: int) -> MinuteCounts:
        minute = at // MINUTE_US
        if minute not in self._minutes:
            self._minutes[minute] = MinuteCounts(waits={}, runs={})
        return self._minutes[minute]

    def _named(self, name: str | None) -> MinuteCounts:
        if name not in self._names:
            self._names[name] = MinuteCounts(waits={}, runs={})
        return self._names[name]

    def _name_counts(self) -> list[NameCounts]:
        found = [
            NameCounts(
                name,
                each.created,
                each.completed,
                each.failed,
                each.expired,
                each.cancelled,
                _times(each.waits),
                _times(each.runs),
            )
            for name, each in self._names.items()
        ]
        return sorted(found, key=lambda each: (-each.ran.count, each.name or ""))

    def _worst(self) -> list[Failures]:
        found = [
            Failures(type_, place, count, message, key, at)
            for (type_, place), (count, message, key, at) in self._failures.items()
        ]
        return sorted(found, key=lambda each: (-each.failures, each.type, each.place))[:MOST]

    def _long_wait(self, waited_us: int, _seq: int, task: Task) -> LongWait:
        ready_at = task.scheduled_at_us
        first = bisect_left(self._lease_times, ready_at)
        last = bisect_left(self._lease_times, ready_at + waited_us)
        names = Counter(name or "-" for name in self._lease_names[first:last])
        most, count = next(iter(names.most_common(1)), (None, 0))
        return LongWait(
            task.key, task.number, task.name, ready_at, waited_us, last - first, most, count
        )


_COUNTED = {
    "created": "created",
    "leased": "started",
    "completed": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
    "retried": "retried",
}


def _count(counts: MinuteCounts, body: AnyBody | Unknown) -> None:
    field = _COUNTED.get(body.kind)
    if field is not None:
        setattr(counts, field, getattr(counts, field) + 1)


def _add(spread: dict[int, int], time_us: int) -> None:
    step = step_of(time_us)
    spread[step] = spread.get(step, 0) + 1


def _keep(heap: list[Any], found: tuple[int, int, Any]) -> None:
    """Keeps the greatest; positions differ, so that nothing behind them is compared."""
    if len(heap) < MOST:
        heapq.heappush(heap, found)
    elif found[:2] > heap[0][:2]:
        heapq.heapreplace(heap, found)


def _times(spread: dict[int, int]) -> Times:
    shares: Iterable[int | None] = (percentile(spread, share) for share in (0.5, 0.95, 0.99))
    return Times(sum(spread.values()), *shares)


def _twice(log: EventLog, late: list[tuple[int, int, Refused]], until: int) -> list[RanTwice]:
    """The late outcomes of tasks that were given away meanwhile, or since; by their histories."""
    histories = decode_histories(log.histories(list({number for number, *_ in late})))
    found = []
    for number, at, body in late:
        history = [event for event in histories.get(number, ()) if event.seq <= until]
        others = [e.body.worker for e in history if type(e.body) is Leased and e.seq > body.fence]
        task = task_of(log, number, until=until) if others else None
        if task is not None:
            name, node = task.name, body.worker
            found.append(RanTwice(task.key, number, name, node, body.outcome, at, others[0]))
    return found


def _minute(minute: int, counts: MinuteCounts) -> Minute:
    return Minute(
        minute * MINUTE_US, counts.created, counts.started, counts.completed, counts.failed
    )
