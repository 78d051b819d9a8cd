"""Followers: how far each has come through the log, who does its work, and how that changes.

One node at a time does it, by a lease that stands in the follower's own events.
"""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.asking import NOBODY, Asking
from eventq.core.command import Decision, PastTasks
from eventq.core.newer import check_understood
from eventq.core.projection import Projection
from eventq.core.queue_events import Followed, Unfollowed
from eventq.core.values import NODE, ErrorInfo
from eventq.errors import ArgumentError


class Claim(Struct, frozen=True, gc=False):
    """What became of a claim: how far the follower has come, and how long another still holds it.

    ``left_us`` 0: the claim holds, unless the follower was dropped after it had begun.
    """

    position: int
    left_us: int
    is_dropped: bool = False


class ClaimFollower(Struct, frozen=True):
    """A node takes a follower's work on, unless another one's lease has time left.

    A follower that the log does not know begins behind position ``since``, or where the log ends;
    if it had begun before, it was dropped since, and nothing is appended.
    """

    wanted: Followed
    """Who claims it, for how long, and what it follows; its position is not looked at."""
    since: int | None = None
    has_begun: bool = False
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, now: int) -> Decision[Claim]:
        """See Command.decide."""
        check_understood(projection.unknown)
        wanted, known = self.wanted, projection.followers.get(self.wanted.follower)
        if known is None and self.has_begun:
            return Decision([], Claim(0, 0, is_dropped=True))
        if known is None:
            since = projection.seq if self.since is None else min(self.since, projection.seq)
            return Decision([(NODE, replace(wanted, seq=since))], Claim(since, 0))
        left_us = 0 if known.said.worker == wanted.worker else known.left_us(now)
        if left_us:
            return Decision([], Claim(known.said.seq, left_us))
        said = known.said
        body = replace(wanted, seq=said.seq, error=said.error, failures=said.failures)
        return Decision([(NODE, body)], Claim(said.seq, 0))


class AdvanceFollower(Struct, frozen=True):
    """A node says how far a follower has come that it does the work of.

    The result is False, and nothing is appended, where another node has it now, or it was dropped.
    """

    follower: str
    worker: str
    ttl_us: int
    """0 gives it back."""
    seq: int
    error: ErrorInfo | None = None
    failures: int = 0
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[bool]:
        """See Command.decide."""
        known = projection.followers.get(self.follower)
        if known is None or known.said.worker != self.worker:
            return Decision([], result=False)
        body = replace(
            known.said,
            decided_at=None,
            ttl_us=self.ttl_us,
            seq=max(self.seq, known.said.seq),
            error=self.error,
            failures=self.failures,
        )
        return Decision([(NODE, body)], result=True)


class DropFollower(Struct, frozen=True):
    """Forgets a follower. Raises ArgumentError where there is none of this name."""

    follower: str
    asking: Asking = NOBODY
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[None]:
        """See Command.decide."""
        if self.follower not in projection.followers:
            raise ArgumentError("follower", self.follower, "the name of a follower of this log")
        return Decision([(NODE, Unfollowed(self.follower, **self.asking.marks))], None)
