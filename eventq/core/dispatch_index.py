"""The sorted indexes of the pending tasks: which runs, becomes ready or expires next.

Nothing here knows events; the projection tells it which tasks come and go. Which of the lists may
be taken from, where limits, pauses or turns are used, is in `heads`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from eventq.core.audience import Audience
from eventq.core.heads import Base, Heads, TurnRank
from eventq.core.limits import Limits
from eventq.core.pauses import Pauses
from eventq.core.ranks import Rank, Ranks, ShortList, later_than, merged, rank
from eventq.core.task import PLAIN_ROUTE, Route, Task, is_due
from eventq.core.turns import Turns
from eventq.core.values import Scope


class Pending:
    """Pending tasks in one of two indexes, and those that can expire in a third as well.

    `ready` has a list for each route, sorted by rank; a route without ready tasks has none, but for
    the plain one. `waiting` is sorted by (scheduled_at, number) and holds those whose instant lies
    after `advanced_to`, the time asked about last. `expiring` is sorted by (expires_at, number).
    `tasks` is the projection's, and so are the rules that say which lists may be taken from.
    """

    def __init__(
        self, tasks: dict[int, Task], limits: Limits, pauses: Pauses, turns: Turns
    ) -> None:
        self.advanced_to = 0
        self.retrying: Counter[Route] = Counter()
        """How many tasks of each route's base have been attempted before."""
        self.ready: dict[Route, Ranks] = {PLAIN_ROUTE: Ranks()}
        self.waiting: ShortList[tuple[int, int]] = ShortList()
        self.expiring: ShortList[tuple[int, int]] = ShortList()
        self.heads: Heads | None = None
        """The heads of the lists, where any of the rules is used; see `govern`."""
        self._tasks = tasks
        self._limits, self._pauses, self._turns = limits, pauses, turns
        # Ready tasks with the value of a tag that is paused, met when they would have been next.
        self._aside: dict[Scope, dict[int, Route]] = {}
        self._aside_of: dict[int, Scope] = {}
        self.is_sorted = True
        """False while sorting is suspended or under way, and where that was broken off."""

    def first_ready(self, audience: Audience | None = None) -> Iterator[Rank]:
        """Ranks of the ready tasks that an audience may run, in order; None: of all.

        O(routes) for the first, O(log routes) for each further one.
        """
        lists = [
            ranks
            for route, ranks in self.ready.items()
            if ranks and (audience is None or audience.accepts(route))
        ]
        if self._aside_of:
            aside = self._ranks_aside(audience)
            lists += [aside] if aside else []
        return iter(lists[0]) if len(lists) == 1 else merged(lists)

    def ready_count(self) -> int:
        """How many tasks have their instant behind them."""
        return sum(map(len, self.ready.values())) + len(self._aside_of)

    def ready_routes(self) -> Counter[Route]:
        """How many ready tasks there are of each route that has any."""
        found = Counter({route: len(ranks) for route, ranks in self.ready.items() if ranks})
        for tasks in self._aside.values():
            found.update(tasks.values())
        return found

    def oldest_ready(self) -> dict[Route, int]:
        """Since when the oldest ready task of each route may run; microseconds.

        O(priorities times log n) for each route.
        """
        found: dict[Route, int] = {}
        for route, ranks in self.ready.items():
            index, count = 0, len(ranks)
            while index < count:
                first = ranks[index]
                found[route] = min(first[1], found.get(route, first[1]))
                # On to the next priority: within one, the first has waited longest.
                index = ranks.bisect_left((first[0] + 1, 0, 0))
        return found

    def govern(self) -> None:
        """Keeps the heads of the lists from here on, while the lists are sorted; O(lists)."""
        if self.is_sorted:
            self.heads = Heads(self._tasks, self._limits, self._pauses, self._turns)
            self.heads.fill(self.ready, self.advanced_to)

    def first_of(self, audience: Audience, now: int) -> Iterator[tuple[TurnRank, Base]]:
        """The best task of each base, which may be leased, in no order."""
        assert self.heads is not None, "it is governed"
        for base in list(self.heads.bases(audience, now)):
            entry = self.first_in(base, now)
            if entry is not None:
                yield entry, base

    def first_in(self, base: Base, now: int) -> TurnRank | None:
        """The best task of one base, which may be leased; None where there is none."""
        assert self.heads is not None, "it is governed"
        while (entry := self.heads.first(base, now)) is not None:
            task = self._tasks[entry[3]]
            scope = self._pauses.of_tags(task, now)
            if scope is None:
                return entry
            self.take_out(task)
            self._aside.setdefault(scope, {})[task.number] = task.route
            self._aside_of[task.number] = scope
        return None

    def awaits_rate(self, audience: Audience) -> bool:
        """Whether a rate alone keeps back a task that the audience would be given."""
        return self.heads is not None and self.heads.awaited(audience)

    def take_out(self, task: Task) -> None:
        """Takes a ready task out of its list for a while; O(log n)."""
        self.ready[task.route].remove(rank(task))
        self._drop_if_empty(task.route)
        self._note(task.route)

    def put_back(self, task: Task) -> None:
        """Puts a task back that was taken out."""
        self._add_ready(task)

    def resume(self, scope: Scope) -> None:
        """A pause has ended: what stood aside for it is in its place again; O(log n) for each."""
        for number in self._aside.pop(scope, ()):
            del self._aside_of[number]
            self._add_ready(self._tasks[number])
        if self.heads is not None:
            self.heads.free(scope)

    def add(self, task: Task) -> None:
        """Adds a task that has become pending; O(log n)."""
        if task.attempt:
            self.retrying[task.route.base] += 1
        if not self.is_sorted:
            return
        if task.scheduled_at_us <= self.advanced_to or task.scheduled_at_us == task.created_at_us:
            self._add_ready(task)
        else:
            self.waiting.add((task.scheduled_at_us, task.number))
        if task.expires_at_us is not None:
            self.expiring.add((task.expires_at_us, task.number))

    def remove(self, task: Task) -> None:
        """Removes a task, as it was added, that is no longer pending; O(log n)."""
        if task.attempt:
            self._unmark(task)
        if not self.is_sorted:
            return
        if task.scheduled_at_us <= self.advanced_to or task.scheduled_at_us == task.created_at_us:
            if self._aside_of and (scope := self._aside_of.pop(task.number, None)) is not None:
                del self._aside[scope][task.number]
            else:
                self.take_out(task)
        else:
            self.waiting.remove((task.scheduled_at_us, task.number))
        if task.expires_at_us is not None:
            self.expiring.remove((task.expires_at_us, task.number))

    def remove_leased(self, tasks: list[Task]) -> None:
        """Removes the tasks that a commit leased, in its order; quick where they lead their list.

        As a rule they are of one route and do, since leases are granted in this order.
        """
        if not self.is_sorted:
            for task in tasks:
                if task.attempt:
                    self._unmark(task)
            return
        count, route = len(tasks), tasks[0].route
        ready = self.ready.get(route)
        # As in `rank`, without a call for each.
        ranks = [(-task.priority, task.scheduled_at_us, task.number) for task in tasks]
        if ready is None or not ready.begin_with(ranks):
            for task in tasks:
                self.remove(task)
            return
        ready.drop_first(count)
        self._drop_if_empty(route)
        self._note(route)
        for task in tasks:
            if task.attempt:
                self._unmark(task)
            if task.expires_at_us is not None:
                self.expiring.remove((task.expires_at_us, task.number))

    def advance_to(self, now: int) -> None:
        """Moves tasks whose instant has come from `waiting` to `ready`; O(log n) for each."""
        if now <= self.advanced_to:
            return
        was_sorted, self.is_sorted = self.is_sorted, False
        self.advanced_to = now
        if self.heads is not None:
            self.heads.advance(now)
            self._resume_ended(now)
        waiting = self.waiting
        while waiting and waiting[0][0] <= now:
            _, number = waiting.pop(0)
            self._add_ready(self._tasks[number])
        self.is_sorted = was_sorted

    def go_back_to(self, now: int) -> None:
        """Goes back to an earlier time: the inverse of `advance_to`.

        For tools that step backward, and for logs far ahead of the clock. O(log n) for each task
        moved, each route and each priority: within one, tasks stand by their instant.
        """
        if now >= self.advanced_to:
            return
        was_sorted, self.is_sorted = self.is_sorted, False
        for scope in list(self._aside):
            # Some of them may have to wait again.
            self.resume(scope)
        self.advanced_to = now
        if self.heads is not None:
            self.heads.go_back()
        for route, ranks in list(self.ready.items()):
            for place in later_than(now, ranks):
                if not is_due(self._tasks[place[2]], now):
                    ranks.remove(place)
                    self.waiting.add(place[1:])
            self._drop_if_empty(route)
            self._note(route)
        self.is_sorted = was_sorted

    def next_instant(self) -> int | None:
        """The earliest coming instant at which a task becomes ready or expires.

        Also one at which a rate gives room that is waited for, or a pause ends.
        """
        instants = [index[0][0] for index in (self.waiting, self.expiring) if index]
        if self.heads is not None:
            wakes = (self.heads.next_wake(), self._pauses.next_end(self.advanced_to))
            instants += [at for at in wakes if at is not None]
        return min(instants, default=None)

    def suspend(self) -> None:
        """Stops sorting, for a long fold; `rebuild` ends it."""
        self.is_sorted = False
        self.heads = None
        self._aside, self._aside_of = {}, {}
        self.ready = {PLAIN_ROUTE: Ranks()}
        self.waiting.clear()
        self.expiring.clear()

    def rebuild(self, pending: Iterable[Task], *, governed: bool = False) -> None:
        """Sorts the indexes anew: O(n log n), far less than n insertions."""
        tasks = list(pending)
        self.ready, self.waiting, self.expiring = self._recounted(tasks)
        self.retrying = Counter(task.route.base for task in tasks if task.attempt)
        self.is_sorted = True
        self.heads = None
        self._aside, self._aside_of = {}, {}
        if governed:
            self.govern()

    def check(self, pending: Iterable[Task]) -> None:
        """Asserts that the indexes hold these tasks and no others, each in its place."""
        tasks = list(pending)
        assert self.retrying == Counter(task.route.base for task in tasks if task.attempt)
        assert all(self.retrying.values())
        aside = {number: scope for scope, held in self._aside.items() for number in held}
        assert aside == self._aside_of
        for number, scope in aside.items():
            assert self._tasks[number].route == self._aside[scope][number]
            assert self._pauses.by_scope[scope].is_on(self.advanced_to)
        if self.is_sorted:
            ready, waiting, expiring = self._recounted(tasks)
            for number in aside:
                ready[self._tasks[number].route].remove(rank(self._tasks[number]))
            ready = {r: ranks for r, ranks in ready.items() if ranks or r is PLAIN_ROUTE}
            assert (self.ready, self.waiting, self.expiring) == (ready, waiting, expiring)
            if self.heads is not None:
                self.heads.check(self.ready, self.advanced_to)

    def _add_ready(self, task: Task) -> None:
        ranks = self.ready.get(task.route)
        if ranks is None:
            ranks = self.ready[task.route] = Ranks()
        ranks.add(rank(task))
        if self.heads is not None:
            self.heads.note(task.route, ranks)

    def _note(self, route: Route) -> None:
        if self.heads is not None:
            self.heads.note(route, self.ready.get(route))

    def _resume_ended(self, now: int) -> None:
        for scope in list(self._aside):
            if not self._pauses.by_scope[scope].is_on(now):
                self.resume(scope)

    def _ranks_aside(self, audience: Audience | None) -> Ranks:
        return Ranks(
            rank(self._tasks[number])
            for tasks in self._aside.values()
            for number, route in tasks.items()
            if audience is None or audience.accepts(route)
        )

    def _unmark(self, task: Task) -> None:
        base = task.route.base
        self.retrying[base] -= 1
        if not self.retrying[base]:
            del self.retrying[base]

    def _drop_if_empty(self, route: Route) -> None:
        if route is not PLAIN_ROUTE and not self.ready[route]:
            del self.ready[route]

    def _recounted(
        self, tasks: list[Task]
    ) -> tuple[dict[Route, Ranks], ShortList[tuple[int, int]], ShortList[tuple[int, int]]]:
        now = self.advanced_to
        due: dict[Route, list[Rank]] = {PLAIN_ROUTE: []}
        for task in tasks:
            if is_due(task, now):
                due.setdefault(task.route, []).append(rank(task))
        return (
            {route: Ranks(ranks) for route, ranks in due.items()},
            ShortList(
                (task.scheduled_at_us, task.number) for task in tasks if not is_due(task, now)
            ),
            ShortList(
                (task.expires_at_us, task.number)
                for task in tasks
                if task.expires_at_us is not None
            ),
        )
