"""Making snapshots of a log's past: at a point, or all along; also forgetting them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from eventq.core.projection import Projection
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog, SnapshotEntry
from eventq.replay.fold import catch_up
from eventq.replay.points import Point, find_end
from eventq.snapshot.content import take
from eventq.snapshot.keeping import put
from eventq.snapshot.starting import projection_at


def create(log: EventLog, point: Point, *, now: int) -> SnapshotEntry:
    """Puts a snapshot into the log's database, of the last commit that ends at or before a point.

    Raises ArgumentError where none does, LogError where it cannot be read or written.
    """
    seq = find_end(log, point).seq
    if not seq:
        raise ArgumentError("point", point.seq, "a position at or behind the end of a commit")
    # As of the position, whatever the instant: a snapshot does not know what time it is.
    projection = projection_at(log, Point(seq, 0))
    return put(log, take(projection), now=now)


def create_every(
    log: EventLog,
    events: int,
    *,
    now: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[SnapshotEntry]:
    """Puts one snapshot for every so many events into the log's database, all by one replay.

    Each is made when it is asked for. ``progress`` is called with the position reached and where
    the log ends. Raises ArgumentError, LogCorruptError, LogError.
    """
    if events < 1:
        raise ArgumentError("every", events, "one event or more")
    return _create_every(log, events, now, progress)


def prune(
    log: EventLog, *, keep: int | None = None, before: int | None = None
) -> list[SnapshotEntry]:
    """Deletes all snapshots but the newest ``keep``, or those below a position; returns them.

    With both, those that either would delete. The log loses nothing by it: the one that stands
    for what was archived is never deleted.
    """
    start = log.start().seq
    entries = [entry for entry in log.snapshots.entries() if not start or entry.seq != start]
    spared = len(entries) if keep is None else keep
    gone = [
        entry
        for place, entry in enumerate(reversed(entries))
        if place >= spared or (before is not None and entry.seq < before)
    ]
    return [entry for entry in reversed(gone) if log.snapshots.delete(entry.seq)]


def _create_every(
    log: EventLog, events: int, now: int, progress: Callable[[int, int], None] | None
) -> Iterator[SnapshotEntry]:
    end = log.head().seq
    projection = Projection(log.namespace)
    for wanted in range(events, end + 1, events):
        seq = find_end(log, Point(wanted, 0)).seq
        # A commit may be longer than the distance.
        if seq > projection.seq:
            catch_up(projection, log, until=seq)
            yield put(log, take(projection), now=now)
        if progress is not None:
            progress(projection.seq, end)
