"""What a cursor shows of its place: what the last event did, and the projection there.

All of it are frozen values, safe to keep and to hand to another thread; nothing here reads a log.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from itertools import islice

from msgspec import Struct
from msgspec.structs import fields

from eventq.core.commits import Event
from eventq.core.projection import Projection
from eventq.core.task import PARTS, Task
from eventq.replay.blocking import next_tasks
from eventq.replay.query import Stats, take_stats

# The numbers of Stats, but for the position, which every event changes.
COUNTS = tuple(each.name for each in fields(Stats) if each.type is int and each.name != "seq")

# Of a task's fields, those that say nothing about it.
_PLAIN = {"number", "namespace", "seen_at_us", "recorded_state"}
_NAMES = [
    *(name for name in Task.__struct_fields__ if name not in _PLAIN | PARTS.keys()),
    *(name for names in PARTS.values() for name in names),
]


class Change(Struct, frozen=True):
    """One field and its value before and after an event."""

    name: str
    before: object
    after: object


class CursorStep(Struct, frozen=True):
    """What the event at the cursor did; all is None at position 0."""

    event: Event | None = None
    before: Task | None = None
    """Its task before it; None for `created` and for an event about a node."""
    task: Task | None = None
    """Its task after it, final or not."""
    stats_before: Stats | None = None
    """The queue's numbers at the position before, as of then."""
    stats: Stats | None = None
    """The queue's numbers right after it."""

    @property
    def task_changes(self) -> list[Change]:
        """The fields of the task that the event changed; every field for a new task.

        The state before is the one at the event's instant: what had become ready was ready.
        """
        if self.task is None or self.event is None:
            return []
        before = self.before and self.before.as_of(self.event.decided_at)
        old, new = _fields(before), _fields(self.task)
        return [
            Change(name, old.get(name), value)
            for name, value in new.items()
            if self.before is None or old[name] != value
        ]

    @property
    def count_changes(self) -> list[Change]:
        """The numbers of the queue that are others than at the position before."""
        if self.stats is None or self.stats_before is None:
            return []
        pairs = [
            Change(name, getattr(self.stats_before, name), getattr(self.stats, name))
            for name in COUNTS
        ]
        return [change for change in pairs if change.before != change.after]


class LeaseHolder(Struct, frozen=True):
    """A node that holds leases: how many, and when it last gave a sign of life."""

    worker: str
    lease_count: int
    seen_at: int
    ttl_us: int


class CursorView(Struct, frozen=True):
    """The projection at the cursor, as far as a screen has room; it never changes."""

    seq: int
    at: int
    """The instant as of which it is told."""
    stats: Stats
    step: CursorStep
    ready: list[Task]
    """Those that run next, in dispatch order."""
    leased: list[Task]
    """The oldest leases."""
    waiting: list[Task]
    """Those whose instant comes next."""
    nodes: list[LeaseHolder]
    """Those with the most leases first."""


def view_of(projection: Projection, step: CursorStep, *, limit: int) -> CursorView:
    """What a projection holds, with at most ``limit`` tasks of each sort; O(n log n) in leases."""
    at = projection.advanced_to
    nodes = (
        LeaseHolder(worker, len(holder.tasks), holder.seen_at, holder.ttl_us)
        for worker, holder in projection.holders.items()
    )
    return CursorView(
        seq=projection.seq,
        at=at,
        stats=take_stats(projection, now=at),
        step=step,
        ready=_as_of(next_tasks(projection, at, limit=limit), at),
        leased=_as_of(islice(projection.leased(), limit), at),
        waiting=_as_of(islice(projection.waiting(), limit), at),
        nodes=heapq.nsmallest(limit, nodes, key=lambda node: (-node.lease_count, node.worker)),
    )


def _as_of(tasks: Iterable[Task], at: int) -> list[Task]:
    return [task.as_of(at) for task in tasks]


def _fields(task: Task | None) -> dict[str, object]:
    """A task's fields as a person compares them: the state is the one at its last event."""
    if task is None:
        return {}
    return {"state": task.state, **{name: getattr(task, name) for name in _NAMES}}
