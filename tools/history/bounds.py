"""Limits, rates, pauses and turns, counted as the docs say it: invariant 16, and part of 7."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tools.history.facts import Body
from tools.history.nodes import fits
from tools.history.world import OPEN, BrokenError, Bucket, Task, World

# A turn of weight 1 costs this, one of weight w so much divided by w, without the remainder.
TURN = 720_720
VALUE_BYTES = 255


@dataclass
class Limit:
    """What was last said of a limit."""

    running: int | None = None
    rate: int | None = None
    per_us: int | None = None
    per: str | None = None


@dataclass
class Turns:
    """The turns of one priority: how far all have come, and each share that is ahead of that."""

    level: int = 0
    ahead: dict[str | None, int] = field(default_factory=dict)


class Bounds:
    """Who may run when."""

    def __init__(self, world: World) -> None:
        self.is_used = False
        """Whether anything can keep a task back, or takes turns."""
        self.shared: Body | None = None
        self._world = world
        self._limits: dict[str, Limit] = {"exclusive": Limit(running=1)}
        self._pauses: list[Body] = []
        self._running: Counter[Bucket] = Counter()
        self._begun: dict[Bucket, list[int]] = {}
        self._turns: dict[int, Turns] = {}

    # What is said.

    def limit(self, body: Body) -> None:
        """What a limit bears from here on."""
        self.is_used = True
        name, now = body["limit"], self._world.now
        said = Limit(*(body.get(each) for each in ("running", "rate", "per_us", "per")))
        if any(each is not None and each < 1 for each in (said.running, said.rate, said.per_us)):
            raise BrokenError(16, f"limit {name} has a bound below 1")
        if (said.rate is None) != (said.per_us is None) or name == "exclusive":
            raise BrokenError(16, f"limit {name} cannot be said so")
        before = self._limits.get(name, Limit())
        for bucket, begun in list(self._begun.items()):
            if bucket[0] == name:
                # Those that the old window had left behind are not counted by a longer one.
                left = [] if before.per_us is None else _within(begun, now, before.per_us)
                self._begun[bucket] = left if said.rate is not None else []
        self._limits[name] = said
        if said.per is not None and before.per is None:
            for task in self._world.tasks.values():
                if (name, None) in task.buckets and task.state in OPEN:
                    self.read_again(task)

    def share(self, body: Body) -> None:
        """Shares take turns from here on, and all are level; or no turns are taken any more."""
        if any(weight < 1 for weight in body.get("weights", {}).values()):
            raise BrokenError(7, "a share with a weight below 1")
        self.is_used = True
        self.shared = None if body.get("lifted") else body
        self._turns = {}
        for task in self._world.tasks.values():
            if task.state in OPEN:
                task.share = self._share_of(task)

    def pause(self, body: Body) -> None:
        """What is in the scope waits; a pause of the same scope is no more."""
        self.is_used = True
        self._pauses = [each for each in self._pauses if each["scope"] != body["scope"]]
        self._pauses.append(body)

    def resume(self, body: Body) -> None:
        """The pause of just this scope is over."""
        left = [each for each in self._pauses if each["scope"] != body["scope"]]
        if len(left) == len(self._pauses):
            raise BrokenError(7, "resumes what was not paused")
        self._pauses = left

    # What becomes of tasks.

    def place(self, task: Task) -> None:
        """The task is made or comes back: it gets its buckets and its share."""
        limits = task.made.get("limits", ())
        if limits:
            self.is_used = True
            task.buckets = self._read(task, limits)
        if self.shared is not None:
            task.share = self._share_of(task)

    def read_again(self, task: Task) -> None:
        """Its tags, or the tag of a limit, may say now what they did not: a bucket, or a share."""
        if task.state == "leased":
            self.let_go(task)
        task.buckets = self._read(task, task.buckets)
        if task.state == "leased":
            self._running.update(task.buckets)
        if self.shared is not None:
            task.share = self._share_of(task)

    def lease(self, task: Task) -> None:
        """The task is leased: its places are taken, and so is its turn."""
        now = self._world.now
        for bucket in task.buckets:
            self._running[bucket] += 1
            said = self._limits.get(bucket[0])
            if said is not None and said.rate is not None and said.per_us is not None:
                begun = self._begun.get(bucket, [])
                # What a wrong clock stamped later has not been yet.
                self._begun[bucket] = [*_within(begun, now, said.per_us), now]
        if self.shared is not None:
            self._take_turn(task)

    def let_go(self, task: Task) -> None:
        """The task is leased no more."""
        self._running.subtract(task.buckets)

    @property
    def pauses_tags(self) -> bool:
        """Whether a pause looks at tags, so that no two tasks need be alike to it."""
        return any(pause["scope"].get("tags") for pause in self._pauses)

    def keeps(self, task: Task) -> tuple[int, str] | None:
        """What keeps a task back: the invariant that speaks of it, and what it is; or nothing."""
        for pause in self._pauses:
            if self._is_on(pause) and _is_in(pause["scope"], task):
                return 7, f"task {task.number} is paused"
        for bucket in task.buckets:
            if not self._has_room(bucket):
                return 16, f"bucket {bucket} has no room for task {task.number}"
        return None

    def ahead(self, task: Task) -> int:
        """How far the task's share is ahead of the others; 0: it is level with them."""
        turns = self._turns.get(task.priority)
        return 0 if turns is None else turns.ahead.get(task.share, 0)

    def is_known(self, bucket: Bucket) -> bool:
        """Whether the bucket's limit is defined, and its value can be told."""
        said = self._limits.get(bucket[0])
        return said is not None and not (bucket[1] is None and said.per is not None)

    # How it is counted.

    def _has_room(self, bucket: Bucket) -> bool:
        if not self.is_known(bucket):
            return False
        said = self._limits[bucket[0]]
        if said.running is not None and self._running[bucket] >= said.running:
            return False
        if said.rate is None or said.per_us is None:
            return True
        begun = _within(self._begun.get(bucket, []), self._world.now, said.per_us)
        return len(begun) < said.rate

    def _is_on(self, pause: Body) -> bool:
        until = pause.get("until")
        return until is None or self._world.now < until

    def _take_turn(self, task: Task) -> None:
        assert self.shared is not None
        turns = self._turns.setdefault(task.priority, Turns())
        begin = max(turns.level, turns.ahead.get(task.share, 0))
        weight = self.shared.get("weights", {}).get(task.share, 1) if task.share else 1
        turns.level = begin
        turns.ahead[task.share] = begin + TURN // weight
        # Who has been passed is level again, so that idling gains nothing.
        turns.ahead = {share: end for share, end in turns.ahead.items() if end > begin}

    def _share_of(self, task: Task) -> str | None:
        if self.shared is None:
            return None
        own: str | None = task.made.get("share")
        per = self.shared.get("per")
        return own if own is not None or per is None else _text_of(task.tags.get(per))

    def _read(self, task: Task, buckets: Iterable[Iterable[Any]]) -> tuple[Bucket, ...]:
        """The buckets, each with the value that the task's tags have for it, once."""
        found: dict[Bucket, None] = {}
        for limit, value in buckets:
            said = self._limits.get(limit)
            if value is None and said is not None and said.per is not None:
                found[limit, _text_of(task.tags.get(said.per))] = None
            else:
                found[limit, value] = None
        return tuple(found)


def _is_in(scope: Body, task: Task) -> bool:
    """Whether a task is in the scope of a pause: it fits all that is given."""
    if scope.get("lane", task.lane) != task.lane:
        return False
    name, limit, value = scope.get("name"), scope.get("limit"), scope.get("value")
    if name is not None and (task.name is None or not fits(task.name, name)):
        return False
    if limit is not None and not any(
        bucket[0] == limit and value in {None, bucket[1]} for bucket in task.buckets
    ):
        return False
    tags = scope.get("tags", ())
    return all(tag in task.tags and _json(task.tags[tag]) == text for tag, text in tags)


def _within(instants: list[int], now: int, per_us: int) -> list[int]:
    """The instants in the window that ends now."""
    return [each for each in instants if now - per_us < each <= now]


def _text_of(value: Any) -> str | None:  # noqa: ANN401 - whatever JSON a tag holds
    """A tag's value as that of a bucket or a share; None where it cannot be one."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else _json(value)
    return text if text.isprintable() and len(text.encode()) <= VALUE_BYTES else None


def _json(value: Any) -> str:  # noqa: ANN401 - as above
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
