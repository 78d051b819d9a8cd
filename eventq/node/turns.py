"""Whose turn it is to append, where many nodes lease from one log behind a network.

Nothing here reads or writes a log. Nodes tell each other nothing: the log says who leased when.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.core.projection import Projection

# A node that has leased nothing for so long is not waited for, in microseconds.
ACTIVE_US = 2 * SECOND_US
# How many appends a turn may take: to read, decide and append, on a busy machine.
TURN_APPENDS = 4


class Turn(Struct, frozen=True, gc=False):
    """A node's place among the nodes that take turns."""

    before_count: int
    """How many others go first, since they leased longer ago."""
    pause_s: float
    """How long to wait for them at most."""


def turn_of(projection: Projection, name: str, *, now: int, append_s: float) -> Turn | None:
    """The node's turn at ``now``; None where it holds no lease, or no other node leases.

    Who leased longest ago goes first. The wait ends when nobody appends for a while, and a node
    that leases seldom does not wait.
    """
    mine = projection.holders.get(name)
    if mine is None:
        return None
    last_at = projection.decided_at
    others = [
        each
        for each in projection.holders.values()
        if each is not mine and each.seen_at >= last_at - ACTIVE_US
    ]
    if not others:
        return None
    before_count = sum(each.seen_seq < mine.seen_seq for each in others)
    turn_us = TURN_APPENDS * append_s * SECOND_US
    left_us = -now + min(
        last_at + (1 + before_count) * turn_us, mine.seen_at + (1 + len(others)) * turn_us
    )
    # The log may be ahead of a clock that is wrong: then instants say nothing of how long to wait.
    is_over = left_us < 0 or now < last_at
    return Turn(before_count, 0.0 if is_over or not before_count else left_us / SECOND_US)
