"""What a log says of one change to many tasks behind a position; by its texts, never by a fold."""

from __future__ import annotations

from eventq.core.command import BulkSince
from eventq.core.commits import KIND_OF, OF_BULKS, decode_at
from eventq.core.events import ByHand
from eventq.core.queue_events import BulkEnded
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_of, stored_kind

BULK_KINDS = frozenset(KIND_OF[body] for body in OF_BULKS)


def is_part(seq: int, text: str, bulk: int) -> bool:
    """Whether a stored event is one of those that a change has made of its tasks."""
    # Most are told by their text alone, which is much quicker; tags may hold it, too.
    if f'"bulk":{bulk}' not in text or stored_kind(text) in BULK_KINDS:
        return False
    [body] = decode_at(seq, [text])
    return isinstance(body, ByHand) and body.bulk == bulk


def bulk_since(
    log: EventLog, bulk: int, *, after: int, until: int, known: BulkSince | None = None
) -> BulkSince:
    """What has become of a change behind a position, up to another. Raises LogArchivedError.

    ``known`` is what it was up to an earlier position, and is read on from, unless a failover has
    put another history there.
    """
    found = known or BulkSince(after, set(), is_over=False)
    changed, is_over, seal = set(found.changed), found.is_over, found.seal
    for commit in commits_of(log, after=found.seq, until=until):
        if seal not in {None, commit.prev}:
            return bulk_since(log, bulk, after=after, until=until)
        seal = commit.seal
        for seq, (number, text) in enumerate(
            zip(commit.tasks, commit.bodies, strict=True), commit.first
        ):
            if is_part(seq, text, bulk):
                changed.add(number)
            elif f'"bulk":{bulk}' in text and stored_kind(text) in BULK_KINDS:
                [body] = decode_at(seq, [text])
                is_over = is_over or (isinstance(body, BulkEnded) and body.bulk == bulk)
    return BulkSince(until, changed, is_over, seal)
