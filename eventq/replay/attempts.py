"""The attempts that a task's history holds: each with the task as it was leased, and how it ended.

Nothing here runs anything, and nothing folds but `eventq.core.task`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct

from eventq.core.commits import Event
from eventq.core.events import Cancelled, Completed, Failed, Leased, Refused, Released
from eventq.core.moves import ENDS_LEASE, fold_events
from eventq.core.settle import CANCEL, Outcome
from eventq.core.task import Task, instant
from eventq.core.values import LAPSED, ErrorInfo

Ending = Literal["completed", "failed", "cancelled", "lapsed", "released", "called off", "running"]
# How an attempt ends by what its worker did; the other endings say nothing of the worker.
OUTCOMES = frozenset({"completed", "failed", "cancelled"})


class Ended(Struct, frozen=True):
    """How an attempt ended: in the log, or when it was run again."""

    kind: Ending
    """The last four only in a log: the node fell silent, stopped, was told to, or still runs it."""
    result_json: bytes | None = None
    result_missing: str | None = None
    error: ErrorInfo | None = None
    """Why it failed. A worker's ``Cancel`` is an error of its own type, its reason the message."""
    delay_us: int | None = None
    """The wait that a worker's ``Retry`` asked for. Only of one that was run again."""
    late: Literal["completed", "failed"] | None = None
    """What the worker came with after its lease was lost; only in a log."""


class RecordedAttempt(Struct, frozen=True):
    """One lease of a task, as the log has it."""

    task: Task
    """The task as it was leased: its tags, priority and attempt then."""
    leased_at: int
    ended: Ended
    ended_at: int | None
    """Microseconds since 1970, as ``leased_at``; None while it runs."""


class PastAttempt(Struct, frozen=True):
    """One attempt of a task: `Queue.attempts` returns them."""

    attempt: int
    """Its number; an attempt that was given back is not counted, so its number comes again."""
    fence: int
    """The position of its lease in the log."""
    node: str
    started_at: datetime
    """When it was leased."""
    ended_at: datetime | None
    """None while it runs."""
    outcome: Ending
    error: ErrorInfo | None
    late: Literal["completed", "failed"] | None
    """What its worker came with after the lease was lost: the work may have been done twice."""


def past_attempts(namespace: str, history: list[Event]) -> list[PastAttempt]:
    """All attempts that a task's history holds, oldest first."""
    return [
        _shown(attempt_of(namespace, history, lease), lease)
        for lease, _ in leases_of(history, until=None)
    ]


def leases_of(history: list[Event], *, until: int | None) -> list[tuple[Event, int]]:
    """The ``leased`` events, in order, and their attempts; one that was given back comes again."""
    return [
        (event, event.body.attempt)
        for event in history
        if type(event.body) is Leased and (until is None or event.seq <= until)
    ]


def attempt_of(namespace: str, history: list[Event], lease: Event) -> RecordedAttempt:
    """The attempt that one ``leased`` event of the history began."""
    place = history.index(lease)
    task = fold_events(namespace, history[: place + 1])
    assert task is not None, "a history with a lease is not empty"
    ended, ended_at = _ending(history[place + 1 :], lease.seq)
    return RecordedAttempt(task, lease.decided_at, ended, ended_at)


def _shown(found: RecordedAttempt, lease: Event) -> PastAttempt:
    assert found.task.worker is not None, "it has just been leased"
    return PastAttempt(
        attempt=found.task.attempt,
        fence=lease.seq,
        node=found.task.worker,
        started_at=instant(found.leased_at),
        ended_at=None if found.ended_at is None else instant(found.ended_at),
        outcome=found.ended.kind,
        error=found.ended.error,
        late=found.ended.late,
    )


def ended_as(outcome: Outcome) -> Ended:
    """An outcome in the form that endings in the log have."""
    error = outcome.error
    if outcome.kind == "cancelled":
        error = ErrorInfo(type=CANCEL, message=outcome.reason)
    return Ended(outcome.kind, outcome.result_json, outcome.result_missing, error, outcome.delay_us)


def _ending(later: list[Event], fence: int) -> tuple[Ended, int | None]:
    """How the lease ended, by the events behind it, and when."""
    late = next(
        (e.body.outcome for e in later if type(e.body) is Refused and e.body.fence == fence), None
    )
    place = next((n for n, event in enumerate(later) if event.kind in ENDS_LEASE), None)
    if place is None:
        return Ended("running"), None
    body, ended_at = later[place].body, later[place].decided_at
    if type(body) is Completed:
        result = None if body.result is UNSET else bytes(body.result)
        return Ended("completed", result, body.result_missing), ended_at
    if type(body) is Failed:
        called_off = [type(each.body) for each in later[place + 1 : place + 2]] == [Cancelled]
        lapsed = body.error.type == LAPSED
        kind: Ending = "lapsed" if lapsed else "cancelled" if called_off else "failed"
        return Ended(kind, error=body.error, late=late), ended_at
    return Ended("released" if type(body) is Released else "called off", late=late), ended_at
