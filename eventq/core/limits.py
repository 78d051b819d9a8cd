"""Limits: what each bucket bears, and what is taken in it; nothing here knows lists of tasks.

Running leases are counted, and the instants of leases are kept as long as a rate looks at them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from msgspec import Struct

from eventq.core.queue_events import Limited
from eventq.core.task import Task
from eventq.core.values import Bucket

# The limit that is always there, with a bucket a value that one task holds at a time.
EXCLUSIVE = "exclusive"
# Unused buckets are looked for when there are twice as many as in the end last time; so
# are noted leases that no rate looks at any more.
FEW_BUCKETS = 1_000
FEW_NOTED = 5_000


class Limit(Struct, frozen=True, gc=False):
    """What was last said of a limit, with the position and instant at which it was."""

    said: Limited
    seq: int
    at: int


class Use(Struct):
    """What is taken in a bucket: live leases, and the instants of those that a rate looks at."""

    running: int
    instants: deque[int]


class Limits:
    """The limits by name, and the buckets in use."""

    def __init__(self) -> None:
        self.by_name: dict[str, Limit] = {}
        self.uses: dict[Bucket, Use] = {}
        self.has_rates = False
        """Whether any limit looks at the instants of leases."""
        self.by_tags: set[str] = set()
        """The limits with a bucket for each value of a tag."""
        self._most = FEW_BUCKETS
        # Leases whose instants stand in no bucket yet, see `note`.
        self._noted: list[tuple[int, tuple[Bucket, ...]]] = []
        self._most_noted = FEW_NOTED

    def apply(self, seq: int, at: int, body: Limited) -> None:
        """Folds one event; O(buckets)."""
        self._place_noted()
        before = self.said(body.limit)
        for bucket in [bucket for bucket in self.uses if bucket.limit == body.limit]:
            use = self.uses[bucket]
            if body.rate is None:
                use.instants.clear()
            elif before is not None and before.per_us is not None:
                # What was forgotten for being too old may be young enough for a longer window: so
                # that all forget the same, it is forgotten just here.
                _forget(use.instants, at - before.per_us)
            self._drop_if_free(bucket, use)
        self.by_name[body.limit] = Limit(body, seq, at)
        self._look_over()

    def said(self, name: str) -> Limited | None:
        """What a limit is; None for one that is not defined."""
        if name == EXCLUSIVE:
            return _EXCLUSIVE
        limit = self.by_name.get(name)
        return None if limit is None else limit.said

    def per_of(self, name: str) -> str | None:
        """The tag that a limit is counted by; None where there is none."""
        said = self.said(name)
        return None if said is None else said.per

    def hold(self, buckets: Iterable[Bucket], at: int) -> None:
        """A task that takes these buckets is leased."""
        for bucket in buckets:
            use = self.uses.get(bucket)
            if use is None:
                use = self._begin(bucket, at)
            use.running += 1
            if self.has_rates:
                self._keep(bucket, use, at)
            # At 0, what ended in the same commit was counted first.
            self._drop_if_free(bucket, use)

    def note(self, tasks: list[Task], at: int) -> None:
        """These are leased, while what runs is not counted: `recount` follows.

        Most instants are forgotten before they are asked for, so that they are placed in the end.
        """
        noted = self._noted
        noted += [(at, task.route.buckets) for task in tasks]
        if len(noted) >= self._most_noted:
            self._forget_noted()
            self._most_noted = max(FEW_NOTED, 2 * len(self._noted))

    def let_go(self, buckets: Iterable[Bucket]) -> None:
        """A task that takes these buckets is leased no more."""
        for bucket in buckets:
            use = self.uses.get(bucket)
            if use is None:
                use = self.uses[bucket] = Use(0, deque())
            use.running -= 1
            self._drop_if_free(bucket, use)

    def tried(self, buckets: Iterable[Bucket], at: int) -> None:
        """As `hold`, but for a while: `untried` takes it back."""
        for bucket in buckets:
            use = self.uses.get(bucket)
            if use is None:
                use = self._begin(bucket, at)
            use.running += 1
            use.instants.append(at)

    def untried(self, buckets: Iterable[Bucket]) -> None:
        """Takes the last `tried` back."""
        for bucket in buckets:
            use = self.uses[bucket]
            use.running -= 1
            use.instants.pop()
            self._drop_if_free(bucket, use)

    def running(self, bucket: Bucket) -> int:
        """How many live leases there are in the bucket."""
        use = self.uses.get(bucket)
        return 0 if use is None else use.running

    def full(self, buckets: Iterable[Bucket], now: int) -> Bucket | None:
        """The first of these that has no room; None where all have."""
        return next((bucket for bucket in buckets if not self.has_room(bucket, now)), None)

    def has_room(self, bucket: Bucket, now: int) -> bool:
        """Whether one more lease may begin in the bucket."""
        said = self.said(bucket.limit)
        if said is None or (bucket.value is None and said.per is not None):
            return False
        use = self.uses.get(bucket)
        if use is None:
            return True
        if said.running is not None and use.running >= said.running:
            return False
        return said.rate is None or _permits(use.instants, said.rate, said.per_us or 0, now)

    def taken(self, bucket: Bucket, now: int) -> int:
        """How many leases of the bucket its rate counts; O(those)."""
        said, use = self.said(bucket.limit), self.uses.get(bucket)
        if said is None or said.per_us is None or use is None:
            return 0
        return sum(now - said.per_us < at <= now for at in use.instants)

    def frees_at(self, bucket: Bucket, now: int) -> int | None:
        """When the passing of time gives the bucket room; None where it does not by itself."""
        said, use = self.said(bucket.limit), self.uses.get(bucket)
        if said is None or said.rate is None or said.per_us is None or use is None:
            return None
        if said.running is not None and use.running >= said.running:
            return None
        instants = use.instants
        if instants and instants[-1] > now:
            instants = deque(at for at in instants if at <= now)
        return instants[-said.rate] + said.per_us if len(instants) >= said.rate else None

    def instants(self, at: int) -> dict[Bucket, list[int]]:
        """The instants of leases that rates look at after this instant, by bucket."""
        self._place_noted()
        found = {}
        for bucket, use in self.uses.items():
            said = self.said(bucket.limit)
            if said is not None and said.per_us is not None:
                young = [each for each in use.instants if each > at - said.per_us]
                if young:
                    found[bucket] = young
        return found

    def restore(
        self, limits: Mapping[str, Limit], instants: Mapping[Bucket, Iterable[int]]
    ) -> None:
        """Takes over the limits, and what `instants` gave; `recount` follows."""
        self.by_name = dict(limits)
        self.uses = {bucket: Use(0, deque(each)) for bucket, each in instants.items()}
        self._look_over()

    def recount(self, leased: Iterable[Task]) -> None:
        """Counts anew what runs."""
        self._place_noted()
        self.uses = {b: Use(0, use.instants) for b, use in self.uses.items() if use.instants}
        for task in leased:
            self.count(task)
        self._most = max(FEW_BUCKETS, 2 * len(self.uses))

    def count(self, task: Task) -> None:
        """Counts one more that runs."""
        for bucket in task.route.buckets:
            self.uses.setdefault(bucket, Use(0, deque())).running += 1

    def check(self, leased: list[Task] | None) -> None:
        """Asserts that what is taken equals a recount; None while what runs is not counted."""
        assert self.has_rates == any(limit.said.rate for limit in self.by_name.values())
        if leased is None:
            return
        running: dict[Bucket, int] = {}
        for task in leased:
            for bucket in task.route.buckets:
                running[bucket] = running.get(bucket, 0) + 1
        assert {b: use.running for b, use in self.uses.items() if use.running} == running
        assert not self._noted
        for bucket, use in self.uses.items():
            assert use.running or use.instants
            assert list(use.instants) == sorted(use.instants)
            said = self.said(bucket.limit)
            assert not use.instants or (said is not None and said.rate is not None)

    def _look_over(self) -> None:
        limits = self.by_name.values()
        self.has_rates = any(limit.said.rate is not None for limit in limits)
        self.by_tags = {limit.said.limit for limit in limits if limit.said.per is not None}

    def _forget_noted(self) -> None:
        longest_us = max((limit.said.per_us or 0 for limit in self.by_name.values()), default=0)
        since = self._noted[-1][0] - longest_us
        self._noted = [each for each in self._noted if each[0] > since]

    def _place_noted(self) -> None:
        if not self._noted:
            return
        self._forget_noted()
        noted, self._noted = self._noted, []
        rated = {name for name, limit in self.by_name.items() if limit.said.rate is not None}
        for at, buckets in noted:
            for bucket in buckets:
                if bucket.limit in rated:
                    use = self.uses.get(bucket) or self._begin(bucket, at)
                    self._keep(bucket, use, at)

    def _keep(self, bucket: Bucket, use: Use, at: int) -> None:
        """Keeps the instant of a lease as long as the rate of its bucket looks at it."""
        said = self.said(bucket.limit)
        if said is None or said.rate is None or said.per_us is None:
            return
        instants = use.instants
        while instants and instants[-1] > at:
            # The clock was wrong, and its leases are of a time that has not been.
            instants.pop()
        _forget(instants, at - said.per_us)
        instants.append(at)

    def _begin(self, bucket: Bucket, at: int) -> Use:
        if self.has_rates and len(self.uses) >= self._most:
            self._tidy(at)
        use = self.uses[bucket] = Use(0, deque())
        return use

    def _tidy(self, at: int) -> None:
        """Forgets the buckets whose rate looks at no lease any more."""
        young = self.instants(at)
        self.uses = {b: use for b, use in self.uses.items() if use.running or b in young}
        self._most = max(FEW_BUCKETS, 2 * len(self.uses))

    def _drop_if_free(self, bucket: Bucket, use: Use) -> None:
        if not use.running and not use.instants:
            del self.uses[bucket]


def _permits(instants: deque[int], rate: int, per_us: int, now: int) -> bool:
    """Whether fewer than ``rate`` of these lie in the window that ends now."""
    since = now - per_us
    if instants and instants[-1] > now:
        # Where a clock was wrong: what has not been yet does not count.
        return sum(since < at <= now for at in instants) < rate
    return len(instants) < rate or instants[-rate] <= since


def _forget(instants: deque[int], until: int) -> None:
    while instants and instants[0] <= until:
        instants.popleft()


_EXCLUSIVE = Limited(EXCLUSIVE, running=1)
