"""The heads of the ready lists: which list may be taken from next, and which stand aside.

Only where limits, pauses or turns are used. Each list stands in a group by what was found to block
it. A group whose blocker has room is represented by its best list, and one without by none: so what
ends a block brings back one entry, whatever is behind it. That a list is blocked is found when it
would be next, and not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from itertools import count

from eventq.core.audience import Audience
from eventq.core.limits import Limits
from eventq.core.pauses import Pauses
from eventq.core.ranks import Rank, Ranks, ShortList
from eventq.core.task import Route, Task
from eventq.core.turns import Turns
from eventq.core.values import Bucket, Scope

# What keeps a list from being taken from: a bucket without room, or a pause of one.
Blocker = Bucket | Scope
# Priority first, then how far the share is ahead, then as in a rank.
TurnRank = tuple[int, int, int, int]


class Row:
    """The lists of one base and share, in groups; None is the group of what was never blocked."""

    def __init__(self, base: Base, share: str | None) -> None:
        self.base = base
        self.share = share
        self.groups: dict[Blocker | None, Ranks] = {}
        self.shut: set[Blocker] = set()
        """The groups that are not represented."""
        self.open = Ranks()
        """The best of each other group."""
        self.entry: TurnRank | None = None
        """By which the row stands among those of its base."""

    def add(self, blocker: Blocker | None, rank: Rank) -> None:
        """Puts a list into a group, by the rank of its first."""
        group = self.groups.get(blocker)
        if group is None:
            group = self.groups[blocker] = Ranks()
        before = group[0] if group else None
        group.add(rank)
        if blocker not in self.shut and rank == group[0]:
            if before is not None:
                self.open.remove(before)
            self.open.add(rank)

    def remove(self, blocker: Blocker | None, rank: Rank) -> None:
        """Takes a list out of its group."""
        group = self.groups[blocker]
        is_first = rank == group[0]
        group.remove(rank)
        if is_first and blocker not in self.shut:
            self.open.remove(rank)
            if group:
                self.open.add(group[0])
        if not group:
            del self.groups[blocker]


class Base:
    """The rows of all lists that the same nodes may run, by the turn of their best."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.rows: dict[str | None, Row] = {}
        self.entries: ShortList[TurnRank] = ShortList()


