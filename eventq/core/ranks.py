"""Ranks: the order in which ready tasks run, and sorted lists of them.

Nothing here knows which lists there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heapreplace

from sortedcontainers import SortedList

from eventq.core.task import Task

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


def rank(task: Task) -> Rank:
    """Dispatch order: highest priority, then earliest scheduled, then lowest number."""
    return (-task.priority, task.scheduled_at_us, task.number)


def merged(lists: list[Ranks]) -> Iterator[Rank]:
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


def later_than(now: int, ranks: Ranks) -> list[Rank]:
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
