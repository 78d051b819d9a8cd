"""The sorted indexes of the pending tasks: which runs, becomes ready or expires next.

Nothing here knows events; the projection tells it which tasks come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace

from sortedcontainers import SortedList

from eventq.core.audience import Audience
from eventq.core.task import PLAIN_ROUTE, Route, Task, is_due

# Dispatch order: highest priority, then earliest scheduled, then lowest number.
Rank = tuple[int, int, int]


class Ranks(SortedList[Rank]):
    """A sorted list that loses its beginning at once: one by one takes five times as long."""

    _lists: list[list[Rank]]
    _maxes: list[Rank]
    _index: list[int]
    _len: int

    def drop_first(self, count: int) -> None:
        """Removes the first ``count``, or all if there are no more."""
        left, whole = min(count, self._len), 0
        self._len -= left
        while left and left >= len(self._lists[whole]):
            left -= len(self._lists[whole])
            whole += 1
        del self._lists[:whole], self._maxes[:whole]
        if left:
            del self._lists[0][:left]
        # Made anew when it is next needed.
        self._index.clear()


class Pending:
    """Pending tasks in one of two indexes, and those that can expire in a third as well.

    `ready` has a list for each route, sorted by rank; a route without ready tasks has none, but for
    the plain one. `waiting` is sorted by (scheduled_at, number) and holds those whose instant lies
    after `advanced_to`, the time asked about last. `expiring` is sorted by (expires_at, number).
    `tasks` is the projection's.
    """

    def __init__(self, tasks: dict[int, Task]) -> None:
        self.advanced_to = 0
        self.retrying: Counter[Route] = Counter()
        """How many tasks of each route have been attempted before."""
        self.ready: dict[Route, Ranks] = {PLAIN_ROUTE: Ranks()}
        self.waiting: SortedList[tuple[int, int]] = SortedList()
        self.expiring: SortedList[tuple[int, int]] = SortedList()
        self._tasks = tasks
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
        return iter(lists[0]) if len(lists) == 1 else _merged(lists)

    def ready_count(self) -> int:
        """How many tasks have their instant behind them."""
        return sum(map(len, self.ready.values()))

    def add(self, task: Task) -> None:
        """Adds a task that has become pending; O(log n)."""
        if task.attempt:
            self.retrying[task.route] += 1
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
            self.ready[task.route].remove(rank(task))
            self._drop_if_empty(task.route)
        else:
            self.waiting.remove((task.scheduled_at_us, task.number))
        if task.expires_at_us is not None:
            self.expiring.remove((task.expires_at_us, task.number))

    def remove_leased(self, tasks: list[Task]) -> None:
        """Removes the tasks that a commit leased, in its order; quick where they lead their list.

        As a rule they are of one route and do, since leases are granted in this order.
        """
        count, route = len(tasks), tasks[0].route
        ready = self.ready.get(route)
        # As in `rank`, without a call for each.
        ranks = [(-task.priority, task.scheduled_at_us, task.number) for task in tasks]
        if not self.is_sorted or ready is None or ready[:count] != ranks:
            for task in tasks:
                self.remove(task)
            return
        ready.drop_first(count)
        self._drop_if_empty(route)
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
        self.advanced_to = now
        for route, ranks in list(self.ready.items()):
            for place in _later_than(now, ranks):
                if not is_due(self._tasks[place[2]], now):
                    ranks.remove(place)
                    self.waiting.add(place[1:])
            self._drop_if_empty(route)
        self.is_sorted = was_sorted

    def next_instant(self) -> int | None:
        """The earliest coming instant at which a task becomes ready or expires."""
        instants = [index[0][0] for index in (self.waiting, self.expiring) if index]
        return min(instants, default=None)

    def suspend(self) -> None:
        """Stops sorting, for a long fold; `rebuild` ends it."""
        self.is_sorted = False
        self.ready = {PLAIN_ROUTE: Ranks()}
        self.waiting.clear()
        self.expiring.clear()

    def rebuild(self, pending: Iterable[Task]) -> None:
        """Sorts the indexes anew: O(n log n), far less than n insertions."""
        tasks = list(pending)
        self.ready, self.waiting, self.expiring = self._recounted(tasks)
        self.retrying = Counter(task.route for task in tasks if task.attempt)
        self.is_sorted = True

    def check(self, pending: Iterable[Task]) -> None:
        """Asserts that the indexes hold these tasks and no others, each in its place."""
        tasks = list(pending)
        assert self.retrying == Counter(task.route for task in tasks if task.attempt)
        assert all(self.retrying.values())
        if self.is_sorted:
            assert (self.ready, self.waiting, self.expiring) == self._recounted(tasks)

    def _add_ready(self, task: Task) -> None:
        ranks = self.ready.get(task.route)
        if ranks is None:
            ranks = self.ready[task.route] = Ranks()
        ranks.add(rank(task))

    def _unmark(self, task: Task) -> None:
        self.retrying[task.route] -= 1
        if not self.retrying[task.route]:
            del self.retrying[task.route]

    def _drop_if_empty(self, route: Route) -> None:
        if route is not PLAIN_ROUTE and not self.ready[route]:
            del self.ready[route]

    def _recounted(
        self, tasks: list[Task]
    ) -> tuple[dict[Route, Ranks], SortedList[tuple[int, int]], SortedList[tuple[int, int]]]:
        now = self.advanced_to
        due: dict[Route, list[Rank]] = {PLAIN_ROUTE: []}
        for task in tasks:
            if is_due(task, now):
                due.setdefault(task.route, []).append(rank(task))
        return (
            {route: Ranks(ranks) for route, ranks in due.items()},
            SortedList(
                (task.scheduled_at_us, task.number) for task in tasks if not is_due(task, now)
            ),
            SortedList(
                (task.expires_at_us, task.number)
                for task in tasks
                if task.expires_at_us is not None
            ),
        )


def rank(task: Task) -> Rank:
    """Dispatch order: highest priority, then earliest scheduled, then lowest number."""
    return (-task.priority, task.scheduled_at_us, task.number)


def _merged(lists: list[Ranks]) -> Iterator[Rank]:
    """The ranks of several sorted lists in order."""
    heads = [(ranks[0], place) for place, ranks in enumerate(lists)]
    heapify(heads)
    rests = [iter(ranks) for ranks in lists]
    for rest in rests:
        next(rest)
    while heads:
        first, place = heads[0]
        yield first
        following = next(rests[place], None)
        if following is None:
            heappop(heads)
        else:
            heapreplace(heads, (following, place))


def _later_than(now: int, ranks: Ranks) -> list[Rank]:
    """The ranks whose instant lies after ``now``."""
    found: list[Rank] = []
    begin = 0
    while begin < len(ranks):
        priority = ranks[begin][0]
        # A shorter tuple sorts before all that begin like it.
        end = ranks.bisect_left((priority + 1,))  # type: ignore[arg-type]
        found += ranks[ranks.bisect_left((priority, now + 1)) : end]  # type: ignore[arg-type]
        begin = end
    return found
