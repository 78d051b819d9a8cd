"""The whole queue as it stood at a point: counts, what would run next, leases, the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from msgspec import Struct

from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point
from eventq.replay.query import state_counts
from eventq.snapshot import projection_at

# No task expires later than this: far behind the largest instant that can be written.
NEVER = 2**63

LIMIT = 10


class Held(Struct, frozen=True):
    """A task that a node holds, and the node's last sign of life until then."""

    task: Task
    worker: str
    leased_at: int
    ttl_us: int
    seen_seq: int
    seen_at: int

    @property
    def lapses_at(self) -> int:
        """When the lease may lapse unless the node gives another sign of life."""
        return self.seen_at + self.ttl_us


class QueueState(Struct, frozen=True):
    """A queue at a point; the lists hold the first ``limit`` of each. Instants in microseconds."""

    seq: int
    at: int
    seal: str
    """The seal of the commit that holds the position, in hexadecimal."""
    counts: dict[str, int]
    """Tasks by state; ``failed`` only in the middle of a commit, ``unknown`` only if there are."""
    overdue: int
    """Ready tasks past their expiry: counted as ready, and never leased."""
    ready: list[Task]
    """What would be leased next, in dispatch order."""
    leases: list[Held]
    """In the order in which they were granted."""
    waiting: list[Task]
    """Scheduled tasks, the next to become ready first."""
    expiring: list[Task]
    """Pending tasks with an expiry, the next to expire first."""
    unknown: tuple[int, str] | None
    """The first event of a kind this version does not know; what it changed is not in here."""

    @property
    def total(self) -> int:
        """All tasks created until then."""
        return sum(self.counts.values())


def state_at(log: EventLog, point: Point, *, limit: int = LIMIT) -> QueueState:
    """The queue at a point of its log. Raises LogCorruptError as `projection_at` does."""
    return take_state(projection_at(log, point), point.at, limit=limit)


def take_state(projection: Projection, now: int, *, limit: int = LIMIT) -> QueueState:
    """The queue as a projection has it, as of ``now``; O(open tasks)."""
    overdue = {task.number for task in projection.past_expiry(now)}
    eligible = (task for task in projection.ready(now) if task.number not in overdue)
    return QueueState(
        seq=projection.seq,
        at=now,
        seal=projection.seal.hex(),
        counts=_counts(projection, now),
        overdue=len(overdue),
        ready=_first(eligible, limit, now),
        leases=[_held(projection, task, now) for task in islice(projection.leased(), limit)],
        waiting=_first(projection.waiting(), limit, now),
        expiring=_first(projection.past_expiry(NEVER), limit, now),
        unknown=projection.unknown,
    )


def _counts(projection: Projection, now: int) -> dict[str, int]:
    counts = state_counts(projection, now=now)
    if not counts["unknown"]:
        del counts["unknown"]
    # A point in the middle of a commit may lie between a failure and what follows it.
    failed = projection.counts["created"] - sum(counts.values())
    return {**counts, "failed": failed} if failed else counts


def _held(projection: Projection, task: Task, now: int) -> Held:
    assert task.worker is not None, "a leased task has a node"
    holder = projection.holders[task.worker]
    return Held(
        task=task.as_of(now),
        worker=task.worker,
        # Nothing but its end changes a task that is leased.
        leased_at=task.seen_at_us,
        ttl_us=holder.ttl_us,
        seen_seq=holder.seen_seq,
        seen_at=holder.seen_at,
    )


def _first(tasks: Iterator[Task], limit: int, now: int) -> list[Task]:
    return [task.as_of(now) for task in islice(tasks, limit)]
