"""How far followers have come, and which node does the work of each."""

from __future__ import annotations

from tools.history.facts import Body
from tools.history.world import BrokenError, World


class Followers:
    """What was last said of each follower."""

    def __init__(self, world: World) -> None:
        self.last: dict[str, tuple[int, Body]] = {}
        """By name: until when its node has it, and the event."""
        self._world = world

    def follow(self, seq: int, body: Body) -> None:
        """A follower moves forward only, never beyond the event; one node at a time moves it."""
        name, now = body["follower"], self._world.now
        if body["ttl_us"] < 0 or not body["worker"] or body.get("failures", 0) < 0:
            raise BrokenError("follower", f"{name} is held by no node, or for no time")
        if not 0 <= body["seq"] < seq:
            raise BrokenError("follower", f"{name} has come to {body['seq']}, beyond the event")
        if name in self.last:
            until, before = self.last[name]
            if body["seq"] < before["seq"]:
                raise BrokenError("follower", f"{name} goes back behind {before['seq']}")
            if body["worker"] != before["worker"] and now < until:
                raise BrokenError("follower", f"{name} is taken from {before['worker']}")
        self.last[name] = now + body["ttl_us"], body

    def forget(self, body: Body) -> None:
        """A follower is dropped."""
        if self.last.pop(body["follower"], None) is None:
            raise BrokenError("follower", f"there is no follower {body['follower']} to drop")
