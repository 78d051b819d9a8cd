"""The signs of life of nodes as a log goes by, and the times when there were none."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.commits import AnyBody, Unknown
from eventq.core.durations import SECOND_US
from eventq.core.events import Completed, Failed, Leased, Released
from eventq.core.queue_events import Joined, Left, Renewed
from eventq.core.values import LAPSED

# A node that is idle says so each minute; it is silent once it has left out one.
IDLE_US = 120 * SECOND_US


class Silence(Struct, frozen=True):
    """A time in which a node gave no sign of life. Instants are microseconds, UTC."""

    node: str
    since: int
    until: int | None
    """When it gave the next one; None: not by the period's end."""
    leases: int
    """How many attempts it ran when it fell silent."""


class NodeCounts(Struct):
    """What a node did in a period."""

    node: str
    first_at: int
    last_at: int
    """Its first and its last sign of life in the period."""
    started: int = 0
    lapsed: int = 0
    """Attempts that were taken from it, since it had fallen silent."""
    has_left: bool = False
    ttl_us: int = 0
    leases: int = 0
    """Those that it holds, as far as the period shows."""


class Signs:
    """What nodes did, each with its silences."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeCounts] = {}
        self.silences: list[Silence] = []
        self._silent: dict[str, int] = {}
        """Which nodes are silent, with the place of that in the list."""

    def take_over(self, node: str, ttl_us: int, at: int) -> None:
        """A lease that was live when the period began."""
        counts = self._sign(node, at)
        counts.ttl_us = ttl_us
        counts.leases += 1

    def take(self, at: int, body: AnyBody | Unknown) -> None:
        """One more event about nodes or the queue."""
        if isinstance(body, (Renewed, Joined)):
            self._sign(body.worker, at).ttl_us = body.ttl_us
        elif isinstance(body, Left):
            self._sign(body.worker, at).has_left = True

    def lease(self, at: int, body: Leased) -> None:
        """An attempt begins."""
        counts = self._sign(body.worker, at)
        counts.started += 1
        counts.leases += 1
        counts.ttl_us = body.ttl_us

    def give_back(self, node: str, at: int, body: AnyBody | Unknown) -> None:
        """An attempt is over."""
        counts = self.nodes[node]
        if isinstance(body, Failed) and body.error.type == LAPSED:
            # Another node says so, when this one has been silent for long enough.
            counts.lapsed += 1
            if not counts.has_left:
                self._fall_silent(counts)
        elif isinstance(body, (Completed, Failed, Released)):
            self._sign(node, at)
        counts.leases -= 1

    def end(self, at: int) -> None:
        """The period ends: who should have given a sign by then, and has not, is silent."""
        for counts in self.nodes.values():
            if not counts.has_left and at - counts.last_at > _longest(counts):
                self._fall_silent(counts)

    def _sign(self, node: str, at: int) -> NodeCounts:
        counts = self.nodes.get(node)
        if counts is None:
            counts = self.nodes[node] = NodeCounts(node, at, at)
            return counts
        if at - counts.last_at > counts.ttl_us or self._silent:
            if not counts.has_left and at - counts.last_at > _longest(counts):
                self._fall_silent(counts)
            place = self._silent.pop(node, None)
            if place is not None:
                self.silences[place] = replace(self.silences[place], until=at)
        counts.last_at = max(counts.last_at, at)
        counts.has_left = False
        return counts

    def _fall_silent(self, counts: NodeCounts) -> None:
        if counts.node not in self._silent:
            self._silent[counts.node] = len(self.silences)
            self.silences.append(Silence(counts.node, counts.last_at, None, counts.leases))


def _longest(counts: NodeCounts) -> int:
    """How long a node that lives may give no sign."""
    return counts.ttl_us if counts.leases and counts.ttl_us else max(counts.ttl_us, IDLE_US)
