"""The projection at a point of its log; nothing here appends an event."""

from __future__ import annotations

from eventq.eventlog.base import EventLog
from eventq.fold import replay
from eventq.points import Point
from eventq.projection import Projection


def projection_at(log: EventLog, point: Point) -> Projection:
    """The projection of everything up to the point's position, ripened to its instant.

    Raises LogCorruptError where a seal, an order or a move is wrong.
    """
    projection = replay(log, until=point.seq)
    projection.ripen(point.at)
    return projection
