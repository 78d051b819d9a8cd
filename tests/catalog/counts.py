"""What a catalog counts, counted again from whole histories, slow and plain."""

from __future__ import annotations

from collections import Counter

from eventq.catalog.by_hand import was_asked_for
from eventq.catalog.counts import AskedChange, EndedAttempt
from eventq.catalog.record import place_of
from eventq.core.commits import Event, Unknown
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Released,
    Retried,
    Updated,
)
from eventq.core.task import TaskState, instant
from eventq.eventlog import EventLog
from eventq.replay.fold import read_all
from eventq.replay.points import Point

MINUTE_US = 60_000_000
BECAME: dict[type, TaskState] = {
    Completed: TaskState.COMPLETED,
    Failed: TaskState.FAILED,
    Released: TaskState.SCHEDULED,
    Cancelled: TaskState.CANCELLED,
}
COUNTED: dict[type, str] = {
    Created: "created",
    Leased: "started",
    Completed: "completed",
    Expired: "expired",
    Cancelled: "cancelled",
    Failed: "failed",
    Retried: "retried",
}


def known_events(log: EventLog, until: int) -> list[Event]:
    """All events up to a position, but those of a task behind one of a newer eventq."""
    strange: set[int] = set()
    found: list[Event] = []
    for _, events in read_all(log, after=0):
        for event in events:
            if type(event.body) is Unknown and not event.body.skip:
                strange.add(event.task)
            if event.seq <= until and (event.task == 0 or event.task not in strange):
                found.append(event)
    return found


def naive_attempts(log: EventLog, at: Point) -> list[EndedAttempt]:
    """All attempts that were over at a point, the last that ended first."""
    running: dict[int, Event] = {}
    found: list[EndedAttempt] = []
    untold: set[int] = set()
    for event in known_events(log, at.seq):
        body = event.body
        if type(body) is Created and body.secret:
            untold.add(event.task)
        if type(body) is Leased:
            running[event.task] = event
        elif type(body) in BECAME and event.task in running:
            lease = running.pop(event.task)
            assert type(lease.body) is Leased
            says = event.task not in untold
            found.append(
                EndedAttempt(
                    task=event.task,
                    fence=lease.seq,
                    ended_seq=event.seq,
                    node=lease.body.worker,
                    attempt=lease.body.attempt,
                    started_at=instant(lease.decided_at),
                    became=BECAME[type(body)],
                    error=body.error.type if type(body) is Failed else None,
                    message=body.error.message if type(body) is Failed and says else "",
                )
            )
    return found[::-1]


def naive_failures(log: EventLog, at: Point) -> Counter[tuple[str, str]]:
    """How many attempts have failed, by type and place of the error."""
    return Counter(
        (event.body.error.type, place_of(event.body.error.traceback))
        for event in known_events(log, at.seq)
        if type(event.body) is Failed
    )


def naive_minutes(log: EventLog) -> dict[int, Counter[str]]:
    """How many events of which kind were in each minute that had any."""
    found: dict[int, Counter[str]] = {}
    for event in known_events(log, log.head().seq):
        kind = COUNTED.get(type(event.body))
        if kind is not None:
            found.setdefault(event.decided_at // MINUTE_US, Counter())[kind] += 1
    return found


def naive_changes(log: EventLog) -> list[AskedChange]:
    """What somebody has asked for, the last first."""
    found = []
    failed: set[int] = set()
    leased: dict[int, str] = {}
    for event in known_events(log, log.head().seq):
        body, task = event.body, event.task
        is_own = task in failed
        failed.discard(task)
        holder = leased.get(task)
        if type(body) is Failed:
            failed.add(task)
        if type(body) is Leased:
            leased[task] = body.worker
        elif type(body) in BECAME:
            leased.pop(task, None)
        is_by_hand = (
            (type(body) is Updated)
            or (type(body) is Retried and not is_own and body.revived_by is None)
            or (type(body) is Cancelled and body.cause is None and not is_own and body.by != holder)
            or (type(body) is Cancelled and body.cause is None and holder is None and not is_own)
            or (task == 0 and was_asked_for(body))
            or getattr(body, "restores", None) is not None
        )
        if is_by_hand:
            said = [getattr(body, name, None) for name in ("via", "bulk", "undoes")]
            why = getattr(body, "restores", None) or body
            reason, by = getattr(why, "reason", ""), getattr(body, "by", None)
            at = instant(event.decided_at)
            found.append(AskedChange(event.seq, at, body.kind, task, by, reason, *said))
    return found[::-1]
