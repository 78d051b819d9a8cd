"""The sorted indexes of the pending tasks: which runs, becomes ready or expires next.

Nothing here knows events; the projection tells it which tasks come and go.
"""

from __future__ import annotations

from collections.abc import Iterable

from sortedcontainers import SortedList

from eventq.core.task import Task, is_due


class Ranks(SortedList[tuple[int, int, int]]):
    """A sorted list that loses its beginning at once: one by one takes five times as long."""

    _lists: list[list[tuple[int, int, int]]]
    _maxes: list[tuple[int, int, int]]
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

    `ready` is sorted by (priority descending, scheduled_at, number). `waiting` is sorted by
    (scheduled_at, number) and holds those whose instant lies after `advanced_to`, the time asked
    about last. `expiring` is sorted by (expires_at, number). `tasks` is the projection's.
    """

    def __init__(self, tasks: dict[int, Task]) -> None:
        self.advanced_to = 0
        self.retrying_count = 0
        """Tasks that have been attempted before."""
        self.ready = Ranks()
        self.waiting: SortedList[tuple[int, int]] = SortedList()
        self.expiring: SortedList[tuple[int, int]] = SortedList()
        self._tasks = tasks
        self.is_sorted = True
        """False while sorting is suspended or under way, and where that was broken off."""

    def add(self, task: Task) -> None:
        """Adds a task that has become pending; O(log n)."""
        self.retrying_count += task.attempt > 0
        if not self.is_sorted:
            return
        if task.scheduled_at_us <= self.advanced_to or task.scheduled_at_us == task.created_at_us:
            self.ready.add(rank(task))
        else:
            self.waiting.add((task.scheduled_at_us, task.number))
        if task.expires_at_us is not None:
            self.expiring.add((task.expires_at_us, task.number))

    def remove(self, task: Task) -> None:
        """Removes a task, as it was added, that is no longer pending; O(log n)."""
        self.retrying_count -= task.attempt > 0
        if not self.is_sorted:
            return
        if task.scheduled_at_us <= self.advanced_to or task.scheduled_at_us == task.created_at_us:
            self.ready.remove(rank(task))
        else:
            self.waiting.remove((task.scheduled_at_us, task.number))
        if task.expires_at_us is not None:
            self.expiring.remove((task.expires_at_us, task.number))

    def remove_leased(self, tasks: list[Task]) -> None:
        """Removes the tasks that a commit leased, in its order; quick where they lead `ready`.

        As a rule they are, since leases are granted in this order.
        """
        count = len(tasks)
        # As in `rank`, without a call for each.
        ranks = [(-task.priority, task.scheduled_at_us, task.number) for task in tasks]
        if not self.is_sorted or self.ready[:count] != ranks:
            for task in tasks:
                self.remove(task)
            return
        self.ready.drop_first(count)
        for task in tasks:
            if task.attempt > 0:
                self.retrying_count -= 1
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
            self.ready.add(rank(self._tasks[number]))
        self.is_sorted = was_sorted

    def go_back_to(self, now: int) -> None:
        """Goes back to an earlier time: the inverse of `advance_to`.

        For tools that step backward, and for logs far ahead of the clock. O(log n) for each task
        moved and each priority: within one, tasks stand by their instant.
        """
        if now >= self.advanced_to:
            return
        was_sorted, self.is_sorted = self.is_sorted, False
        self.advanced_to = now
        ready, begin = self.ready, 0
        early: list[tuple[int, int, int]] = []
        while begin < len(ready):
            priority = ready[begin][0]
            # A shorter tuple sorts before all that begin like it.
            end = ready.bisect_left((priority + 1,))  # type: ignore[arg-type]
            early += ready[ready.bisect_left((priority, now + 1)) : end]  # type: ignore[arg-type]
            begin = end
        for place in early:
            if not is_due(self._tasks[place[2]], now):
                ready.remove(place)
                self.waiting.add(place[1:])
        self.is_sorted = was_sorted

    def next_instant(self) -> int | None:
        """The earliest coming instant at which a task becomes ready or expires."""
        instants = [index[0][0] for index in (self.waiting, self.expiring) if index]
        return min(instants, default=None)

    def suspend(self) -> None:
        """Stops sorting, for a long fold; `rebuild` ends it."""
        self.is_sorted = False
        self.ready.clear()
        self.waiting.clear()
        self.expiring.clear()

    def rebuild(self, pending: Iterable[Task]) -> None:
        """Sorts the indexes anew: O(n log n), far less than n insertions."""
        tasks = list(pending)
        self.ready, self.waiting, self.expiring = self._recounted(tasks)
        self.retrying_count = sum(task.attempt > 0 for task in tasks)
        self.is_sorted = True

    def check(self, pending: Iterable[Task]) -> None:
        """Asserts that the indexes hold these tasks and no others, each in its place."""
        tasks = list(pending)
        assert self.retrying_count == sum(task.attempt > 0 for task in tasks)
        if self.is_sorted:
            assert (self.ready, self.waiting, self.expiring) == self._recounted(tasks)

    def _recounted(
        self, tasks: list[Task]
    ) -> tuple[Ranks, SortedList[tuple[int, int]], SortedList[tuple[int, int]]]:
        now = self.advanced_to
        return (
            Ranks(rank(task) for task in tasks if is_due(task, now)),
            SortedList(
                (task.scheduled_at_us, task.number) for task in tasks if not is_due(task, now)
            ),
            SortedList(
                (task.expires_at_us, task.number)
                for task in tasks
                if task.expires_at_us is not None
            ),
        )


def rank(task: Task) -> tuple[int, int, int]:
    """Dispatch order: highest priority, then earliest scheduled, then lowest number."""
    return (-task.priority, task.scheduled_at_us, task.number)
