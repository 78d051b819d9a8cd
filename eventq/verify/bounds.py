"""Limits, pauses and turns as the log has said them, counted anew; nothing of core's is asked.

Rule 16: at every position, the live leases of a bucket and those that began in any window keep its
bounds. Part of rule 7: nothing is leased that is paused, and shares take turns.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from eventq.core.commits import AnyRule
from eventq.core.queue_events import Limited, Paused, Shared
from eventq.core.values import Scope
from eventq.errors import shown
from eventq.verify.fitting import fits
from eventq.verify.seen import NO_LANE, BucketKey, Seen
from eventq.verify.terms import BrokenError

# The limit that needs no definition, with one place a value.
EXCLUSIVE = Limited(limit="exclusive", running=1)
# What one turn of weight 1 costs.
TURN = 720_720
LONGEST_VALUE = 255

# What keeps a task back: a bucket, or a pause.
Hold = BucketKey | Scope


class BoundsBase(Struct, frozen=True):
    """What had been said before what is looked at."""

    limits: tuple[Limited, ...] = ()
    instants: Mapping[BucketKey, tuple[int, ...]] = {}
    pauses: tuple[Paused, ...] = ()
    shared: Shared | None = None
    turns: Mapping[int, tuple[int, Mapping[str | None, int]]] = {}


class Bounds:
    """Who may run when, as the events say it."""

    def __init__(self) -> None:
        self.is_used = False
        """Whether anything was said, or a task takes a place: else all of this is idle."""
        self.limits: dict[str, Limited] = {"exclusive": EXCLUSIVE}
        self.pauses: dict[Scope, int | None] = {}
        """Until when each is; None: until it is resumed."""
        self.shared: Shared | None = None
        self._running: dict[BucketKey, int] = {}
        self._begun: dict[BucketKey, deque[int]] = {}
        # By priority: how far its turns have come, and how far each share is that is ahead.
        self._level: dict[int, int] = {}
        self._ahead: dict[int, dict[str | None, int]] = {}

    def begin(self, base: BoundsBase) -> None:
        """Takes over what was said before."""
        self.limits |= {said.limit: said for said in base.limits}
        self.pauses = {said.scope: said.until for said in base.pauses}
        self.shared = base.shared
        self._begun = {bucket: deque(each) for bucket, each in base.instants.items()}
        for priority, (level, ahead) in base.turns.items():
            self._level[priority], self._ahead[priority] = level, dict(ahead)
        self.is_used = bool(base.limits or base.pauses or base.shared)

    def place(self, task: Seen, buckets: Iterable[BucketKey]) -> None:
        """Gives a task that is made or brought back its buckets and its share."""
        found = {self._bucket(bucket, task.tags) for bucket in buckets}
        task.buckets = tuple(sorted(found, key=lambda each: (each[0], each[1] or "")))
        self.is_used = self.is_used or bool(found)
        if self.shared is not None:
            self._share(task)

    def say(self, at: int, body: AnyRule, tasks: Mapping[int, Seen]) -> None:
        """Takes in what is said from here on. Raises BrokenError for what cannot be said."""
        self.is_used = True
        if isinstance(body, Limited):
            self._limit(at, body, tasks)
        elif isinstance(body, Shared):
            if any(weight < 1 for weight in body.weights.values()):
                raise BrokenError("share", "a share with a weight below 1")
            self.shared = None if body.lifted else body
            self._level, self._ahead = {}, {}
            for task in tasks.values():
                self._share(task)
        elif isinstance(body, Paused):
            self.pauses[body.scope] = body.until
        elif self.pauses.pop(body.scope, 0) == 0:
            raise BrokenError("pause", "resumes what was not paused")

    def pass_by(self, at: int) -> list[Scope]:
        """Time has come to here: returns the pauses that have ended by themselves.

        They have ended for good, also where time goes back afterwards.
        """
        over = [scope for scope, until in self.pauses.items() if until is not None and until <= at]
        for scope in over:
            del self.pauses[scope]
        return over

    def is_paused(self, name: str | None, lane: str, at: int) -> bool:
        """Whether all tasks of a name and lane are paused."""
        return any(
            self._is_on(scope, at) and _about(scope, name, lane)
            for scope in self.pauses
            if scope.limit is None and not scope.tags
        )

    def hold(self, task: Seen, at: int) -> Hold | None:
        """What keeps a task back, beside a pause of its name and lane; None: nothing does."""
        for scope in self.pauses:
            if (scope.limit is not None or scope.tags) and self._is_on(scope, at):
                if not _about(scope, task.name, task.lane) or not _of_bucket(scope, task.buckets):
                    continue
                tags = json.loads(task.tags) if scope.tags else {}
                if all(name in tags and _text(tags[name]) == text for name, text in scope.tags):
                    return scope
        return next((bucket for bucket in task.buckets if not self.has_room(bucket, at)), None)

    def is_open(self, hold: Hold, at: int) -> bool:
        """Whether what kept a task back does so no more."""
        if isinstance(hold, Scope):
            return not (hold in self.pauses and self._is_on(hold, at))
        return self.has_room(hold, at)

    def opens_at(self, hold: Hold, at: int) -> int | None:
        """When time alone opens it; None where it does not."""
        if isinstance(hold, Scope):
            return self.pauses.get(hold)
        said, begun = self.limits.get(hold[0]), self._begun.get(hold)
        if said is None or not begun or said.rate is None or said.per_us is None:
            return None
        come = [each for each in begun if each <= at]
        return come[-said.rate] + said.per_us if len(come) >= said.rate else None

    def has_room(self, bucket: BucketKey, at: int) -> bool:
        """Whether one more lease keeps the bounds of a bucket."""
        said = self.limits.get(bucket[0])
        if said is None or (bucket[1] is None and said.per is not None):
            return False
        if said.running is not None and self._running.get(bucket, 0) >= said.running:
            return False
        begun = self._begun.get(bucket)
        if begun is None or said.rate is None or said.per_us is None:
            return True
        since = at - said.per_us
        if len(begun) < said.rate or (begun[-1] <= at and begun[-said.rate] <= since):
            return True
        return sum(since < each <= at for each in begun) < said.rate

    def ahead(self, priority: int, share: str | None) -> int:
        """How far a share is ahead; 0 for one that is level with the others."""
        return self._ahead.get(priority, {}).get(share, 0)

    def lease(self, task: Seen, at: int) -> None:
        """The task is leased. Raises BrokenError where it should not be, once it is counted."""
        problem = None
        if self.is_paused(task.name, task.lane, at):
            problem = "pause", "leased while it is paused"
        elif (hold := self.hold(task, at)) is not None:
            if isinstance(hold, Scope):
                problem = "pause", "leased while it is paused"
            else:
                problem = "limit", f"leased without room in limit {shown(hold[0])}"
        for bucket in task.buckets:
            self._running[bucket] = self._running.get(bucket, 0) + 1
            said = self.limits.get(bucket[0])
            if said is not None and said.rate is not None and said.per_us is not None:
                begun = self._begun.setdefault(bucket, deque())
                while begun and begun[-1] > at:
                    begun.pop()
                while begun and begun[0] <= at - said.per_us:
                    begun.popleft()
                begun.append(at)
        if self.shared is not None:
            self._turn(task)
        if problem is not None:
            raise BrokenError(*problem)

    def let_go(self, task: Seen) -> None:
        """The task is leased no more."""
        for bucket in task.buckets:
            self._running[bucket] -= 1
            if not self._running[bucket]:
                del self._running[bucket]

    def count(self, task: Seen) -> None:
        """A task that was leased before what is looked at."""
        for bucket in task.buckets:
            self._running[bucket] = self._running.get(bucket, 0) + 1

    def _turn(self, task: Seen) -> None:
        assert self.shared is not None, "turns are taken"
        ahead = self._ahead.setdefault(task.priority, {})
        start = max(self._level.get(task.priority, 0), ahead.get(task.share, 0))
        weight = 1 if task.share is None else self.shared.weights.get(task.share, 1)
        self._level[task.priority] = start
        ahead[task.share] = start + TURN // weight
        for share in [share for share, finish in ahead.items() if finish <= start]:
            del ahead[share]

    def _limit(self, at: int, body: Limited, tasks: Mapping[int, Seen]) -> None:
        _check(body)
        before = self.limits.get(body.limit)
        for bucket in [bucket for bucket in self._begun if bucket[0] == body.limit]:
            begun = self._begun[bucket]
            while begun and before and before.per_us and begun[0] <= at - before.per_us:
                begun.popleft()
            if body.rate is None or not begun:
                del self._begun[bucket]
        self.limits[body.limit] = body
        if body.per is not None and (before is None or before.per is None):
            for task in tasks.values():
                if any(limit == body.limit and value is None for limit, value in task.buckets):
                    self._replace(task)

    def _replace(self, task: Seen) -> None:
        """Gives a task the values that its buckets have now."""
        if task.state == "leased":
            self.let_go(task)
        self.place(task, task.buckets)
        if task.state == "leased":
            self.count(task)

    def _bucket(self, bucket: BucketKey, tags: bytes) -> BucketKey:
        said = self.limits.get(bucket[0])
        if bucket[1] is not None or said is None or said.per is None:
            return bucket
        return bucket[0], _value(json.loads(tags).get(said.per))

    def _share(self, task: Seen) -> None:
        if self.shared is None:
            task.share = None
        elif task.own_share is not None or self.shared.per is None:
            task.share = task.own_share
        else:
            task.share = _value(json.loads(task.tags).get(self.shared.per))

    def _is_on(self, scope: Scope, at: int) -> bool:
        until = self.pauses[scope]
        return until is None or at < until


def _check(body: Limited) -> None:
    """Raises BrokenError for a limit that eventq does not write."""
    if any(bound is not None and bound < 1 for bound in (body.running, body.rate, body.per_us)):
        raise BrokenError("limit", "a bound below 1")
    if (body.rate is None) != (body.per_us is None):
        raise BrokenError("limit", "a rate without a window, or a window without a rate")
    if body.limit == EXCLUSIVE.limit:
        raise BrokenError("limit", "the limit that is always there was changed")


def _about(scope: Scope, name: str | None, lane: str) -> bool:
    if scope.lane is not None and scope.lane != (lane or NO_LANE):
        return False
    return scope.name is None or (name is not None and fits(name, scope.name))


def _of_bucket(scope: Scope, buckets: Iterable[BucketKey]) -> bool:
    if scope.limit is None:
        return True
    return any(b[0] == scope.limit and scope.value in {None, b[1]} for b in buckets)


def _text(value: Any) -> str:  # noqa: ANN401 - whatever JSON a tag holds
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)


def _value(value: Any) -> str | None:  # noqa: ANN401 - as above
    """A tag's value as the name of a bucket or share; None where it cannot be one."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else _text(value)
    return text if text.isprintable() and len(text.encode()) <= LONGEST_VALUE else None
