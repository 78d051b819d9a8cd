"""A log, or some of its events, as lines of text; nothing here writes to a log or a file."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from eventq.archive.redact import Redactor
from eventq.core.commits import decode_bodies, unreadable
from eventq.core.seal import genesis
from eventq.errors import LogCorruptError
from eventq.eventlog import EventLog, Head, StoredEvent
from eventq.eventlog import lines as file_lines
from eventq.replay.fold import commits_of, read_sealed, stored_of


def export_log(log: EventLog, *, redactor: Redactor | None = None) -> Iterator[bytes]:
    """The whole namespace as the lines of a log in a file, each seal checked.

    Without a redactor, what is imported from it is the same log to the byte. Ends at the position
    that is the last when it begins. Raises LogCorruptError for a wrong seal or damaged body,
    LogArchivedError where the beginning is missing.
    """
    # A refusal comes before anything else does.
    log.read(after=0, limit=1)
    yield file_lines.header(log.namespace, redacted=redactor is not None)
    end = log.head().seq
    seq, prev = 0, genesis(log.namespace)
    for commit in read_sealed(log, after=Head(seq, 0, prev), until=end):
        seq = commit.last
        if redactor is None:
            yield file_lines.to_line(commit)
            continue
        try:
            redacted = redactor.commit(commit, prev=prev)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise unreadable(commit.first, error) from error
        prev = redacted.seal
        yield file_lines.to_line(redacted)
    if seq < end:
        raise LogCorruptError(seq + 1, "no commit holds this position")


def stored_events(log: EventLog, *, after: int, until: int) -> Iterator[StoredEvent]:
    """The events behind one position up to another, as they are stored."""
    for commit in commits_of(log, after=after, until=until):
        yield from (event for event in stored_of(commit) if after < event.seq <= until)


def event_line(event: StoredEvent, *, redactor: Redactor | None = None) -> dict[str, object]:
    """One event as an object for a line: its envelope, and its body as it is stored.

    Raises LogCorruptError for a body that cannot be understood.
    """
    try:
        decode_bodies([event.body])
        body = event.body if redactor is None else redactor.body(event.body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise unreadable(event.seq, error) from error
    return {
        "seq": event.seq,
        "at": event.at,
        "task": event.task,
        "body": msgspec.Raw(body.encode()),
    }
