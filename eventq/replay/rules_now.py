"""Limits with their buckets, and pauses, as they stand: what bounds, who holds, who waits.

What keeps a single task back is told by `blocking`.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from msgspec import Struct

from eventq.core.projection import Projection
from eventq.core.queue_events import Limited
from eventq.core.task import Route, TaskState, instant
from eventq.core.values import Bucket, Scope

SCHEDULED = TaskState.SCHEDULED


class BucketState(Struct, frozen=True):
    """One bucket at an instant."""

    limit: str
    value: str | None
    is_defined: bool
    """False for a limit that is not defined: it holds its tasks back."""
    bound: int | None
    """How many may run at a time; None: any number."""
    running: int
    rate: int | None
    """How many leases may begin in any ``per_us`` microseconds; None: any number."""
    per_us: int | None
    used: int
    """How many leases that window holds."""
    holders: list[str]
    """The keys of the tasks that run in it, in the order of their leases."""
    waiting: int
    """Pending tasks that are to take a place in it."""
    free_at: datetime | None
    """When the rate gives room by itself; None where it has, or where that is not what lacks."""


class PauseState(Struct, frozen=True):
    """One pause that goes on."""

    scope: Scope
    reason: str
    by: str | None
    since: datetime
    until: datetime | None
    waiting: int
    """Ready tasks that it keeps back."""


def count_routes(routes: list[Route]) -> list[tuple[Route, int]]:
    """How often each route comes; equal ones may be told as several."""
    # Most tasks of equal routes share one object, which is quicker told apart than what it holds.
    by_id = dict(zip(map(id, routes), routes, strict=True))
    return [(by_id[known], count) for known, count in Counter(map(id, routes)).items()]


def bucket_states(projection: Projection, now: int) -> list[BucketState]:
    """All buckets that are in use or waited for, and each limit without any; O(open tasks)."""
    if not projection.governing.is_on:
        return []
    limits = projection.governing.limits
    waiting: Counter[Bucket] = Counter()
    holders: dict[Bucket, list[str]] = {}
    pending = [t.route for t in projection.tasks.values() if t.recorded_state is SCHEDULED]
    for route, count in count_routes(pending):
        for bucket in route.buckets:
            waiting[bucket] += count
    for task in projection.leased():
        for bucket in task.route.buckets:
            holders.setdefault(bucket, []).append(task.key)
    buckets = {*waiting, *holders, *limits.uses}
    idle = limits.by_name.keys() - {bucket.limit for bucket in buckets}
    buckets |= {Bucket(name) for name in idle}
    found = []
    for bucket in sorted(buckets, key=lambda each: (each.limit, each.value or "")):
        known = limits.said(bucket.limit)
        said = known or Limited(limit=bucket.limit)
        free_at = None if limits.has_room(bucket, now) else limits.frees_at(bucket, now)
        found.append(
            BucketState(
                bucket.limit,
                bucket.value,
                known is not None,
                said.running,
                limits.running(bucket),
                said.rate,
                said.per_us,
                limits.taken(bucket, now),
                holders.get(bucket, []),
                waiting[bucket],
                None if free_at is None else instant(free_at),
            )
        )
    return found


def pause_states(projection: Projection, now: int) -> list[PauseState]:
    """The pauses that go on, in the order in which they began; O(ready tasks) where there are."""
    pauses = projection.governing.pauses
    going = [pause for pause in pauses.by_scope.values() if pause.is_on(now)]
    if not going:
        return []
    kept: Counter[Scope] = Counter()
    for task in projection.ready(now):
        scope = pauses.of_task(task, now)
        if scope is not None:
            kept[scope] += 1
    return [
        PauseState(
            pause.said.scope,
            pause.said.reason,
            pause.said.by,
            instant(pause.at),
            None if pause.said.until is None else instant(pause.said.until),
            kept[pause.said.scope],
        )
        for pause in sorted(going, key=lambda pause: pause.seq)
    ]