class Heads:
    """The first of each ready list, by what nodes choose by; `note` says that one has changed."""

    def __init__(
        self, tasks: Mapping[int, Task], limits: Limits, pauses: Pauses, turns: Turns
    ) -> None:
        self._tasks = tasks
        self._limits = limits
        self._pauses = pauses
        self._turns = turns
        self._bases: dict[Route, Base] = {}
        self._head: dict[Route, Rank] = {}
        self._place: dict[Route, Blocker | None] = {}
        self._row_of: dict[Route, Row] = {}
        self._shut: dict[Blocker, set[Row]] = {}
        # When time will have opened a group: stale ones do no harm.
        self._wakes: list[tuple[int, int, Blocker]] = []
        self._serial = count()

    def note(self, route: Route, ranks: Ranks | None) -> None:
        """The beginning of a list may have changed; O(log n) where it has."""
        new = ranks[0] if ranks else None
        old = self._head.get(route)
        if new == old:
            return
        row = self._row(route) if old is None else self._row_of[route]
        if old is not None:
            self._take_out(row, self._place[route], old)
        if new is None:
            del self._head[route], self._place[route], self._row_of[route]
        else:
            self._head[route], self._row_of[route] = new, row
            row.add(self._place.setdefault(route, None), new)
        self._settle(row)

    def fill(self, ready: Mapping[Route, Ranks], now: int) -> None:
        """Takes in all lists at once, each where it belongs now, so that none has to be met first.

        O(n log n) in the lists, a small part of what it costs to meet those that are blocked.
        """
        rows: dict[Row, dict[Blocker | None, list[Rank]]] = {}
        for route, ranks in ready.items():
            if ranks:
                blocker = self._place[route] = self.blocker(route, now)
                rank = self._head[route] = ranks[0]
                row = self._row_of[route] = self._row(route)
                rows.setdefault(row, {}).setdefault(blocker, []).append(rank)
        for row, groups in rows.items():
            row.groups = {blocker: Ranks(firsts) for blocker, firsts in groups.items()}
            for blocker in groups:
                if blocker is None:
                    row.open.add(row.groups[None][0])
                else:
                    self._shut_group(row, blocker, now)
            self._settle(row)

    def bases(self, audience: Audience, now: int) -> Iterator[Base]:
        """Those with lists from which an audience may be given tasks, without paused ones."""
        for route, base in self._bases.items():
            if audience.accepts(route) and self._pauses.of_base(route, now) is None:
                yield base

    def first(self, base: Base, now: int) -> TurnRank | None:
        """The best task of a base from whose list may be taken, by its turn; None: there is none.

        What is found blocked on the way stands aside from then on.
        """
        while base.entries:
            entry = base.entries[0]
            route = self._tasks[entry[3]].route
            blocker = self.blocker(route, now)
            if blocker is None:
                return entry
            self._put_aside(route, blocker, now)
        return None

    def blocker(self, route: Route, now: int) -> Blocker | None:
        """What keeps lists of this route from being taken from, beside a pause of their base."""
        if not route.buckets:
            return None
        paused = self._pauses.of_buckets(route, now)
        return self._limits.full(route.buckets, now) if paused is None else paused

    def free(self, blocker: Blocker) -> None:
        """What blocked lists may have ended; O(bases and shares) with such lists."""
        for row in self._shut.pop(blocker, ()):
            row.shut.discard(blocker)
            row.open.add(row.groups[blocker][0])
            self._settle(row)

    def turned(self, shares: Iterable[str | None]) -> None:
        """These shares have another place among others from now on; O(bases) for each."""
        for share in shares:
            for base in self._bases.values():
                row = base.rows.get(share)
                if row is not None:
                    self._settle(row)

    def advance(self, now: int) -> None:
        """Opens what time has opened."""
        while self._wakes and self._wakes[0][0] <= now:
            self.free(heappop(self._wakes)[2])

    def go_back(self) -> None:
        """Opens all that is shut: at an earlier instant a rate may count fewer leases."""
        for blocker in list(self._shut):
            self.free(blocker)

    def next_wake(self) -> int | None:
        """The next instant at which time opens what has been met."""
        while self._wakes and self._wakes[0][2] not in self._shut:
            heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def awaited(self, audience: Audience) -> bool:
        """Whether a rate alone keeps back lists that the audience may run."""
        wakes = {blocker for _, _, blocker in self._wakes if isinstance(blocker, Bucket)}
        return any(
            audience.accepts(row.base.route)
            for blocker in wakes
            for row in self._shut.get(blocker, ())
        )

    def check(self, ready: Mapping[Route, Ranks], now: int) -> None:
        """Asserts that every list stands in its place, and that what is shut is blocked."""
        assert self._head == {route: ranks[0] for route, ranks in ready.items() if ranks}
        assert self._place.keys() == self._head.keys() == self._row_of.keys()
        assert all(self._row(route) is row for route, row in self._row_of.items())
        lists: dict[tuple[Route, str | None, Blocker | None], list[Rank]] = {}
        for route, rank in self._head.items():
            key = (route.base, route.share, self._place[route])
            lists.setdefault(key, []).append(rank)
        found = {}
        for base in self._bases.values():
            assert base.rows
            assert list(base.entries) == sorted(r.entry for r in base.rows.values() if r.entry)
            for row in base.rows.values():
                assert row.entry == self._turn_rank(row)
                opened = [group[0] for key, group in row.groups.items() if key not in row.shut]
                assert list(row.open) == sorted(opened)
                for blocker, group in row.groups.items():
                    found[base.route, row.share, blocker] = list(group)
                for blocker in row.shut:
                    assert row in self._shut[blocker]
                    assert blocker in row.groups
                    assert self._still_blocks(blocker, now)
        assert found == {key: sorted(ranks) for key, ranks in lists.items()}
        assert sum(map(len, self._shut.values())) == sum(
            len(row.shut) for base in self._bases.values() for row in base.rows.values()
        )

    def _still_blocks(self, blocker: Blocker, now: int) -> bool:
        if isinstance(blocker, Bucket):
            return not self._limits.has_room(blocker, now)
        pause = self._pauses.by_scope.get(blocker)
        return pause is not None and pause.is_on(now)

    def _row(self, route: Route) -> Row:
        key = route.base
        base = self._bases.get(key)
        if base is None:
            base = self._bases[key] = Base(key)
        row = base.rows.get(route.share)
        if row is None:
            row = base.rows[route.share] = Row(base, route.share)
        return row

    def _take_out(self, row: Row, blocker: Blocker | None, rank: Rank) -> None:
        row.remove(blocker, rank)
        if blocker is not None and blocker in row.shut and blocker not in row.groups:
            row.shut.discard(blocker)
            rows = self._shut[blocker]
            rows.discard(row)
            if not rows:
                del self._shut[blocker]

    def _put_aside(self, route: Route, blocker: Blocker, now: int) -> None:
        """Puts a list into the group of what blocks it, and has the group represented no more."""
        row, rank, place = self._row_of[route], self._head[route], self._place[route]
        if place != blocker:
            self._take_out(row, place, rank)
            row.add(blocker, rank)
            self._place[route] = blocker
        if blocker not in row.shut:
            row.open.remove(row.groups[blocker][0])
            self._shut_group(row, blocker, now)
        self._settle(row)

    def _shut_group(self, row: Row, blocker: Blocker, now: int) -> None:
        row.shut.add(blocker)
        if blocker not in self._shut:
            self._shut[blocker] = set()
            self._await(blocker, now)
        self._shut[blocker].add(row)

    def _await(self, blocker: Blocker, now: int) -> None:
        if isinstance(blocker, Bucket):
            at = self._limits.frees_at(blocker, now)
        else:
            at = self._pauses.by_scope[blocker].said.until
        if at is not None:
            heappush(self._wakes, (at, next(self._serial), blocker))

    def _settle(self, row: Row) -> None:
        """Puts a row where its best belongs now."""
        base, entry = row.base, self._turn_rank(row)
        if entry != row.entry:
            if row.entry is not None:
                base.entries.remove(row.entry)
            if entry is not None:
                base.entries.add(entry)
            row.entry = entry
        if not row.groups:
            del base.rows[row.share]
            if not base.rows:
                del self._bases[base.route]

    def _turn_rank(self, row: Row) -> TurnRank | None:
        if not row.open:
            return None
        priority, at, number = row.open[0]
        return priority, self._turns.ahead_of(-priority, row.share), at, number
