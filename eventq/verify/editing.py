"""What an edit makes of a task that waits to run; who may edit it, and why, is judged elsewhere."""

from __future__ import annotations

import sys

from msgspec import UNSET

from eventq.core.events import Updated
from eventq.verify.nodes import check_route
from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError


def take_edit(task: Seen, at: int, body: Updated) -> None:
    """Gives a task what an edit says. Raises BrokenError."""
    said = body.priority, body.tags, body.scheduled_at, body.lane
    if said == (None, UNSET, None, None) and not body.waives:
        raise BrokenError("move", "updated nothing")
    if body.secret != (() if body.tags is UNSET else task.secret):
        raise BrokenError("secret", "calls other tags secret than its task does")
    if body.priority is not None:
        task.priority = body.priority
    if body.tags is not UNSET:
        task.tags = bytes(body.tags)
    if body.lane is not None:
        check_route(None, body.lane, ())
        task.lane = sys.intern(body.lane)
    if body.scheduled_at is not None:
        is_useless = task.expires_at is not None and task.expires_at <= body.scheduled_at
        if is_useless and body.scheduled_at > at:
            raise BrokenError("expiry", "moved past its expiry")
        task.scheduled_at = body.scheduled_at
