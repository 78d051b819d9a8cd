"""Replays of one log by different ways, which must all come to the same projection."""

from __future__ import annotations

from eventq.core.projection import Projection
from eventq.eventlog import EventLog


def bulk_replay(log: EventLog, *, limit: int) -> Projection:
    """A replay in small batches that sorts its indexes once, at the end."""
    projection = Projection(log.namespace)
    projection.suspend_indexes()
    while commits := log.read(after=projection.seq, limit=limit):
        for commit in commits:
            projection.apply(commit)
    projection.check()
    projection.rebuild_indexes()
    return projection


def assert_same(ours: Projection, other: Projection, *, now: int) -> None:
    """Asserts that two projections cannot be told from each other."""
    for projection in (ours, other):
        projection.advance_to(now)
        projection.check()
    assert (other.seq, other.at, other.seal) == (ours.seq, ours.at, ours.seal)
    assert other.unknown == ours.unknown
    assert other.tasks == ours.tasks
    assert other.counts == ours.counts
    assert other.reopened == ours.reopened
    assert other.holders == ours.holders
    assert other.members.by_name == ours.members.by_name
    assert other.followers == ours.followers
    assert other.schedules.by_name == ours.schedules.by_name
    assert other.waits.by_task == ours.waits.by_task
    assert other.waits.counts == ours.waits.counts
    assert other.waits.by_predecessor == ours.waits.by_predecessor
    assert other.waits.doomed == ours.waits.doomed
    assert other.waits.unneeded == ours.waits.unneeded
    assert other.waits.expiring == ours.waits.expiring
    assert other.waits.reviving == ours.waits.reviving
    assert other.flows.by_number == ours.flows.by_number
    assert other.strangers == ours.strangers
    assert other.strange_ends == ours.strange_ends
    assert other.unknown_count == ours.unknown_count
    assert rules_of(other) == rules_of(ours)
    assert list(other.ready(now)) == list(ours.ready(now))
    if not ours.governing.is_on:
        # What a rate holds back is known where it was met.
        assert other.next_instant() == ours.next_instant()


def rules_of(projection: Projection) -> object:
    """What a projection knows of who may run when."""
    governing = projection.governing
    return (
        governing.limits.by_name,
        governing.limits.instants(projection.decided_at),
        {bucket: use.running for bucket, use in governing.limits.uses.items() if use.running},
        governing.pauses.by_scope,
        governing.turns.shared,
        governing.turns.by_priority(),
    )
