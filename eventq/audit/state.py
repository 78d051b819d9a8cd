"""The whole queue as it stood at a point: counts, what would run next, what may not, leases."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from msgspec import Struct

from eventq.core.projection import Projection
from eventq.core.queue_events import Shared
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.replay.blocking import held_back, next_tasks
from eventq.replay.points import Point
from eventq.replay.query import state_counts
from eventq.replay.rules_now import BucketState, PauseState, bucket_states, pause_states
from eventq.schedules.managing import ScheduleState, state_of
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
    """What would be leased next, in dispatch order, by nodes that handle everything."""
    held: dict[str, int]
    """How many ready tasks each limit or pause keeps back."""
    leases: list[Held]
    """In the order in which they were granted."""
    waiting: list[Task]
    """Scheduled tasks, the next to become ready first."""
    expiring: list[Task]
    """Pending tasks with an expiry, the next to expire first."""
    limits: list[BucketState]
    """Buckets that are in use or waited for, and limits without any, by name."""
    pauses: list[PauseState]
    """In the order in which they began."""
    turns: Shared | None
    """Whose turn it is, where turns are taken."""
    schedules: list[ScheduleState]
    """By name."""
    unknown: tuple[int, str] | None
    """The first event of a kind this version does not know; what it changed is not in here."""
    cut: list[str] = []
    """The lists that were cut at ``limit``."""

    @property
    def total(self) -> int:
        """All tasks created until then."""
        return sum(self.counts.values())


def state_at(log: EventLog, point: Point, *, limit: int = LIMIT) -> QueueState:
    """The queue at a point of its log. Raises LogCorruptError as `projection_at` does."""
    return take_state(projection_at(log, point), point.at, limit=limit)


def take_state(
    projection: Projection, now: int, *, limit: int = LIMIT, lanes: frozenset[str] | None = None
) -> QueueState:
    """The queue as a projection has it, as of ``now``; O(open tasks).

    With ``lanes``, tasks of others are counted, and not listed.
    """
    governing, schedules = projection.governing, projection.schedules.by_name
    # One more than wanted shows whether there are more.
    more = limit + 1

    def listed(tasks: Iterable[Task]) -> Iterable[Task]:
        seen = tasks if lanes is None else (task for task in tasks if task.lane in lanes)
        return islice(seen, more)

    lists: dict[str, list[Any]] = {
        "ready": _as_of(next_tasks(projection, now, limit=more, lanes=lanes), now),
        "leases": [_held(projection, task, now) for task in listed(projection.leased())],
        "waiting": _as_of(listed(projection.waiting()), now),
        "expiring": _as_of(listed(projection.past_expiry(NEVER)), now),
        "limits": bucket_states(projection, now)[:more],
        "pauses": pause_states(projection, now)[:more],
        "schedules": [state_of(each) for _, each in sorted(schedules.items())[:more]],
    }
    return QueueState(
        seq=projection.seq,
        at=now,
        seal=projection.seal.hex(),
        counts=_counts(projection, now),
        overdue=sum(1 for _ in projection.past_expiry(now)),
        held=held_back(projection, now),
        turns=governing.turns.shared if governing.turns.is_on else None,
        unknown=projection.unknown,
        cut=[name for name, found in lists.items() if len(found) > limit],
        **{name: found[:limit] for name, found in lists.items()},
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


def _as_of(tasks: Iterable[Task], now: int) -> list[Task]:
    return [task.as_of(now) for task in tasks]
