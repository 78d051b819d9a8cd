"""Choosing what to lease where limits, pauses or turns are used: one after the other, on trial.

What is chosen is taken for a while, so that the next choice sees it taken; then all is put back as
it was. Nothing here knows how many are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heapreplace
from typing import Self

from eventq.core.audience import Audience
from eventq.core.dispatch_index import Pending
from eventq.core.heads import Base, TurnRank
from eventq.core.projection import Projection
from eventq.core.ranks import rank
from eventq.core.task import Route, Task
from eventq.core.turns import Taken


class Choosing:
    """The next task that an audience may be given, and the next after that, for a while.

    What an error or an interrupt breaks off is not put back: all is folded anew then.
    """

    def __init__(self, projection: Projection, now: int) -> None:
        governing = self._governing = projection.governing
        self._projection = projection
        self._pending: Pending = governing.pending
        self._limits = governing.limits
        self._turns = governing.turns
        self._tasks = projection.tasks
        self._now = now
        # The best of each base; an entry may be stale, and then comes too early.
        self._bests: list[tuple[TurnRank, int, Base]] | None = None
        self._audience: Audience | None = None
        self._undone: list[tuple[Task, Taken | None, bool]] = []
        self._let_go: list[Task] = []

    def __enter__(self) -> Self:
        """Begins to take things on trial."""
        self._projection.advance_to(self._now)
        self._governing.is_tried = True
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Has all as it was."""
        if error is None:
            self._put_back()

    def first(self, audience: Audience) -> Task | None:
        """The best task of an audience that may be leased now; None where there is none."""
        if self._bests is None or audience is not self._audience:
            found = self._pending.first_of(audience, self._now)
            self._bests = [(entry, place, base) for place, (entry, base) in enumerate(found)]
            self._audience = audience
            heapify(self._bests)
        bests = self._bests
        while bests:
            entry, place, base = bests[0]
            known = self._pending.first_in(base, self._now)
            if known == entry:
                return self._tasks[entry[3]]
            if known is None:
                bests[0] = bests[-1]
                bests.pop()
                heapify(bests)
            else:
                heapreplace(bests, (known, place, base))
        return None

    def take(self, task: Task) -> None:
        """The task is leased, as far as later choices go."""
        taken = None
        self._pending.take_out(task)
        if task.route.buckets:
            self._limits.tried(task.route.buckets, self._now)
        if self._turns.is_on:
            taken = self._turns.take(task.priority, task.route.share)
            self._turned(taken)
        self._undone.append((task, taken, True))

    def pass_over(self, task: Task) -> None:
        """The task is not to be leased, and later choices leave it out."""
        self._pending.take_out(task)
        self._undone.append((task, None, False))

    def let_go(self, tasks: Iterable[Task]) -> None:
        """These tasks are leased no more, as far as later choices go."""
        for task in tasks:
            if task.route.buckets:
                self._let_go.append(task)
                self._limits.let_go(task.route.buckets)
                self._free(task.route)
        self._bests = None

    def precedes(self, other: Task, task: Task) -> bool:
        """Whether another task, which has just become ready, might come before a chosen one."""
        if self._turns.is_on:
            return other.priority >= task.priority
        return rank(other) < rank(task)

    def _put_back(self) -> None:
        while self._undone:
            task, taken, is_taken = self._undone.pop()
            if taken is not None:
                self._turns.take_back(taken)
                self._turned(taken)
            if is_taken and task.route.buckets:
                self._limits.untried(task.route.buckets)
                self._free(task.route)
            self._pending.put_back(task)
        for task in self._let_go:
            self._limits.count(task)
        self._let_go.clear()
        self._governing.is_tried = False

    def _free(self, route: Route) -> None:
        heads = self._pending.heads
        assert heads is not None, "it is governed"
        for bucket in route.buckets:
            heads.free(bucket)

    def _turned(self, taken: Taken) -> None:
        heads = self._pending.heads
        assert heads is not None, "it is governed"
        heads.turned((taken.share, *taken.dropped))
        if taken.dropped:
            # Those are level again, so that what is known of them comes too late.
            self._bests = None
