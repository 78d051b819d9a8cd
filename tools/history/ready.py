"""The pending tasks in the order of the docs: highest priority, earliest instant, lowest number."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heappop, heappush

from tools.history.world import Rank, Task


class Ready:
    """The tasks whose instant has come, in order, and those whose instant is to come."""

    def __init__(self, tasks: dict[int, Task]) -> None:
        self._tasks = tasks
        self._now = 0
        self._come: list[Rank] = []
        self._to_come: list[tuple[int, int]] = []

    def add(self, task: Task, now: int) -> None:
        """The task is pending."""
        # What was made to run at once is ready for good, whatever becomes of clocks.
        if task.scheduled_at <= now or task.scheduled_at == task.created_at:
            task.rank = (-task.priority, task.scheduled_at, task.number)
            insort(self._come, task.rank)
        else:
            task.rank = None
            heappush(self._to_come, (task.scheduled_at, task.number))

    def remove(self, task: Task) -> None:
        """The task is pending no more, or is about to get another place."""
        if task.rank is not None:
            del self._come[bisect_left(self._come, task.rank)]
            task.rank = None

    def come(self, now: int) -> list[Rank]:
        """The ranks of those whose instant has come; to be looked at only."""
        if now < self._now:
            self._go_back(now)
        self._now = now
        while self._to_come and self._to_come[0][0] <= now:
            at, number = heappop(self._to_come)
            task = self._tasks[number]
            # Else it has moved since it was put here.
            if task.state == "pending" and task.rank is None and task.scheduled_at == at:
                self.add(task, now)
        return self._come

    def _go_back(self, now: int) -> None:
        """A clock was wrong: what had come may be still to come."""
        for _, _, number in self._come.copy():
            self.remove(self._tasks[number])
            self.add(self._tasks[number], now)
