"""Questions to a projection and its log, as users ask them; nothing here appends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.core.audience import audience_of, matches
from eventq.core.commits import TOLD, Event, Unknown, events_of
from eventq.core.events import Cancelled, Completed, Expired, Refused
from eventq.core.plain import sorted_json
from eventq.core.projection import Projection
from eventq.core.secret_tags import open_tags
from eventq.core.task import FINAL, Task, TaskState, instant
from eventq.core.values import NODE
from eventq.eventlog.contract import EventLog
from eventq.host.bell import Bell
from eventq.replay.blocking import held_back
from eventq.replay.fold import commits_back, folded, read_all, task_of

# More final tasks than this are found by one fold: each question to the log costs as much as
# folding some ten events.
LOOKUPS = 1_000

# The kinds of events that end a task.
ENDS: dict[type, TaskState] = {
    Completed: TaskState.COMPLETED,
    Expired: TaskState.EXPIRED,
    Cancelled: TaskState.CANCELLED,
}

# A late outcome or word changes nothing, and what an unknown event changes, nobody here knows.
SAYING_NOTHING = frozenset({Refused, Unknown}) | TOLD

# A follower that heard no ring looks all the same after this many seconds.
FOLLOW_S = 1.0


class Stats(Struct, frozen=True):
    """A queue in numbers: tasks by state now, and what has happened since the first event."""

    waiting: int
    """Tasks that come after others."""
    scheduled: int
    ready: int
    leased: int
    completed: int
    expired: int
    cancelled: int
    unknown: int
    """Open tasks of which only a newer eventq knows where they stand."""
    attempts: int
    """Leases granted."""
    failures: int
    """Attempts that failed."""
    refused: int
    """Outcomes that came after their lease was lost."""
    nodes: list[str]
    """Nodes that hold leases."""
    seq: int
    """Position of the last event."""
    unhandled: dict[str, int]
    """Ready tasks whose name no running node handles, by name."""
    held: dict[str, int]
    """Ready tasks that a limit or a pause keeps back, by that."""
    limits: int
    """Limits that are defined; `Queue.limits` tells of each."""
    pauses: int
    """Pauses that go on; `Queue.pauses` tells of each."""
    schedules: int
    """Schedules, paused ones among them; `Queue.schedules` tells of each."""
    first_at: datetime | None = None
    """When the first event came that the log still holds; None where that was not asked."""
    last_at: datetime | None = None
    """When the last event came; None before the first."""

    @property
    def open(self) -> int:
        """Tasks not in a final state."""
        return self.waiting + self.scheduled + self.ready + self.leased + self.unknown

    @property
    def total(self) -> int:
        """All tasks ever created."""
        return self.open + self.completed + self.expired + self.cancelled


class TaskFilter(Struct, frozen=True):
    """Which tasks are looked for; None means any."""

    tags: Mapping[str, Any] | None = None
    """Names and values that a task has among its tags."""
    name: str | None = None
    """A name, or a pattern in which ``*`` stands for any text."""
    lane: str | None = None
    schedule: str | None = None
    """What made it."""

    def chosen(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Those of the tasks that are looked for, in their order."""
        tags = TagFilter(self.tags)
        for task in tasks:
            if self.lane is not None and task.lane != self.lane:
                continue
            if self.schedule is not None and task.schedule != self.schedule:
                continue
            if self.name is not None and (task.name is None or not matches(task.name, self.name)):
                continue
            if tags.matches(task):
                yield task


class TagFilter:
    """Says of a task's tags whether they hold all of these names with these values, as JSON."""

    def __init__(self, tags: Mapping[str, Any] | None) -> None:
        self._wanted = {name: sorted_json(value) for name, value in (tags or {}).items()}

    def matches(self, task: Task) -> bool:
        """Whether its tags match, none of them secret; without any wanted, all do."""
        if not self._wanted:
            return True
        tags: object = msgspec.json.decode(open_tags(task.tags_json, task.secret))
        # No eventq writes others than an object; a stranger's log may hold anything.
        return isinstance(tags, dict) and all(
            name in tags and sorted_json(tags[name]) == text for name, text in self._wanted.items()
        )


def take_stats(projection: Projection, *, now: int) -> Stats:
    """The projection's numbers at ``now``; O(nodes and ready names)."""
    counts: dict[str, Any] = {**queue_counts(projection, now=now)}
    return Stats(
        **counts,
        nodes=sorted(projection.holders),
        seq=projection.seq,
        unhandled=unhandled(projection, now=now),
        held=held_back(projection, now),
        limits=len(projection.governing.limits.by_name),
        pauses=sum(p.is_on(now) for p in projection.governing.pauses.by_scope.values()),
        schedules=len(projection.schedules.by_name),
        last_at=instant(projection.at) if projection.seq else None,
    )


def first_instant(log: EventLog) -> datetime | None:
    """When the first event came that the log still holds; None where it holds none."""
    commits = log.read(after=log.start().seq, limit=1)
    return instant(commits[0].at) if commits else None


