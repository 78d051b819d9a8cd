"""How far followers have come, and who does their work; nothing of core's is asked."""

from __future__ import annotations

from eventq.core.queue_events import Followed, Unfollowed
from eventq.errors import shown
from eventq.verify.nodes import check_route
from eventq.verify.terms import BrokenError


class Followers:
    """What the log has last said of each follower, and when."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Followed, int]] = {}
        self.is_partial = False
        """The log began before what is looked at, so that one may have begun unseen."""

    def add(self, body: Followed, at: int) -> None:
        """Takes over what was said before what is looked at."""
        self._last[body.follower] = body, at

    def take(self, seq: int, at: int, body: Followed) -> None:
        """It moves forward only, never beyond the event, and one node at a time moves it.

        Raises BrokenError.
        """
        name = shown(body.follower)
        check_route(body.follower, None, ())
        if body.ttl_us < 0 or not body.worker or body.failures < 0:
            raise BrokenError("follower", f"follower {name} is held by no node, or for no time")
        if not 0 <= body.seq < seq:
            raise BrokenError("follower", f"follower {name} is beyond the event, at {body.seq}")
        before, said_at = self._last.get(body.follower, (None, 0))
        if before is not None:
            if body.seq < before.seq:
                raise BrokenError("follower", f"follower {name} goes back behind {before.seq}")
            if body.worker != before.worker and at < said_at + before.ttl_us:
                problem = f"follower {name} is held by {shown(before.worker)}"
                raise BrokenError("follower", problem)
        self._last[body.follower] = body, at

    def drop(self, body: Unfollowed) -> None:
        """The follower is forgotten. Raises BrokenError where there was none."""
        if self._last.pop(body.follower, None) is None and not self.is_partial:
            raise BrokenError("follower", f"no follower {shown(body.follower)} to forget")
