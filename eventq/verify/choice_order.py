"""Which task must run next where limits, pauses or turns are used; it reads no log.

Tasks that are kept back stand aside in heaps of what keeps them. Of each that is open again, the
best one comes back, and the next when that one has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from eventq.verify.bounds import Bounds, Hold
from eventq.verify.seen import Choice, Entry, Seen, entry_of, is_due

Place = tuple[str | None, str, tuple[str, ...]]
Ranked = tuple[int, int, int, int]


class _Pile:
    """The ready tasks of one place and share."""

    def __init__(self) -> None:
        self.ready: list[tuple[Entry, int]] = []
        self.aside: dict[Hold, list[Entry]] = {}
        self.opened: set[Hold] = set()
        """Of these a task may come back."""


class GovernedOrder:
    """The pending tasks whose instant has come, by place (name, lane, needs) and by share."""

    def __init__(
        self, tasks: dict[int, Seen], bounds: Bounds, wait: Callable[[Seen], None]
    ) -> None:
        self._tasks = tasks
        self._bounds = bounds
        self._wait = wait
        self._piles: dict[Place, dict[str | None, _Pile]] = {}
        self._keeping: dict[Hold, set[_Pile]] = {}
        self._opening: list[tuple[int, int, Hold]] = []
        # What a task that has come back was kept by, by a number of its entry.
        self._origin: dict[int, tuple[_Pile, Hold]] = {}
        self._serial = 0
        self._expired: list[Seen] = []

    def add(self, task: Seen) -> None:
        """A ready task has a place."""
        self._push(self._pile(task), entry_of(task))

    def open(self, hold: Hold) -> None:
        """What kept tasks back may do so no more."""
        for pile in self._keeping.pop(hold, ()):
            pile.opened.add(hold)

    def open_all(self) -> None:
        """Anything that kept tasks back may do so no more."""
        for hold in list(self._keeping):
            self.open(hold)

    def first(self, now: int, choices: Iterable[Choice]) -> int | None:
        """The number of the task that must run next, among those of any of the choices."""
        while self._opening and self._opening[0][0] <= now:
            self.open(heappop(self._opening)[2])
        chosen = list(choices)
        best: Ranked | None = None
        for (name, lane, needs), piles in self._piles.items():
            if not any(choice.takes(name, lane, needs) for choice in chosen):
                continue
            if self._bounds.is_paused(name, lane, now):
                continue
            for share, pile in piles.items():
                entry = self._best(pile, now)
                if entry is None:
                    continue
                ahead = self._bounds.ahead(-entry[0], share)
                ranked = (entry[0], ahead, entry[1], entry[2])
                if best is None or ranked < best:
                    best = ranked
        return None if best is None else best[3]

    def bring_back(self) -> None:
        """Time goes back: what was past its expiry may not be so any more, nor a rate used up."""
        self.open_all()
        late, self._expired = self._expired, []
        for task in late:
            if task.number in self._tasks and task.edition:
                self.add(task)

    def _best(self, pile: _Pile, now: int) -> Entry | None:
        """The best of a pile that nothing keeps back."""
        while True:
            self._take_back(pile, now)
            if not pile.ready:
                return None
            entry, _ = pile.ready[0]
            task = self._tasks.get(entry[2])
            if task is None or task.edition != entry[3]:
                self._pop(pile)
            elif not is_due(task, now):
                self._pop(pile)
                self._wait(task)
            elif task.expires_at is not None and task.expires_at <= now:
                self._pop(pile)
                self._expired.append(task)
            elif (hold := self._bounds.hold(task, now)) is None:
                return entry
            else:
                self._pop(pile)
                self._keep(pile, hold, entry, now)

    def _take_back(self, pile: _Pile, now: int) -> None:
        """Has the best come back of what is kept by nothing any more."""
        while pile.opened:
            hold = pile.opened.pop()
            aside = pile.aside.get(hold, [])
            while aside and not self._is_current(aside[0]):
                heappop(aside)
            if not aside:
                pile.aside.pop(hold, None)
            elif self._bounds.is_open(hold, now):
                serial = self._push(pile, heappop(aside))
                self._origin[serial] = pile, hold
            else:
                self._watch(pile, hold, now)

    def _keep(self, pile: _Pile, hold: Hold, entry: Entry, now: int) -> None:
        heappush(pile.aside.setdefault(hold, []), entry)
        self._watch(pile, hold, now)

    def _watch(self, pile: _Pile, hold: Hold, now: int) -> None:
        piles = self._keeping.setdefault(hold, set())
        if pile not in piles:
            piles.add(pile)
            at = self._bounds.opens_at(hold, now)
            if at is not None:
                self._serial += 1
                heappush(self._opening, (at, self._serial, hold))

    def _push(self, pile: _Pile, entry: Entry) -> int:
        self._serial += 1
        heappush(pile.ready, (entry, self._serial))
        return self._serial

    def _pop(self, pile: _Pile) -> None:
        _, serial = heappop(pile.ready)
        origin = self._origin.pop(serial, None)
        if origin is not None:
            # The next of those that were kept with it may come.
            origin[0].opened.add(origin[1])

    def _is_current(self, entry: Entry) -> bool:
        task = self._tasks.get(entry[2])
        return task is not None and task.edition == entry[3]

    def _pile(self, task: Seen) -> _Pile:
        piles = self._piles.setdefault((task.name, task.lane, task.needs), {})
        pile = piles.get(task.share)
        if pile is None:
            pile = piles[task.share] = _Pile()
        return pile