def unhandled(projection: Projection, *, now: int) -> dict[str, int]:
    """How many ready tasks have each name that no running node handles in their lane.

    A node runs while it holds leases or has joined lately. Whether it knows what a task needs, it
    does not say, so that is not asked. O(nodes times ready names).
    """
    audiences = {audience_of(member.joined) for member in projection.alive_members(now)}
    found: dict[str, int] = {}
    for route, count in projection.ready_routes(now).items():
        plain = replace(route, needs=())
        if route.name is not None and not any(each.accepts(plain) for each in audiences):
            found[route.name] = found.get(route.name, 0) + count
    return dict(sorted(found.items()))


def queue_counts(projection: Projection, *, now: int) -> dict[str, int]:
    """Tasks by state at ``now``; and the attempts, failures and late outcomes so far."""
    return {
        **state_counts(projection, now=now),
        "attempts": projection.counts["leased"],
        "failures": projection.counts["failed"],
        "refused": projection.counts["refused"],
    }


def state_counts(projection: Projection, *, now: int) -> dict[str, int]:
    """How many tasks are in each state at ``now``, without one that has failed in mid-commit."""
    return {
        "waiting": len(projection.waits.by_task),
        "scheduled": projection.scheduled_count(now),
        "ready": projection.ready_count(now),
        "leased": projection.leased_count,
        **projection.final_counts(),
        "unknown": projection.unknown_count,
    }


def open_tasks(
    projection: Projection,
    *,
    states: frozenset[TaskState],
    wanted: TaskFilter,
    limit: int | None,
    now: int,
) -> list[Task]:
    """Tasks in the open ones of these states: leased, ready, scheduled, in dispatch order.

    Those that come after others, and those that are unknown, come last, by number.
    """

    def candidates() -> Iterator[Task]:
        if TaskState.LEASED in states:
            yield from projection.leased()
        if TaskState.READY in states:
            yield from projection.ready(now)
        if TaskState.SCHEDULED in states:
            projection.advance_to(now)
            yield from projection.waiting()
        if TaskState.WAITING in states:
            yield from (projection.tasks[number] for number in sorted(projection.waits.by_task))
        if TaskState.UNKNOWN in states and projection.unknown_count:
            yield from sorted(
                (t for t in projection.tasks.values() if t.recorded_state is TaskState.UNKNOWN),
                key=attrgetter("number"),
            )

    return _seen(wanted.chosen(candidates()), limit=limit, now=now)


def final_tasks(
    log: EventLog,
    *,
    states: frozenset[TaskState],
    wanted: TaskFilter,
    limit: int | None,
    now: int,
    until: int,
    count: int,
) -> list[Task]:
    """Tasks that are in the final ones of these states at position ``until``, newest first.

    ``count`` is how many there are. They are read from the end of the log, which stops as soon as
    the limit is reached or all are found. Only a list of many, or a search that looked at many,
    folds the whole log: that costs less then than asking for each task.
    """
    most = count if limit is None else min(limit, count)
    if not most:
        return []
    if most <= LOOKUPS:
        newest = islice(_newest_final(log, states & FINAL, until=until), min(count, LOOKUPS))
        found = _seen(wanted.chosen(newest), limit=most, now=now)
        if len(found) == most or count <= LOOKUPS:
            return found
    everything = _final_tasks(log, states & FINAL, until=until)
    return _seen(wanted.chosen(everything), limit=limit, now=now)


def read_events(log: EventLog, after: int) -> Iterator[Event]:
    """The events behind a position up to the present end."""
    for commit, events in read_all(log, after=after):
        yield from events[max(0, after + 1 - commit.first) :]


def follow_events(log: EventLog, after: int) -> Iterator[Event]:
    """Events without end: reads, then waits for the watch to ring."""
    bell = Bell()
    watch = log.watch(bell.ring)
    try:
        while True:
            for event in read_events(log, after):
                after = event.seq
                yield event
            # Not without limit: nobody rings when the log is closed.
            bell.wait(FOLLOW_S)
    finally:
        watch.close()


def _newest_final(log: EventLog, states: frozenset[TaskState], *, until: int) -> Iterator[Task]:
    """The tasks whose last event has brought them to one of these states, found from the end."""
    seen: set[int] = set()
    for event in _read_back(log, until=until):
        number, kind = event.task, type(event.body)
        if number == NODE or number in seen or kind in SAYING_NOTHING:
            continue
        seen.add(number)
        if ENDS.get(kind) in states:
            task = task_of(log, number)
            # It may have been brought back since.
            if task is not None and task.recorded_state in states:
                yield task


def _read_back(log: EventLog, *, until: int) -> Iterator[Event]:
    for commit in commits_back(log, until=until):
        yield from (event for event in reversed(events_of(commit)) if event.seq <= until)


def _final_tasks(log: EventLog, states: frozenset[TaskState], *, until: int) -> Iterator[Task]:
    found: dict[int, Task] = {}
    projection = Projection(log.namespace)
    projection.suspend_indexes()
    for commit, after in folded(projection, log, until=until):
        for number, task in zip(commit.tasks, after, strict=True):
            if task is not None and task.recorded_state in states:
                found[number] = task
            else:
                found.pop(number, None)
    return reversed(found.values())


def _seen(tasks: Iterator[Task], *, limit: int | None, now: int) -> list[Task]:
    return [task.as_of(now) for task in islice(tasks, limit)]
