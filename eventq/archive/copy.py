"""Copying a log from one place to another, byte-true; it never changes what is in the source."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from eventq.errors import (
    LogConflictError,
    LogCorruptError,
    LogForeignError,
    LogUnavailableError,
)
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import read_sealed, replay
from eventq.replay.points import Point, find_end
from eventq.snapshot import compare


class CopyReport(Struct, frozen=True):
    """What `copy_log` did, in events."""

    resumed_at: int
    """The position up to which the target held the source's events already."""
    copied: int
    seq: int
    """The position the copy ends at."""
    seal: str
    """The seal there, in hexadecimal."""


def copy_log(
    source: EventLog,
    target: EventLog,
    *,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CopyReport:
    """Copies all commits the target lacks: same positions, same seals, same projection.

    A copy that broke off goes on where it was. What is appended to the source meanwhile is left
    for the next copy, so that a busy source cannot hold this one up for ever; so is what lies
    behind ``until``, where a commit must end. ``progress`` is called with the position reached and
    the last one of the copy. At the end both logs are folded and compared. Raises LogForeignError
    when the target holds anything but a beginning of the source, LogCorruptError when a seal is
    wrong, ends differ, or projections do.
    """
    if source.namespace != target.namespace:
        raise LogForeignError("a copy keeps its namespace, which its seals cover")
    head = target.head()
    if head.seq and find_end(source, Point(head.seq, head.at)) != head:
        raise LogForeignError(f"{target.url}: holds another log than {source.url}")
    resumed_at, seal = head.seq, head.seal
    after, end = resumed_at, source.head().seq if until is None else until
    for commit in read_sealed(source, after=head, until=end):
        try:
            target.append(commit)
        except LogConflictError as error:
            raise LogForeignError(f"{target.url}: somebody else appends to it") from error
        after, seal = commit.last, commit.seal
        if progress is not None:
            progress(after, end)
    if after < end:
        # It did end there a moment ago: a failover has taken back what it held.
        raise LogUnavailableError("the source has become shorter; copy again")
    _check_equal(source, target, after)
    return CopyReport(resumed_at, after - resumed_at, after, seal.hex())


def _check_equal(source: EventLog, target: EventLog, until: int) -> None:
    ours, theirs = replay(source, until=until), replay(target, until=until)
    if ours.seal != theirs.seal or theirs.seq != until:
        raise LogCorruptError(until, "source and target end differently")
    if not compare(ours, theirs).is_empty:
        raise LogCorruptError(until, "source and target fold to different projections")
