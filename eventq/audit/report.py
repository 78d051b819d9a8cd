"""What a report of a period tells: what was made, what became of it, what went wrong.

Nothing here counts; see reporting.py.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.audit.signs import NodeCounts, Silence
from eventq.catalog.counts import Times

# So many of each list are kept.
MOST = 10


class Minute(Struct, frozen=True):
    """What happened in one minute."""

    at: int
    created: int
    started: int
    completed: int
    failed: int


class NameCounts(Struct, frozen=True):
    """What happened to tasks of one name."""

    name: str | None
    created: int
    completed: int
    failed: int
    """Attempts."""
    expired: int
    cancelled: int
    waited: Times
    ran: Times


class Failures(Struct, frozen=True):
    """Failures of one type that were raised in one place."""

    type: str
    place: str
    failures: int
    message: str
    last_task: str
    """The key of the last one."""
    last_at: int


class RanTwice(Struct, frozen=True):
    """An outcome that came after its lease was lost, of a task that another attempt ran, too."""

    key: str
    number: int
    name: str | None
    node: str
    """Whose outcome came late, and ..."""
    outcome: str
    at: int
    again_on: str
    """... the node that was given the task next."""


class LongWait(Struct, frozen=True):
    """A ready task that waited for an attempt, and what was leased meanwhile."""

    key: str
    number: int
    name: str | None
    ready_at: int
    waited_us: int
    leases: int
    """How many leases others were given in that time."""
    most_of: str | None
    """The name that most of these had."""
    most_leases: int


class LongRun(Struct, frozen=True):
    """An attempt that ran for long."""

    key: str
    number: int
    name: str | None
    node: str
    attempt: int
    started_at: int
    ran_us: int
    outcome: str


class HandedChange(Struct, frozen=True):
    """Something that a person did."""

    seq: int
    at: int
    kind: str
    key: str | None
    by: str | None
    via: str | None
    reason: str


class Report(Struct, frozen=True):
    """A period in numbers. Instants are microseconds, UTC."""

    after: int
    """It is of the events behind this position, and ..."""
    seq: int
    """... up to this one."""
    since: int
    until: int
    open_before: int
    open_after: int
    created: int
    started: int
    completed: int
    expired: int
    cancelled: int
    failed: int
    """Attempts, lapsed ones among them."""
    retried: int
    lapsed: int
    refused: int
    waited: Times
    ran: Times
    minutes: list[Minute]
    """Those in which something happened, oldest first."""
    names: list[NameCounts]
    """Those of which most was done first."""
    nodes: list[NodeCounts]
    silences: list[Silence]
    ran_twice: list[RanTwice]
    failures: list[Failures]
    waits: list[LongWait]
    runs: list[LongRun]
    by_hand: list[HandedChange]
    by_hand_count: int

    @property
    def busiest(self) -> list[Minute]:
        """The minutes in which most attempts began, the busiest first."""
        busy = [each for each in self.minutes if each.started]
        return sorted(busy, key=lambda each: (-each.started, each.at))[:MOST]
