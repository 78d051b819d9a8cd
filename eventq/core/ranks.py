"""Ranks: the order in which ready tasks run, and sorted lists of them.

Nothing here knows which lists there are.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heapreplace
from typing import TypeVar

from sortedcontainers import SortedList

from eventq.core.task import Task

T = TypeVar("T", bound=tuple[int, ...])

# As `rank` makes it.
Rank = tuple[int, int, int]

# As many as the base keeps in one piece; more it has to lay out itself.
FEW = 1_000


class ShortList(SortedList[T]):
    """A sorted list that is quickly made and changed while it is short.

    Where 100,000 buckets have a list each, almost all time goes into making them; and each task
    that comes or goes changes several.
    """

    _lists: list[list[T]]
    _maxes: list[T]
    _index: list[int]
    _len: int

    def __init__(self, values: Iterable[T] = ()) -> None:
        """Sorts these; for few of them in a fifth of the time that its base takes."""
        found = sorted(values)
        is_few = len(found) <= FEW
        self._load = FEW
        self._len = len(found) if is_few else 0
        self._lists = [found] if found and is_few else []
        self._maxes = found[-1:] if is_few else []
        self._index = []
        self._offset = 0
        if not is_few:
            self.update(found)

    def add(self, value: T) -> None:
        """As its base does, in less time while all stand in one piece that stays one."""
        lists = self._lists
        if not lists:
            lists.append([value])
            self._maxes.append(value)
        elif len(lists) == 1 and self._len < FEW:
            insort(lists[0], value)
            self._maxes[0] = lists[0][-1]
        else:
            super().add(value)
            return
        self._len += 1

    def remove(self, value: T) -> None:
        """As its base does, in less time while all stand in one piece."""
        lists = self._lists
        piece = lists[0] if len(lists) == 1 else []
        place = bisect_left(piece, value)
        if place == len(piece) or piece[place] != value:
            super().remove(value)
            return
        del piece[place]
        if piece:
            self._maxes[0] = piece[-1]
        else:
            del lists[0], self._maxes[0]
        self._len -= 1


class Ranks(ShortList[Rank]):
    """Ranks in their order, which lose their beginning at once."""

    def begin_with(self, ranks: list[Rank]) -> bool:
        """Whether these are the first ones."""
        count = len(ranks)
        piece = self._lists[0] if self._lists else []
        return (piece if count <= len(piece) else self)[:count] == ranks

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
