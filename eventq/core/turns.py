"""Turns: which share comes next among tasks of equal priority, by weights and by what it has had.

Start-time fair queueing over leases, in whole numbers: Goyal, Vin and Cheng, 1996. A share that is
idle falls behind no further than the others have come, so that idling gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Raw, Struct
from sortedcontainers import SortedList

from eventq.core.queue_events import Shared
from eventq.core.tag_texts import TagTexts
from eventq.core.task import Task

# What a lease of weight 1 costs: divisible by all weights up to 16, so that these are exact.
LEASE_COST = 720_720
MOST_WEIGHT = 1_000
# Shares that are level again are looked for when there are twice as many as in the end last time.
FEW_SHARES = 1_000


class TurnState(NamedTuple):
    """How far one priority has come, and the shares that are ahead of that, with how far they are.

    A share that is not ahead is level with all others, and is not kept.
    """

    level: int
    ahead: dict[str | None, int]


class Taken(Struct, frozen=True):
    """What a turn has changed, so that it can be taken back."""

    priority: int
    share: str | None
    level: int
    before: int | None
    dropped: dict[str | None, int]


class _Priority:
    """The turns of one priority."""

    def __init__(self, level: int = 0, ahead: Mapping[str | None, int] | None = None) -> None:
        self.level = level
        self.ahead = dict(ahead or {})
        self.most = FEW_SHARES
        # By how far they are; a share is made a tuple, since None has no order.
        self.sorted: SortedList[tuple[int, tuple[str, ...]]] = SortedList()
        self.tidy()

    def tidy(self) -> None:
        """Forgets the shares that are level, and sorts the others."""
        self.ahead = {share: f for share, f in self.ahead.items() if f > self.level}
        self.most = max(FEW_SHARES, 2 * len(self.ahead))
        self.sorted = SortedList((finish, _key(share)) for share, finish in self.ahead.items())


NO_TURN = _Priority()


class Turns:
    """Whose turn it is, while turns are taken."""

    def __init__(self) -> None:
        self.shared: Shared | None = None
        """What was last said of it; None, or lifted: no turns are taken."""
        self._priorities: dict[int, _Priority] = {}
        self._texts: TagTexts | None = None
        # Those that `note` has left with shares that are level again.
        self._untidy: dict[int, _Priority] = {}
        self._costs: dict[str, int] = {}

    @property
    def is_on(self) -> bool:
        """Whether turns are taken."""
        return self.shared is not None and not self.shared.lifted

    def apply(self, body: Shared) -> None:
        """Folds one event; all shares are level then."""
        self._say(body, {})

    def share_of(self, own: str | None, tags_json: bytes | Raw) -> str | None:
        """The share of a task with this share of its own and these tags."""
        if self.shared is None or self.shared.lifted:
            return None
        if own is not None or self._texts is None:
            return own
        return self._texts.of(tags_json)

    def ahead_of(self, priority: int, share: str | None) -> int:
        """How far the share is ahead in a priority; 0 where it is level with those that wait."""
        turn = self._priorities.get(priority)
        return 0 if turn is None else turn.ahead.get(share, 0)

    def take(self, priority: int, share: str | None) -> Taken:
        """A task of the share is leased; what has changed. O(log n), amortised."""
        turn = self._priorities.get(priority)
        if turn is None:
            turn = self._priorities[priority] = _Priority()
        before, level = turn.ahead.get(share), turn.level
        start = level if before is None else before
        if before is not None:
            turn.sorted.remove((before, _key(share)))
        turn.level = start
        finish = turn.ahead[share] = start + self._cost(share)
        turn.sorted.add((finish, _key(share)))
        dropped: dict[str | None, int] = {}
        while turn.sorted[0][0] <= start:
            _, key = turn.sorted.pop(0)
            passed = key[0] if key else None
            dropped[passed] = turn.ahead.pop(passed)
        return Taken(priority, share, level, before, dropped)

    def note(self, tasks: Iterable[Task]) -> None:
        """As `take` for each of these, while it is not asked who is ahead: `tidy` follows."""
        priority, turn = None, NO_TURN
        cost_of = self._costs.get
        for task in tasks:
            if task.priority != priority:
                priority = task.priority
                turn = self._untidy.get(priority) or self._begin_untidy(priority)
            share, ahead = task.route.share, turn.ahead
            # As `max`, which costs more than all else here.
            start = ahead.get(share, 0)
            if start < turn.level:  # noqa: PLR1730
                start = turn.level
            turn.level = start
            ahead[share] = start + cost_of(share or "", LEASE_COST)
            if len(ahead) >= turn.most:
                turn.tidy()

    def tidy(self) -> None:
        """Forgets the shares that are level, and sorts the others; O(n log n)."""
        for turn in self._untidy.values():
            turn.tidy()
        self._untidy = {}

    def take_back(self, taken: Taken) -> None:
        """Undoes the last `take`."""
        turn = self._priorities[taken.priority]
        turn.sorted.remove((turn.ahead.pop(taken.share), _key(taken.share)))
        turn.level = taken.level
        back = dict(taken.dropped)
        if taken.before is not None:
            back[taken.share] = taken.before
        for share, finish in back.items():
            turn.ahead[share] = finish
            turn.sorted.add((finish, _key(share)))
        if not turn.ahead:
            del self._priorities[taken.priority]

    def by_priority(self) -> dict[int, TurnState]:
        """How far each priority has come, and who is ahead of that."""
        self.tidy()
        return {p: TurnState(turn.level, dict(turn.ahead)) for p, turn in self._priorities.items()}

    def rebuild(self, shared: Shared | None, priorities: Mapping[int, TurnState]) -> None:
        """Takes over what `by_priority` gave."""
        self._say(shared, {p: _Priority(*turn) for p, turn in priorities.items()})

    def check(self) -> None:
        """Asserts that only shares that are ahead are kept, and their order."""
        self.tidy()
        assert self.is_on or not self._priorities
        for turn in self._priorities.values():
            assert turn.ahead
            assert all(finish > turn.level for finish in turn.ahead.values())
            assert list(turn.sorted) == sorted((f, _key(s)) for s, f in turn.ahead.items())

    def _begin_untidy(self, priority: int) -> _Priority:
        turn = self._priorities.setdefault(priority, _Priority())
        self._untidy[priority] = turn
        return turn

    def _say(self, shared: Shared | None, priorities: dict[int, _Priority]) -> None:
        self.shared = shared
        self._priorities, self._untidy = priorities, {}
        weights = {} if shared is None else shared.weights
        self._costs = {share: LEASE_COST // weight for share, weight in weights.items()}
        per = None if shared is None else shared.per
        self._texts = None if per is None else TagTexts(per)

    def _cost(self, share: str | None) -> int:
        return self._costs.get(share or "", LEASE_COST)


def _key(share: str | None) -> tuple[str, ...]:
    return () if share is None else (share,)
