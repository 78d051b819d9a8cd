"""The changes to many tasks that a log has: where each begins and ends, and how far it has come."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import UNSET, Struct

from eventq.core.commits import AnyBody, Unknown, decode_at
from eventq.core.queue_events import Bulk, BulkEnded
from eventq.core.values import BulkAction
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.replay.bulks import BULK_KINDS, is_part
from eventq.replay.fold import commits_of, stored_kind


class BulkState(Struct, frozen=True):
    """A change to many tasks as the log has it."""

    id: int
    action: BulkAction
    at: int
    """When it began, in microseconds since 1970."""
    count: int
    """Tasks that it is about."""
    changed: int
    """Tasks that it has changed so far."""
    moved_on: int | None
    """Tasks that had moved on; None where it was not finished."""
    by: str | None
    reason: str
    via: str
    undoes: int | None
    selector: str | None
    """As JSON text."""

    @property
    def is_finished(self) -> bool:
        """Whether all of it is done."""
        return self.moved_on is not None


def bulk_events(log: EventLog, *, after: int) -> Iterator[tuple[int, int, Bulk | BulkEnded]]:
    """Beginnings and ends of changes behind a position: position, instant and body."""
    for commit in commits_of(log, after=after):
        for seq, text in enumerate(commit.bodies, commit.first):
            if stored_kind(text) in BULK_KINDS and seq > after:
                [body] = decode_at(seq, [text])
                if isinstance(body, (Bulk, BulkEnded)):
                    yield seq, commit.at, body


def find_event(log: EventLog, seq: int) -> tuple[int, int, AnyBody | Unknown]:
    """The event at a position: its task, its instant and its body. Raises ArgumentError."""
    commits = log.read(after=seq - 1, limit=1) if seq > 0 else []
    if not commits or not commits[0].first <= seq <= commits[0].last:
        raise ArgumentError("position", seq, "the position of an event of this log")
    commit = commits[0]
    place = seq - commit.first
    [body] = decode_at(seq, [commit.bodies[place]])
    return commit.tasks[place], commit.at, body


def list_bulks(log: EventLog) -> list[BulkState]:
    """The changes to many tasks that the log has, oldest first; read from its whole length."""
    begun: dict[int, tuple[int, Bulk]] = {}
    ended: dict[int, BulkEnded] = {}
    for seq, at, body in bulk_events(log, after=log.start().seq):
        if isinstance(body, Bulk):
            begun[seq] = at, body
        elif body.bulk is not None:
            ended[body.bulk] = body
    return [
        _state_of(log, seq, at, body, ended.get(seq)) for seq, (at, body) in sorted(begun.items())
    ]


def _state_of(log: EventLog, seq: int, at: int, body: Bulk, ended: BulkEnded | None) -> BulkState:
    changed = ended.changed if ended is not None else _count_changed(log, seq)
    return BulkState(
        seq,
        body.action,
        at,
        body.count,
        changed,
        None if ended is None else ended.moved_on,
        body.by,
        body.reason,
        body.via,
        body.undoes,
        None if body.selector is UNSET else bytes(body.selector).decode(),
    )


def _count_changed(log: EventLog, bulk: int) -> int:
    return sum(
        is_part(seq, text, bulk)
        for commit in commits_of(log, after=bulk)
        for seq, text in enumerate(commit.bodies, commit.first)
    )
