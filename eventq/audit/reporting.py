"""A report of a period, made by one pass over it from the tasks that were open when it began.

It decodes each event once, and folds of a task only what the report tells. Nothing is asked twice.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from copy import copy
from typing import Any, TypeVar

from msgspec import Struct

from eventq.audit.finding import Reach
from eventq.audit.report import (
    MOST,
    Failures,
    HandedChange,
    LongRun,
    LongWait,
    Minute,
    NameCounts,
    RanTwice,
    Report,
)
from eventq.audit.signs import Signs
from eventq.catalog.by_hand import was_asked_for
from eventq.catalog.counts import Times
from eventq.catalog.minutes import MINUTE_US, MinuteCounts, percentile, step_of
from eventq.catalog.passing import Progress, puts_off, sealed_commits
from eventq.catalog.record import place_of
from eventq.core.commits import AnyBody, Unknown, decode_at, time_of
from eventq.core.events import (
    ByHand,
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Retried,
    Updated,
)
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import LAPSED, NODE
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_histories, task_of
from eventq.replay.points import Point
from eventq.snapshot import projection_at
from eventq.snapshot.starting import projection_at_start

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

MOST_BY_HAND = 100


def report(log: EventLog, reach: Reach, *, progress: Progress | None = None) -> Report:
    """What happened within the reach; costs one pass over it, of which ``progress`` is told.

    Raises LogArchivedError and LogCorruptError.
    """
    projection = _projection_before(log, reach)
    tally = _Tally(projection)
    open_before = len(projection.tasks)
    for commit in sealed_commits(log, after=reach.after, until=reach.seq, told=progress):
        bodies = decode_at(commit.first, commit.bodies)
        for seq, (number, body) in enumerate(zip(commit.tasks, bodies, strict=True), commit.first):
            tally.take(seq, number, time_of(commit.at, body), body)
    return tally.report(log, reach, open_before)


def _projection_before(log: EventLog, reach: Reach) -> Projection:
    start = log.start()
    if reach.after > start.seq:
        at = log.read(after=reach.after - 1, limit=1)[0].at
        return projection_at(log, Point(reach.after, at))
    if start.seq:
        return projection_at_start(log, until=reach.seq)
    return Projection(log.namespace)


class _Standing(Struct, gc=False):
    """What a pass keeps of a task that is open."""

    number: int
    key: str
    name: str | None
    ready_at: int
    """When it might have run, or may."""
    passed_from: int
    """Who is leased from this instant on is leased while it is ready."""
    attempt: int = 0
    leased_at: int = 0
    fence: int = 0
    """Of its live lease; 0 without one."""
    node: str = ""


class _Tally:
    """What a pass over a period has counted so far."""

    def __init__(self, projection: Projection) -> None:
        self._signs = Signs()
        self._cells: dict[tuple[int, str | None], MinuteCounts] = {}
        """By minute and name."""
        self._lapsed = 0
        self._first_at: int | None = None
        self._open = {task.number: _standing(task) for task in projection.tasks.values()}
        self._late: list[tuple[int, int, Refused]] = []
        self._failures: dict[tuple[str, str], list[Any]] = {}
        self._waits: list[tuple[int, int, tuple[_Standing, int]]] = []
        """Tasks that waited long, and how many leases there were before theirs."""
        self._runs: list[tuple[int, int, LongRun]] = []
        self._lease_times: list[int] = []
        self._lease_names: list[str | None] = []
        self._by_hand: list[HandedChange] = []
        self._by_hand_count = 0
        for holder, held in projection.holders.items():
            for number in held.tasks:
                standing = self._open[number]
                standing.leased_at = standing.leased_at or held.seen_at
                self._signs.take_over(holder, held.ttl_us, held.seen_at)

    def take(self, seq: int, number: int, at: int, body: AnyBody | Unknown) -> None:
        """One more event."""
        if self._first_at is None:
            self._first_at = at
        if number == NODE:
            self._signs.take(at, body)
            self._take_by_hand(seq, number, at, body)
            return
        task = self._open.get(number)
        if type(body) is Created:
            self._make(number, at, body)
        elif type(body) is Leased and task is not None:
            self._begin(seq, at, body, task)
        elif type(body) is Completed and task is not None:
            self._cell(at, task.name).completed += 1
            self._end(at, body, task)
            del self._open[number]
        else:
            self._take_rare(seq, number, at, body)

    def _make(self, number: int, at: int, body: Created) -> None:
        ready_at = at if body.scheduled_at is None else max(at, body.scheduled_at)
        key = body.key or str(number)
        self._open[number] = _Standing(number, key, body.name, ready_at, max(ready_at, at + 1))
        self._cell(at, body.name).created += 1

    def _begin(self, seq: int, at: int, body: Leased, task: _Standing) -> None:
        task.leased_at, task.fence, task.node, task.attempt = at, seq, body.worker, body.attempt
        waited_us = max(0, at - task.ready_at)
        counts = self._cell(at, task.name)
        counts.started += 1
        _add(counts.waits, waited_us)
        if _is_kept(self._waits, waited_us, seq):
            _keep(self._waits, (waited_us, seq, (copy(task), len(self._lease_times))))
        self._lease_times.append(at)
        self._lease_names.append(task.name)
        self._signs.lease(at, body)

    def _end(self, at: int, body: AnyBody | Unknown, task: _Standing) -> None:
        if not task.fence:
            return
        ran_us, outcome = at - task.leased_at, body.kind
        _add(self._cell(at, task.name).runs, ran_us)
        if type(body) is Failed:
            self._take_failure(at, body, task)
            if body.error.type == LAPSED:
                self._lapsed, outcome = self._lapsed + 1, "lapsed"
        if _is_kept(self._runs, ran_us, task.fence):
            run = LongRun(
                task.key,
                task.number,
                task.name,
                task.node,
                task.attempt,
                task.leased_at,
                ran_us,
                outcome,
            )
            _keep(self._runs, (ran_us, task.fence, run))
        task.fence = 0
        self._signs.give_back(task.node, at, body)

    def _take_rare(self, seq: int, number: int, at: int, body: AnyBody | Unknown) -> None:
        """One more event of a task, of a kind that most have not."""
        if type(body) is Refused:
            self._late.append((number, at, body))
            return
        task = self._open.get(number)
        if task is None and type(body) is Retried and body.reopens is not None:
            key, name = body.reopens.key or str(number), body.reopens.name
            task = self._open[number] = _Standing(number, key, name, body.scheduled_at, 0)
        if isinstance(body, ByHand):
            self._take_by_hand(seq, number, at, body)
        if task is None:
            return
        if isinstance(body, (Retried, Updated, Released)) and puts_off(body):
            due_at = task.ready_at if body.scheduled_at is None else body.scheduled_at
            task.ready_at = max(due_at, at)
            # What came with it in one commit was there at once, leases too.
            task.passed_from = max(due_at, at + 1)
        field = _COUNTED.get(type(body))
        if field is not None:
            counts = self._cell(at, task.name)
            setattr(counts, field, getattr(counts, field) + 1)
        if type(body) in _ENDS_LEASE:
            self._end(at, body, task)
        if type(body) in _FINAL:
            del self._open[number]

    def _take_failure(self, at: int, body: Failed, task: _Standing) -> None:
        error = body.error
        known = self._failures.setdefault((error.type, place_of(error.traceback)), [0, "", "", 0])
        known[:] = [known[0] + 1, error.message, task.key, at]

    def _take_by_hand(self, seq: int, number: int, at: int, body: AnyBody | Unknown) -> None:
        by, via = getattr(body, "by", None), getattr(body, "via", None)
        if by is None and via in {None, "code"} and not was_asked_for(body):
            return
        if number != NODE and getattr(body, "bulk", None) is not None:
            # The event that begins a change to many stands for all of it.
            return
        self._by_hand_count += 1
        if len(self._by_hand) < MOST_BY_HAND:
            known, reason = self._open.get(number), getattr(body, "reason", "")
            key = None if known is None else known.key
            self._by_hand.append(HandedChange(seq, at, body.kind, key, by, via, reason))

    def report(self, log: EventLog, reach: Reach, open_before: int) -> Report:
        """All of it together."""
        self._signs.end(reach.at)
        minutes = _together(self._cells.items(), lambda cell: cell[0])
        [total] = _together(self._cells.items(), lambda _: 0).values() or [MinuteCounts()]
        began = reach.at if self._first_at is None else self._first_at
        return Report(
            after=reach.after,
            seq=reach.seq,
            since=began if reach.since is None else reach.since,
            until=reach.at,
            open_before=open_before,
            open_after=len(self._open),
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
            minutes=[_minute(each, minutes[each]) for each in sorted(minutes)],
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

    def _cell(self, at: int, name: str | None) -> MinuteCounts:
        place = at // MINUTE_US, name
        found = self._cells.get(place)
        if found is None:
            found = self._cells[place] = MinuteCounts()
        return found

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
            for name, each in _together(self._cells.items(), lambda cell: cell[1]).items()
        ]
        return sorted(found, key=lambda each: (-each.ran.count, each.name or ""))

    def _worst(self) -> list[Failures]:
        found = [
            Failures(type_, place, count, message, key, at)
            for (type_, place), (count, message, key, at) in self._failures.items()
        ]
        return sorted(found, key=lambda each: (-each.failures, each.type, each.place))[:MOST]

    def _long_wait(self, waited_us: int, _seq: int, waited: tuple[_Standing, int]) -> LongWait:
        task, last = waited
        first = min(bisect_left(self._lease_times, task.passed_from), last)
        names = Counter(name or "-" for name in self._lease_names[first:last])
        most, count = next(iter(names.most_common(1)), (None, 0))
        return LongWait(
            task.key, task.number, task.name, task.ready_at, waited_us, last - first, most, count
        )


_COUNTED: dict[type, str] = {
    Expired: "expired",
    Cancelled: "cancelled",
    Failed: "failed",
    Retried: "retried",
}
_ENDS_LEASE = frozenset({Failed, Released, Cancelled})
_FINAL = frozenset({Expired, Cancelled})


def _standing(task: Task) -> _Standing:
    """An open task, where the period begins."""
    return _Standing(
        task.number,
        task.key,
        task.name,
        task.scheduled_at_us,
        task.scheduled_at_us,
        task.attempt,
        task.started_at_us or 0,
        task.fence,
        task.worker or "",
    )


def _together(
    cells: Iterable[tuple[T, MinuteCounts]], part: Callable[[T], K]
) -> dict[K, MinuteCounts]:
    """The counts of what has this part of its place in common."""
    found: dict[K, MinuteCounts] = {}
    for place, counts in cells:
        found.setdefault(part(place), MinuteCounts()).add(counts)
    return found


def _add(spread: dict[int, int], time_us: int) -> None:
    step = step_of(time_us)
    spread[step] = spread.get(step, 0) + 1


def _is_kept(heap: list[Any], length_us: int, seq: int) -> bool:
    """Whether this is among the greatest so far."""
    return len(heap) < MOST or (length_us, seq) > heap[0][:2]


def _keep(heap: list[Any], found: tuple[int, int, Any]) -> None:
    """Keeps one more of the greatest; positions differ: nothing behind them is compared."""
    if len(heap) < MOST:
        heapq.heappush(heap, found)
    else:
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
