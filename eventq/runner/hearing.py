"""What attempts that go on have told, until a commit takes it along.

Commits that are made anyway take what is due; only for what no commit came in time is one made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from eventq.core.commits import AnyTold
from eventq.handlers.telling import EVERY_S, Telling, told_bytes

# Of one commit, beside outcomes and leases.
MOST_EVENTS = 300
MOST_BYTES = 256 * 1024


class Heard(Struct, frozen=True):
    """What one commit takes along of one attempt."""

    telling: Telling
    bodies: list[AnyTold]


class Hearing:
    """The attempts of a run that have something to tell. Any thread adds; the run's own takes."""

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring
        self._new: deque[Telling] = deque()
        # A dict for its order: one may be heard of twice.
        self._waiting: dict[Telling, None] = {}
        self._next: Hearing | None = None

    def hear(self, telling: Telling) -> None:
        """Takes an attempt in that has something to tell; from any thread."""
        self._new.append(telling)
        self._ring()
        # Looked at after it is in place: whoever takes over sets this first, then takes what is.
        if self._next is not None:
            self._next.hear(telling)

    def take_over(self, before: Hearing) -> None:
        """Hears from here on what the attempts of an earlier run have to tell."""
        before._next = self
        self._waiting |= dict.fromkeys([*before._waiting, *before._new])

    def due_s(self) -> float | None:
        """When a commit is made for what waits, if none comes before; None for never."""
        self._take_in()
        return min((each.due_s for each in self._waiting), default=None)

    def take(self, now_s: float, *, most_events: int, most_bytes: int) -> list[Heard]:
        """What is due, within these bounds; `settle` says that the log has it."""
        self._take_in()
        found: list[Heard] = []
        left_events, left_bytes = min(most_events, MOST_EVENTS), min(most_bytes, MOST_BYTES)
        for telling in self._waiting:
            if telling.from_s > now_s:
                continue
            with telling.lock:
                bodies = telling.bodies()
            size_bytes = told_bytes(bodies)
            if len(bodies) <= left_events and size_bytes <= left_bytes:
                found.append(Heard(telling, bodies))
                left_events -= len(bodies)
                left_bytes -= size_bytes
        return found

    def settle(self, heard: list[Heard], now_s: float) -> None:
        """A commit has taken these along, or found that their leases are over."""
        for each in heard:
            telling = each.telling
            with telling.lock:
                telling.from_s = telling.due_s = now_s + EVERY_S
                telling.is_waiting = not telling.forget(each.bodies)
        if heard:
            self._waiting = {each: None for each in self._waiting if each.is_waiting}

    def _take_in(self) -> None:
        """Takes in who is new, and leaves out whose attempt has ended: that is told at its end."""
        while self._new:
            self._waiting[self._new.popleft()] = None
        if self._waiting:
            self._waiting = {each: None for each in self._waiting if not each.is_over}
