"""The nodes that have joined, what each can run, and when it last said so; followers likewise.

Nothing here knows leases; who holds one is in `holders`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from eventq.core.audience import PLAIN_AUDIENCE, Audience, audience_of
from eventq.core.queue_events import Followed, Joined, Left

# A node that has not joined again for so long, in the log's time, is taken for dead: it joins each
# minute while it runs.
SILENT_US = 5 * 60 * 1_000_000


class Member(Struct, frozen=True, gc=False):
    """What a node last said it can run, with the position and instant at which it did."""

    joined: Joined
    seq: int
    at: int


class Follower(Struct, frozen=True, gc=False):
    """What was last said of a follower, with the position and instant at which it was."""

    said: Followed
    seq: int
    at: int

    def left_us(self, now: int) -> int:
        """For how long its node still holds it; 0 where anybody may take it."""
        return max(0, self.at + self.said.ttl_us - now)


class Members:
    """The nodes that have joined, by name, without those that have left.

    A silent one is forgotten when the next node joins, so that dead ones do not add up.
    """

    def __init__(self, by_name: Mapping[str, Member] | None = None) -> None:
        self.by_name = dict(by_name or {})

    def apply(self, seq: int, at: int, body: Joined | Left) -> None:
        """Folds one event."""
        if isinstance(body, Left):
            self.by_name.pop(body.worker, None)
            return
        self.by_name[body.worker] = Member(body, seq, at)
        if len(self.by_name) > len(alive := self.alive(at)):
            self.by_name = alive

    def alive(self, now: int) -> dict[str, Member]:
        """The nodes that have joined lately."""
        return {name: m for name, m in self.by_name.items() if now - m.at <= SILENT_US}

    def audience(self, worker: str) -> Audience:
        """What a node can run; one that has not joined takes what has no name, in any lane."""
        member = self.by_name.get(worker)
        return PLAIN_AUDIENCE if member is None else audience_of(member.joined)
