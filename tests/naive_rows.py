"""Tasks and nodes of the naive model as plain rows, and what becomes one; see `naive`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from eventq.core.create import NewTask
from eventq.core.values import Policy
from eventq.errors import ArgumentError, EventqError, NotAllowedError
from tests.naive_times import wished_start


class WrongError(Exception):
    """The model expects this error of eventq."""

    def __init__(self, error: type[EventqError]) -> None:
        self.error = error
        super().__init__(error.__name__)


@dataclass
class Row:
    """One task. While it waits its state is "waiting", whether or not its instant has come.

    While it waits for other tasks, it is "blocked"; ``after`` says of each how it stands: "open",
    "failed" or "met".
    """

    number: int
    key: str | None
    priority: int
    tags: bytes
    policy: Policy
    created_at: int
    scheduled_at: int
    expires_at: int | None
    first_wish: tuple[Any, ...]
    name: str | None = None
    lane: str = "default"
    first_lane: str = "default"
    needs: tuple[str, ...] = ()
    state: str = "waiting"
    attempt: int = 0
    retries: int = 0
    fence: int = 0
    worker: str | None = None
    error: str | None = None
    result: bytes | None = None
    reason: str | None = None
    lapses: int = 0
    snoozes: int = 0
    started_at: int | None = None
    ended_at: int | None = None
    newer: tuple[int, str] | None = None
    progress: tuple[Any, ...] | None = None
    saved: bytes | None = None
    unique: str | None = None
    schedule: str | None = None
    due: int | None = None
    after: dict[int, str] = field(default_factory=dict)
    if_failed: str = "cancel"
    given: dict[str, int] = field(default_factory=dict)
    flow: int | None = None
    role: str = "member"
    cause: int | None = None
    unneeded: bool = False
    first_buckets: list[tuple[str, str | None]] = field(default_factory=list)
    """What the event that made it says."""
    buckets: list[tuple[str, str | None]] = field(default_factory=list)
    own_share: str | None = None
    share: str | None = None
    trace: str | None = None
    secret: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        return self.state in {"blocked", "waiting", "leased", "unknown"}


@dataclass
class Node:
    """What a node can run: the words of its last `joined`; how many tasks it takes a lane."""

    names: tuple[str, ...] = ()
    unnamed: bool = True
    lanes: dict[str, int] | None = None
    said: tuple[int, int] = (0, 0)

    def runs(self, row: Row) -> bool:
        """Whether it may run a task, by name, lane and needs."""
        if set(row.needs) - {"after", "limits"} or (
            self.lanes is not None and row.lane not in self.lanes
        ):
            return False
        if row.name is None:
            return self.unnamed or "*" in self.names
        return any(re.fullmatch(p.replace("*", ".*"), row.name) for p in self.names)


def new_row(order: NewTask, number: int, now: int) -> Row:
    """The row of an order; WrongError when it would never be allowed to run."""
    start = wished_start(order, now)
    age = order.policy.max_age_us
    expires_at = order.expires_at
    if expires_at is None and age is not None:
        expires_at = now + age
    runs_at = now if start is None else start
    if expires_at is not None and (expires_at <= runs_at or expires_at <= now):
        raise WrongError(ArgumentError)
    return Row(
        number=number,
        key=order.key,
        priority=order.priority,
        tags=order.tags_json,
        policy=order.policy,
        created_at=now,
        scheduled_at=runs_at,
        expires_at=expires_at,
        first_wish=(order.priority, json.loads(order.tags_json), start, expires_at, age),
        name=order.route.name,
        lane=order.route.lane or "default",
        first_lane=order.route.lane or "default",
        needs=order.route.needs,
        unique=order.unique,
        first_buckets=[(bucket.limit, bucket.value) for bucket in order.route.buckets],
        own_share=order.share,
        trace=order.trace,
        secret=order.secret,
    )


def edit_row(
    row: Row,
    *,
    priority: int | None = None,
    tags_json: bytes | None = None,
    scheduled_at: int | None = None,
    lane: str | None = None,
) -> bool:
    """Gives a waiting row what is said; returns whether that changes it."""
    if row.state not in {"waiting", "blocked"}:
        raise WrongError(NotAllowedError)
    if scheduled_at is not None and row.expires_at is not None and scheduled_at >= row.expires_at:
        raise WrongError(ArgumentError)
    before = replace(row)
    row.priority = row.priority if priority is None else priority
    row.tags = row.tags if tags_json is None else tags_json
    row.lane = row.lane if lane is None else lane
    row.scheduled_at = row.scheduled_at if scheduled_at is None else scheduled_at
    return row != before


def same_wish(order: NewTask, twin: Row) -> bool:
    """Whether an order with a taken key asks for the task that has it."""
    priority, tags, start, expires_at, age = twin.first_wish
    if (order.route.name, order.route.lane or "default") != (twin.name, twin.first_lane):
        return False
    if (order.unique, order.secret) != (twin.unique, twin.secret):
        return False
    asked = (order.priority, json.loads(order.tags_json), wished_start(order, twin.created_at))
    if asked != (priority, tags, start):
        return False
    if order.expires_at is None:
        return expires_at is None or age is not None
    return bool(order.expires_at == expires_at)
