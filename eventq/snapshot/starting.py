"""The projection at a point of its log, from the newest snapshot before it; nothing is appended."""

from __future__ import annotations

from eventq.core.projection import Projection
from eventq.errors import LogArchivedError, LogCorruptError, LogError
from eventq.eventlog.contract import EventLog
from eventq.host.logger import SafeLogger
from eventq.replay.fold import catch_up, replay
from eventq.replay.points import Point
from eventq.snapshot.content import restore
from eventq.snapshot.keeping import newest

# From so many events on, a snapshot on the way is a short cut.
FAR_EVENTS = 100_000

logger = SafeLogger("eventq.snapshot")


def projection_at(log: EventLog, point: Point) -> Projection:
    """The projection of everything up to the point's position, advanced to its instant.

    Raises LogCorruptError where a seal, an order or a move is wrong behind the snapshot it starts
    from; before that, see `verify`.
    """
    try:
        projection = _folded(log, point.seq)
    except LogArchivedError:
        # A cut may have come right behind the look for a snapshot; then there is another one now.
        projection = _folded(log, point.seq)
    projection.advance_to(point.at)
    return projection


def restore_newest(log: EventLog, *, until: int | None = None) -> Projection | None:
    """A projection of the newest snapshot that can be used, up to a position; None without one."""
    snapshot = newest(log, until=until)
    return None if snapshot is None else restore(snapshot)


def projection_at_start(log: EventLog, *, until: int) -> Projection:
    """A projection of what stands before the first event that the log holds.

    That is nothing, or the snapshot that is kept of what was archived, if that is not behind
    ``until``.
    """
    return restore_newest(log, until=min(until, log.start().seq)) or Projection(log.namespace)


def is_quicker_from_snapshot(log: EventLog, *, after: int, until: int) -> bool:
    """Whether a snapshot in between saves much to who would fold on from a position to another."""
    if until - after <= FAR_EVENTS:
        return False
    try:
        return any(after + FAR_EVENTS < entry.seq <= until for entry in log.snapshots.entries())
    except LogError:
        return False


def _folded(log: EventLog, until: int) -> Projection:
    projection = restore_newest(log, until=until)
    if projection is None:
        return replay(log, until=until)
    try:
        catch_up(projection, log, until=until)
    except LogCorruptError as error:
        # It may be the snapshot that is wrong. If it is the log, this fails again, rightly.
        logger.warning("folding the log anew", extra={"error": str(error)})
        projection = projection_at_start(log, until=until)
        catch_up(projection, log, until=until)
    return projection
