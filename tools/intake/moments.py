"""Moments of a log at which a task was ready and did not run, and what held it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from eventq.core.commits import Event
from eventq.core.events import Cancelled, Completed, Created, Failed, Leased, Released
from eventq.core.queue_events import Paused, Resumed

# What frees a place.
ENDS = (Cancelled, Completed, Failed, Released)


class Moment(Struct, frozen=True):
    """What held a task back, and the position at which it did."""

    held_by: str
    """limit, pause or turn."""
    task: int
    seq: int


def moments(events: Iterable[Event], name: str, running: int) -> Iterator[Moment]:
    """Moments of each sort, for tasks of a name that stand in one limit, as they come."""
    seen = _Seen(name)
    for event in events:
        lower = seen.lower_of_others(event)
        if lower is not None:
            yield Moment("turn", lower, event.seq - 1)
        seen.take(event)
        if seen.ready and seen.is_paused:
            yield Moment("pause", min(seen.ready), event.seq)
        elif seen.ready and len(seen.leased) == running:
            yield Moment("limit", max(seen.ready), event.seq)


class _Seen:
    """Where the tasks of a name stand, by plain counting."""

    def __init__(self, name: str) -> None:
        self.ready: set[int] = set()
        self.leased: set[int] = set()
        self.is_paused = False
        self._name = name
        self._tenants: dict[int, object] = {}

    def lower_of_others(self, event: Event) -> int | None:
        """The first ready task of another tenant, if the event leases one that was made later."""
        if not isinstance(event.body, Leased) or event.task not in self._tenants:
            return None
        mine = self._tenants[event.task]
        others = (n for n in self.ready if n < event.task and self._tenants[n] != mine)
        return min(others, default=None)

    def take(self, event: Event) -> None:
        """Takes note of the event."""
        number, body = event.task, event.body
        if isinstance(body, Paused | Resumed):
            self.is_paused = isinstance(body, Paused)
        elif isinstance(body, Created):
            if body.name == self._name:
                self._tenants[number] = msgspec.json.decode(body.tags)["tenant"]
                self.ready.add(number)
        elif number not in self._tenants:
            return
        elif isinstance(body, Leased):
            self.ready.discard(number)
            self.leased.add(number)
        elif isinstance(body, ENDS):
            # One that is retried waits for its instant, and is left out from then on.
            self.leased.discard(number)
