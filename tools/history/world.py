"""What the log has told so far: its tasks, and when it is. Nothing here judges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tools.history.facts import Body, Report

OPEN = frozenset({"waiting", "pending", "leased", "failed"})
FINAL = frozenset({"completed", "expired", "cancelled"})
# The lane of a task that says none.
NO_LANE = "default"
# The needs that this version of eventq has; nobody who lacks a word runs the task.
WORDS = frozenset({"after", "limits"})

Bucket = tuple[str, str | None]
Rank = tuple[int, int, int]


class BrokenError(Exception):
    """The event cannot have happened, so that nothing can be said of its task any more."""

    def __init__(self, invariant: int | str, text: str) -> None:
        self.invariant = invariant
        self.text = text
        super().__init__(text)


@dataclass(slots=True, eq=False)
class Task:
    """One task. ``made`` is its `created` event, which a reopening has to bring back.

    ``state`` is waiting, pending, leased, failed, one of the final ones, or "lost": a newer eventq
    or a broken event has touched it. Then it ``is_lost`` for good, and not judged any more.
    """

    number: int
    made: Body
    created_at: int
    scheduled_at: int
    expires_at: int | None
    priority: int
    policy: Body
    tags: Body
    name: str | None
    lane: str
    is_foreign: bool
    state: str = "pending"
    is_lost: bool = False
    attempt: int = 0
    """Leases, less those given back."""
    leases: int = 0
    given_back: int = 0
    retries: int = 0
    """All three since it was created or last reopened."""
    lapses: int = 0
    """In a row."""
    snoozes: int = 0
    fence: int = 0
    worker: str | None = None
    failure: Body | None = None
    """The `failed` event that the next one about the task must follow."""
    last_error: Body | None = None
    saved: list[Any] = field(default_factory=list)
    """Nothing, or the one value that its attempts saved last."""
    after: dict[int, str] = field(default_factory=dict)
    """How what it comes after stands: open, met, failed or waived."""
    cause: int | None = None
    """The task whose end has cancelled it."""
    ended_seq: int = 0
    reopened_seq: int = 0
    skipped: set[int] = field(default_factory=set)
    """What its own coming back has left cancelled."""
    buckets: tuple[Bucket, ...] = ()
    share: str | None = None
    rank: Rank | None = None
    """Its place among those whose instant has come."""
    refused: set[int] = field(default_factory=set)
    fences: list[int] = field(default_factory=list)
    last_seq: int = 0
    """Of its last event that has changed it."""
    was: tuple[int, Body, Body] | None = None
    """The last event that may be taken back: where, what the task was before, and its body."""
    end: tuple[Any, ...] | None = None
    """How it ended last: why, by which other task, and when."""


class World:
    """What all parts of the checker look at."""

    def __init__(self, report: Report) -> None:
        self.tasks: dict[int, Task] = {}
        self.report = report
        self.now = 0
        """The instant that the commit at hand was decided by."""
        self.least_now = 0
        """The clock of whoever has decided it showed no less than this."""
        self.true_at: int | None = None
        """When it was really appended, where somebody knows."""
        self.last = 0
        """The last position of the commit at hand."""
