"""What a catalog tells in numbers, as its answers have it; nothing here asks, or knows a file."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from eventq.core.task import TaskState

Span = Literal["minute", "hour"]


class Times(Struct, frozen=True):
    """How times are spread, in microseconds, each to a fifth; None where there are none."""

    count: int
    median: int | None
    p95: int | None
    p99: int | None


class SpanCounts(Struct, frozen=True):
    """What happened in a minute or an hour, from an instant on."""

    at: datetime
    created: int
    started: int
    """Attempts that began."""
    completed: int
    expired: int
    cancelled: int
    failed: int
    """Attempts that failed."""
    retried: int
    waited: Times
    ran: Times
    oldest_ready_us: int | None
    """For how long the oldest ready task had been ready at its end; None without one."""


class WholeMinutes(Struct, frozen=True):
    """The minutes that had passed at a point; what came behind them is not in them."""

    spans: list[SpanCounts]
    """Without ``oldest_ready_us``."""
    until: int
    """The instant at which the last of them ended, in microseconds."""
    seq: int
    """The position of the last event in them: those up to the point come behind it."""


class ErrorGroup(Struct, frozen=True):
    """Failures of one type that were raised in one place."""

    type: str
    place: str
    failures: int
    tasks: int
    """A task is counted once for each message that it met."""
    first_at: datetime
    last_at: datetime
    last_task: int
    """The newest task among these."""
    message: str
    """One of the messages."""


class EndedAttempt(Struct, frozen=True):
    """An attempt that is over: its lease, and what became of its task."""

    task: int
    fence: int
    ended_seq: int
    node: str
    attempt: int
    started_at: datetime
    became: TaskState
    """Scheduled for one that was given back."""
    error: str | None
    message: str


class AskedChange(Struct, frozen=True):
    """Something that a person or a program has asked for."""

    seq: int
    at: datetime
    kind: str
    task: int
    """0 for what is about the whole queue."""
    by: str | None
    reason: str
    via: str | None
    bulk: int | None
    undoes: int | None
