"""The signs of life of nodes as a log goes by, and the times when there were none."""

from __future__ import annotations

from msgspec import Struct

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
        self._holders: dict[int, str] = {}
        """By the number of the task that it runs."""

    def take_over(self, number: int, node: str, ttl_us: int, at: int) -> None:
        """A lease that was live when the period began."""
        self._sign(node, at).ttl_us = ttl_us
        self._hold(number, node)

    def take(self, number: int, at: int, body: AnyBody | Unknown) -> None:
        """One more event."""
        if isinstance(body, Leased):
            counts = self._sign(body.worker, at)
            counts.started += 1
            counts.ttl_us = body.ttl_us
            self._hold(number, body.worker)
        elif isinstance(body, (Renewed, Joined)):
            self._sign(body.worker, at).ttl_us = body.ttl_us
        elif isinstance(body, Left):
            self._sign(body.worker, at).has_left = True
        elif number in self._holders and body.kind in _ENDING:
            self._give_back(number, at, body)

    def end(self, at: int) -> None:
        """The period ends: who should have given a sign by then, and has not, is silent."""
        for counts in self.nodes.values():
            if not counts.has_left and at - counts.last_at > _longest(counts):
                self._silent(counts, None)

    def _hold(self, number: int, node: str) -> None:
        self._holders[number] = node
        self.nodes[node].leases += 1

    def _give_back(self, number: int, at: int, body: AnyBody | Unknown) -> None:
        node = self._holders.pop(number)
        counts = self.nodes[node]
        is_lapse = isinstance(body, Failed) and body.error.type == LAPSED
        if is_lapse:
            # Another node says so, when this one has been silent for long enough.
            counts.lapsed += 1
            if not counts.has_left:
                self._silent(counts, None)
        elif isinstance(body, (Completed, Failed, Released)):
            self._sign(node, at)
        counts.leases -= 1

    def _sign(self, node: str, at: int) -> NodeCounts:
        counts = self.nodes.get(node)
        if counts is None:
            counts = self.nodes[node] = NodeCounts(node, at, at)
        elif self._is_open(counts):
            place = self._open_place(counts)
            self.silences[place] = Silence(node, counts.last_at, at, self.silences[place].leases)
        elif not counts.has_left and at - counts.last_at > _longest(counts):
            self._silent(counts, at)
        counts.last_at, counts.has_left = max(counts.last_at, at), False
        return counts

    def _silent(self, counts: NodeCounts, until: int | None) -> None:
        if not self._is_open(counts):
            self.silences.append(Silence(counts.node, counts.last_at, until, counts.leases))

    def _is_open(self, counts: NodeCounts) -> bool:
        """Whether it is known to be silent already."""
        return self._open_place(counts) >= 0

    def _open_place(self, counts: NodeCounts) -> int:
        for place in range(len(self.silences) - 1, -1, -1):
            silence = self.silences[place]
            if silence.node == counts.node:
                is_open = silence.until is None and silence.since == counts.last_at
                return place if is_open else -1
        return -1


_ENDING = frozenset({"completed", "failed", "released", "cancelled"})


def _longest(counts: NodeCounts) -> int:
    """How long a node that lives may give no sign."""
    return counts.ttl_us if counts.leases and counts.ttl_us else max(counts.ttl_us, IDLE_US)
