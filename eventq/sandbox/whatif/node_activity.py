"""The nodes of a trace: who was there when, with how many workers, and when each attempt began.

No event says either. A lease is the earliest an attempt may have begun; a busy node leases ahead.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from statistics import fmean

import msgspec
from msgspec import Struct

FOREVER = 2**63
ABSENT, PRESENT = 0, 1


class RecordedNode(Struct):
    """A node in the trace: from its first lease to the end of its last."""

    begun_at: int
    ended_at: int
    slots: int | None
    """How many attempts it runs at a time, if that is known."""
    workers: int = 0
    """How many it had, if that was given; else the most that it had busy at a time."""
    busy: int = 0
    waiting: deque[int] = msgspec.field(default_factory=deque)
    """Tasks that it has leased ahead, in their order."""


class LeasedAttempt(Struct):
    """A leased attempt."""

    node: RecordedNode
    ready_at: int
    """The instant from which it might have begun."""
    begun_at: int | None = None
    """None while it waits in its node for a worker."""


class Nodes:
    """Follows leases and their ends."""

    def __init__(self, workers: int | None) -> None:
        self.running: dict[int, LeasedAttempt] = {}
        self.most = 0
        """The most attempts that ran at a time."""
        self.is_guess = False
        """Whether a node has not said how many attempts it runs at a time."""
        self._workers = workers
        self._busy = 0
        self._nodes: dict[str, RecordedNode] = {}
        # Nodes that have leased in this commit.
        self._grown: set[str] = set()

    def lease(
        self, number: int, name: str, *, ready_at: int, at: int, slots: int | None = None
    ) -> None:
        """The node has leased the task; it has said that it runs so many at a time, if it has."""
        slots = self._workers or slots
        self.is_guess |= slots is None
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = RecordedNode(at, at, slots, self._workers or 0)
        node.slots = slots
        self.running[number] = running = LeasedAttempt(node, ready_at)
        if slots is not None and node.busy >= slots:
            node.waiting.append(number)
        else:
            self._begin(running, at)
        self._grown.add(name)

    def end(self, number: int, at: int) -> LeasedAttempt | None:
        """The attempt is over, and the next one of its node begins; None for one not running.

        Outcomes that share a commit have one instant: then one of them seems to take no time, and
        another one theirs together.
        """
        running = self.running.pop(number, None)
        if running is None:
            return None
        node = running.node
        node.ended_at = at
        if running.begun_at is None:
            node.waiting.remove(number)
            running.begun_at = at
            return running
        node.busy -= 1
        self._busy -= 1
        if node.waiting:
            self._begin(self.running[node.waiting.popleft()], at)
        return running

    def measure(self) -> None:
        """Behind a whole commit: its leases stand before the outcomes that made room for them."""
        self.most = max(self.most, self._busy)
        for name in self._grown:
            node = self._nodes[name]
            node.workers = max(node.workers, node.busy)
        self._grown.clear()

    def finish(self, at: int) -> None:
        """The trace is over: who still runs something is there."""
        for running in self.running.values():
            running.node.ended_at = at

    def capacity(
        self, workers: int | None, absences: list[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """How many workers there are from which instant on, in order; the last one for ever.

        Always ``workers``, or as many as the nodes there were had; none in the absences.
        """
        changes: list[tuple[int, int]] = [(0, workers or 0)]
        if workers is None:
            for node in self._nodes.values():
                changes += [(node.begun_at, node.workers), (node.ended_at, -node.workers)]
            changes.sort()
            # Whoever had work at last is taken to have stayed when there was none.
            while changes[-1][1] < 0:
                changes.pop()
        marks = [mark for begun_at, at in absences for mark in ((begun_at, ABSENT), (at, PRESENT))]
        found: list[tuple[int, int]] = []
        there, present, mark = 0, PRESENT, 0
        for at, change in [*changes, (FOREVER, 0)]:
            while mark < len(marks) and marks[mark][0] < at:
                present = marks[mark][1]
                found.append((marks[mark][0], there * present))
                mark += 1
            there += change
            found.append((at, there * present))
        return found[:-1]

    def mean_workers(self, absences: list[tuple[int, int]], until: int) -> float:
        """How many workers there were on average, while there were any."""
        spans = pairwise([*self.capacity(None, absences), (until, 0)])
        there = [(end - begin, n) for (begin, n), (end, _) in spans if n and begin < end]
        return fmean((n for _, n in there), (length for length, _ in there)) if there else 0.0

    def _begin(self, running: LeasedAttempt, at: int) -> None:
        running.begun_at = at
        running.node.busy += 1
        self._busy += 1
