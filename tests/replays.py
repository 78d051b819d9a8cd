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
    assert other.strangers == ours.strangers
    assert other.strange_ends == ours.strange_ends
    assert other.unknown_count == ours.unknown_count
    assert list(other.ready(now)) == list(ours.ready(now))
    assert other.next_instant() == ours.next_instant()
