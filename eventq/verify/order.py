"""Which pending task must run next, kept by the verifier's own means; it reads no log."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from eventq.verify.bounds import Bounds, Hold
from eventq.verify.choice_order import GovernedOrder
from eventq.verify.seen import Choice, Entry, Seen, entry_of, is_due

# Stale entries that may stand in a heap beside those of the pending tasks.
STALE_ENTRIES = 5_000
# Rankings kept; when there are more all are given up, and those that are asked for made anew.
RANKINGS_KEPT = 64


class Order:
    """Pending tasks by priority, then instant, then number.

    Those whose instant is to come stand in one heap, those whose instant has come in one for each
    choice that was asked about. An entry carries the task's edition, so that one of a task that has
    moved since is known to be stale. Where limits, pauses or turns are used, all whose instant has
    come stand in a `GovernedOrder` instead.
    """

    def __init__(self, tasks: dict[int, Seen]) -> None:
        self._governed: GovernedOrder | None = None
        self._tasks = tasks
        self._edition = 0
        self._now = 0
        self._waiting: list[tuple[int, int, int]] = []
        self._rankings: dict[Choice, _Ranking] = {}

    def add(self, task: Seen, now: int) -> None:
        """Gives a pending task its place; an earlier one is void from now on."""
        self._edition = task.edition = self._edition + 1
        if is_due(task, now):
            self._rank(task)
        else:
            self._wait(task)

    def first(self, now: int, choices: Iterable[Choice]) -> int | None:
        """The number of the task that must run next: pending, its instant come, not expired.

        It is the first in any of the choices.
        """
        if now < self._now:
            self._go_back(now)
        self._now = now
        waiting, tasks = self._waiting, self._tasks
        while waiting and waiting[0][0] <= now:
            _, number, edition = heappop(waiting)
            task = tasks.get(number)
            if task is not None and task.edition == edition:
                self._rank(task)
        if self._governed is not None:
            return self._governed.first(now, choices)
        best: Entry | None = None
        for choice in choices:
            ranking = self._rankings.get(choice) or self._made(choice, now)
            entry = ranking.first(tasks, now, self._wait)
            if entry is not None and (best is None or entry < best):
                best = entry
        return None if best is None else best[2]

    def govern(self, bounds: Bounds, now: int) -> None:
        """Goes by limits, pauses and turns from here on, and by shares as tasks have them now."""
        self._rankings.clear()
        self._governed = GovernedOrder(self._tasks, bounds, self._wait)
        self._wait_again(now)
        for task in self._tasks.values():
            if task.edition and is_due(task, now):
                self._governed.add(task)

    @property
    def is_governed(self) -> bool:
        """Whether it goes by limits, pauses and turns."""
        return self._governed is not None

    def open(self, holds: Iterable[Hold] | None = None) -> None:
        """What kept tasks back may do so no more (None: anything)."""
        if self._governed is None:
            return
        if holds is None:
            self._governed.open_all()
        else:
            for hold in holds:
                self._governed.open(hold)

    def tidy(self) -> None:
        """Drops stale entries once there are many; to be called now and then."""
        tasks, most = self._tasks, len(self._tasks) + STALE_ENTRIES
        if len(self._rankings) > RANKINGS_KEPT:
            self._rankings.clear()
        if len(self._waiting) > most:
            self._waiting = [
                e for e in self._waiting if e[1] in tasks and tasks[e[1]].edition == e[2]
            ]
            heapify(self._waiting)
        for ranking in self._rankings.values():
            ranking.tidy(tasks, most)

    def _go_back(self, now: int) -> None:
        """Time goes back: what was due, or past its expiry, may not be so any more."""
        for ranking in self._rankings.values():
            ranking.bring_back()
        if self._governed is not None:
            self._governed.bring_back()
        self._wait_again(now)

    def _wait_again(self, now: int) -> None:
        """Has all wait that are not due now, also what was due at a later instant."""
        tasks = self._tasks
        waiting = [e for e in self._waiting if e[1] in tasks and tasks[e[1]].edition == e[2]]
        known = {number for _, number, _ in waiting}
        waiting += [
            (task.scheduled_at, task.number, task.edition)
            for task in tasks.values()
            if task.edition and task.number not in known and not is_due(task, now)
        ]
        heapify(waiting)
        self._waiting = waiting

    def _wait(self, task: Seen) -> None:
        heappush(self._waiting, (task.scheduled_at, task.number, task.edition))

    def _rank(self, task: Seen) -> None:
        if self._governed is not None:
            self._governed.add(task)
            return
        for choice, ranking in self._rankings.items():
            if choice.holds(task):
                heappush(ranking.ready, entry_of(task))

    def _made(self, choice: Choice, now: int) -> _Ranking:
        """The ranking of a choice that nobody has asked about lately; O(open tasks)."""
        ranking = self._rankings[choice] = _Ranking(
            entry_of(task)
            for task in self._tasks.values()
            if task.edition and choice.holds(task) and is_due(task, now)
        )
        return ranking


class _Ranking:
    """The tasks of one choice whose instant has come, with stale entries among them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.ready = list(entries)
        heapify(self.ready)
        # Taken off for being past their expiry, until time goes back, as where a clock was wrong.
        self._expired: list[Entry] = []

    def bring_back(self) -> None:
        """Time goes back: what was past its expiry may not be so any more."""
        while self._expired:
            heappush(self.ready, self._expired.pop())

    def first(self, tasks: dict[int, Seen], now: int, wait: Callable[[Seen], None]) -> Entry | None:
        """The first entry that is not stale, early or expired; ``wait`` is told of early ones."""
        ready = self.ready
        while ready:
            entry = ready[0]
            task = tasks.get(entry[2])
            if task is not None and task.edition == entry[3]:
                if not is_due(task, now):
                    wait(task)
                elif task.expires_at is None or task.expires_at > now:
                    return entry
                else:
                    self._expired.append(entry)
            heappop(ready)
        return None

    def tidy(self, tasks: dict[int, Seen], most: int) -> None:
        """Drops stale entries where there are more than ``most`` entries."""
        if len(self.ready) + len(self._expired) <= most:
            return
        self.ready = [e for e in self.ready if e[2] in tasks and tasks[e[2]].edition == e[3]]
        self._expired = [e for e in self._expired if e[2] in tasks and tasks[e[2]].edition == e[3]]
        heapify(self.ready)
