"""Which events about the queue somebody has asked for, as the catalog keeps them."""

from __future__ import annotations

from eventq.core.commits import AnyBody, Unknown
from eventq.core.queue_events import (
    Bulk,
    Limited,
    Paused,
    Planned,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)

OF_QUEUE = frozenset(
    {Bulk, Paused, Resumed, Limited, Shared, Planned, Unplanned, Ticked, Unfollowed},
)


def was_asked_for(body: AnyBody | Unknown) -> bool:
    """Whether somebody has asked for this, rather than the code that defines it or the clock."""
    if type(body) not in OF_QUEUE:
        return False
    is_of_clock = type(body) is Ticked and body.hand is None
    return getattr(body, "code", None) is None and not is_of_clock
