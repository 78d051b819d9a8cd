"""Asking why, as the queue's own commands do."""

from __future__ import annotations

from eventq import Queue
from eventq.audit import Why, why
from eventq.replay.points import PointLike, find_point


def asked(queue: Queue, key: str, at: PointLike = "end") -> Why:
    """The answer at a point."""
    return why(queue.log, key, find_point(queue.log, at, now=queue._node.now()))
