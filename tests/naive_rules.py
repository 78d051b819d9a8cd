"""Who may run when, for the naive model: limits, pauses and turns as plain lists, recounted always.

Written from the design's words; it borrows nothing from the code that it is compared with.
"""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass, field
from typing import Any

from tests.naive_rows import Row

COST = 720_720


@dataclass
class Bound:
    """What a limit bears."""

    running: int | None = None
    rate: int | None = None
    per_us: int | None = None
    per: str | None = None


@dataclass
class NaiveRules:
    """What was said of limits, pauses and turns, and the leases that rates look at."""

    bounds: dict[str, Bound] = field(default_factory=lambda: {"exclusive": Bound(1)})
    begun: list[tuple[Any, int]] = field(default_factory=list)
    pauses: dict[Any, int | None] = field(default_factory=dict)
    shared: tuple[str | None, dict[str, int]] | None = None
    level: dict[int, int] = field(default_factory=dict)
    ahead: dict[int, dict[str | None, int]] = field(default_factory=dict)

    def place(self, row: Row, buckets: Any) -> None:  # noqa: ANN401
        """Gives a task that is made or brought back its buckets and its share."""
        found = set()
        for limit, value in buckets:
            bound = self.bounds.get(limit)
            if value is None and bound is not None and bound.per is not None:
                found.add((limit, text_of(row.tags, bound.per)))
            else:
                found.add((limit, value))
        row.buckets = sorted(found, key=lambda b: (b[0], b[1] or ""))
        self.share(row)

    def share(self, row: Row) -> None:
        """Gives a task the share that it has now."""
        if self.shared is None:
            row.share = None
        elif row.own_share is not None or self.shared[0] is None:
            row.share = row.own_share
        else:
            row.share = text_of(row.tags, self.shared[0])

    def lacks(self, tags: bytes, buckets: Any) -> bool:  # noqa: ANN401
        """Whether a task would lack the tag that one of its limits is counted by."""
        pers = [
            self.bounds[limit].per for limit, v in buckets if v is None and limit in self.bounds
        ]
        return any(per is not None and text_of(tags, per) is None for per in pers)

    def limit(self, name: str, bound: Bound, rows: list[Row], now: int) -> None:
        """A limit is set, changed or lifted."""
        before = self.bounds.get(name)
        if bound.rate is None:
            self.begun = [each for each in self.begun if each[0][0] != name]
        elif before is not None and before.per_us is not None:
            since = now - before.per_us
            self.begun = [each for each in self.begun if each[0][0] != name or each[1] > since]
        self.bounds[name] = bound
        if bound.per is not None and (before is None or before.per is None):
            for row in rows:
                if (name, None) in row.buckets:
                    self.place(row, row.buckets)

    def has_room(self, row: Row, rows: list[Row], now: int) -> bool:
        """Whether each of its buckets bears one more."""
        for limit, value in row.buckets:
            bound = self.bounds.get(limit)
            if bound is None or (value is None and bound.per is not None):
                return False
            held = sum(r.state == "leased" and (limit, value) in r.buckets for r in rows)
            if bound.running is not None and held >= bound.running:
                return False
            if bound.rate is not None and bound.per_us is not None:
                since = now - bound.per_us
                recent = [at for b, at in self.begun if b == (limit, value) and since < at <= now]
                if len(recent) >= bound.rate:
                    return False
        return True

    def is_paused(self, row: Row, now: int) -> bool:
        """Whether a pause that goes on is about it."""
        tags = json.loads(row.tags)
        for scope, until in self.pauses.items():
            if until is not None and until <= now:
                continue
            if scope.lane not in {None, row.lane}:
                continue
            if scope.name and (row.name is None or not fnmatch.fnmatch(row.name, scope.name)):
                continue
            if scope.limit and not any(
                limit == scope.limit and scope.value in {None, value}
                for limit, value in row.buckets
            ):
                continue
            if all(name in tags and tags[name] == json.loads(text) for name, text in scope.tags):
                return True
        return False

    def ranked(self, rows: list[Row]) -> list[Row]:
        """These tasks in the order in which they would be next."""
        return sorted(
            rows,
            key=lambda row: (
                -row.priority,
                self.ahead.get(row.priority, {}).get(row.share, 0),
                row.scheduled_at,
                row.number,
            ),
        )

    def might_precede(self, other: Row, row: Row) -> bool:
        """Whether a task that has just become ready might be next instead of one that is chosen."""
        if self.shared is not None:
            return other.priority >= row.priority
        return self.ranked([row, other])[0] is other

    def lease(self, row: Row, now: int) -> None:
        """A task is leased."""
        for bucket in row.buckets:
            bound = self.bounds.get(bucket[0])
            if bound is not None and bound.rate is not None:
                self.begun.append((bucket, now))
        if self.shared is not None:
            ahead = self.ahead.setdefault(row.priority, {})
            start = max(self.level.get(row.priority, 0), ahead.get(row.share, 0))
            ahead[row.share] = start + COST // self.shared[1].get(row.share or "", 1)
            self.level[row.priority] = start
            for share, finish in list(ahead.items()):
                if finish <= start:
                    del ahead[share]

    def turns(self, per: str | None, weights: dict[str, int], rows: list[Row]) -> None:
        """Turns are set; all are level."""
        self.shared = per, weights
        self.level, self.ahead = {}, {}
        for row in rows:
            self.share(row)

    def no_turns(self, rows: list[Row]) -> None:
        """Turns are lifted."""
        self.shared, self.level, self.ahead = None, {}, {}
        for row in rows:
            self.share(row)


def text_of(tags: bytes, name: str) -> str | None:
    """A tag's value as text."""
    value = json.loads(tags).get(name)
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
