"""What a snapshot holds, how it is taken of a projection, and how one is built of it again."""

from __future__ import annotations

from msgspec import Struct

from eventq.core.flows import FlowState
from eventq.core.holders import Holder
from eventq.core.limits import Limit
from eventq.core.members import Follower, Member, Members
from eventq.core.pauses import Pause
from eventq.core.projection import Projection
from eventq.core.queue_events import Shared
from eventq.core.schedules import Schedule, Schedules
from eventq.core.task import Task
from eventq.core.turns import TurnState
from eventq.core.values import Bucket, Scope
from eventq.core.waits import Wait


class Snapshot(Struct, frozen=True):
    """All that a projection holds at the end of a commit, but for what is derived from that.

    It does not depend on the time somebody asked about: a projection built of it has the time
    that the commit was decided by.
    """

    namespace: str
    seq: int
    at: int
    decided_at: int
    seal: bytes
    counts: dict[str, int]
    reopened: dict[str, int]
    tasks: dict[int, Task]
    holders: dict[str, Holder]
    members: dict[str, Member]
    followers: dict[str, Follower]
    schedules: dict[str, Schedule]
    strangers: dict[int, tuple[int, str]]
    strange_ends: dict[str, int]
    waits: dict[int, Wait]
    """By waiting task."""
    unneeded: list[int]
    reviving: list[int]
    flows: dict[int, FlowState]
    unknown: tuple[int, str] | None
    limits: dict[str, Limit]
    instants: dict[Bucket, list[int]]
    """Of leases that rates look at."""
    pauses: dict[Scope, Pause]
    shared: Shared | None
    turns: dict[int, TurnState]


def take(projection: Projection) -> Snapshot:
    """What the projection holds now. Cheap: tasks never change, so only references are copied."""
    return Snapshot(
        namespace=projection.namespace,
        seq=projection.seq,
        at=projection.at,
        decided_at=projection.decided_at,
        seal=projection.seal,
        counts=dict(projection.counts),
        reopened=dict(projection.reopened),
        tasks=dict(projection.tasks),
        holders=_copies(projection.holders),
        members=dict(projection.members.by_name),
        followers=dict(projection.followers),
        schedules=dict(projection.schedules.by_name),
        strangers=dict(projection.strangers),
        strange_ends=dict(projection.strange_ends),
        waits=projection.waits.copies(),
        unneeded=sorted(projection.waits.unneeded),
        reviving=list(projection.waits.reviving),
        flows=projection.flows.copies(),
        unknown=projection.unknown,
        limits=dict(projection.governing.limits.by_name),
        instants=projection.governing.limits.instants(projection.decided_at),
        pauses=dict(projection.governing.pauses.by_scope),
        shared=projection.governing.turns.shared,
        turns=projection.governing.turns.by_priority(),
    )


def restore(snapshot: Snapshot) -> Projection:
    """The projection the snapshot was taken of, with all its indexes; O(n log n)."""
    projection = Projection(snapshot.namespace)
    projection.seq, projection.at, projection.seal = snapshot.seq, snapshot.at, snapshot.seal
    projection.counts = dict(snapshot.counts)
    projection.reopened = dict(snapshot.reopened)
    projection.tasks.update(snapshot.tasks)
    projection.holders.update(_copies(snapshot.holders))
    projection.members = Members(snapshot.members)
    projection.followers = dict(snapshot.followers)
    projection.schedules = Schedules(snapshot.schedules)
    projection.strangers = dict(snapshot.strangers)
    projection.strange_ends = dict(snapshot.strange_ends)
    projection.waits.restore(
        snapshot.tasks, snapshot.waits, unneeded=snapshot.unneeded, reviving=snapshot.reviving
    )
    projection.flows.restore(snapshot.flows)
    projection.unknown = snapshot.unknown
    projection.decided_at = snapshot.decided_at
    projection.governing.restore(
        limits=snapshot.limits,
        instants=snapshot.instants,
        pauses=snapshot.pauses,
        shared=snapshot.shared,
        turns=snapshot.turns,
    )
    projection.advance_to(snapshot.decided_at)
    projection.rebuild()
    return projection


def _copies(holders: dict[str, Holder]) -> dict[str, Holder]:
    return {
        worker: Holder(holder.ttl_us, holder.seen_seq, holder.seen_at, set(holder.tasks))
        for worker, holder in holders.items()
    }
