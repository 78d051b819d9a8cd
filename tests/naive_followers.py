"""Followers as a plain dictionary, for comparison; see `naive`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Story = list[tuple[int, str]]


@dataclass
class Reader:
    """A follower: who has it, how far it has come, and when that was said for how long."""

    worker: str
    position: int
    said: tuple[int, int, int]


class NaiveFollowers:
    """All followers by name. ``tell`` records a kind of event about none of the tasks."""

    def __init__(self, tell: Callable[[str], Story]) -> None:
        self.readers: dict[str, Reader] = {}
        self._tell = tell

    def claim(
        self, name: str, worker: str, since: int | None, *, ttl: int, now: int, end: int
    ) -> Story:
        """A node takes the work, unless another has it; a new follower begins at the end."""
        known = self.readers.get(name)
        if known is None:
            position = end if since is None or since > end else since
        else:
            _, at, left = known.said
            if known.worker != worker and now < at + left:
                return []
            position = known.position
        self.readers[name] = Reader(worker, position, (end + 1, now, ttl))
        return self._tell("followed")

    def say(self, name: str, worker: str, position: int, *, ttl: int, now: int, end: int) -> Story:
        """A node says how far a follower has come; it must have it still."""
        known = self.readers.get(name)
        if known is None or known.worker != worker:
            return []
        known.position = max(known.position, position)
        known.said = (end + 1, now, ttl)
        return self._tell("followed")

    def drop(self, name: str) -> Story:
        """A follower is forgotten. Raises KeyError where there is none."""
        del self.readers[name]
        return self._tell("unfollowed")
