"""A fork: a new log that is the past of another up to a point; the source is only read."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from eventq.archive.copy import copy_log
from eventq.errors import ArgumentError, LogForeignError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_end


class ForkReport(Struct, frozen=True):
    """What `fork` did."""

    asked: int
    """The position asked for."""
    seq: int
    """The position the fork ends at: the end of a commit, at or before the one asked for."""
    at: int
    """The instant of the fork's last event, in microseconds since 1970."""
    seal: str
    """The seal there, in hexadecimal; the source has the same one at this position."""


def fork(
    source: EventLog,
    point: Point,
    target: EventLog,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> ForkReport:
    """Makes the empty target the source's past: the same positions, instants, seals and bytes.

    What was running then is leased in the fork, by nodes that are not there: these leases lapse by
    the log's time, as after a crash. A commit is all or none, so a point inside one takes the
    commits before it. ``progress`` is called as by `copy_log`, which also folds both logs at the
    end and compares them. Raises ArgumentError when no commit ends at or before the point,
    LogForeignError when the target holds anything, in this namespace or another, LogCorruptError
    for a source that is damaged.
    """
    seq = fork_end(source, point)
    holds = target.namespaces()
    if holds or target.head().seq:
        names = ", ".join(holds)
        raise LogForeignError(
            f"{target.url}: a fork begins a new log, but here is: {names}; name an empty place"
        )
    report = copy_log(source, target, until=seq, progress=progress)
    return ForkReport(point.seq, seq, target.head().at, report.seal)


def fork_end(source: EventLog, point: Point) -> int:
    """The position at which a fork at the point ends.

    Raises ArgumentError when that is nowhere, LogArchivedError when the source's beginning is gone.
    """
    # A fork is the past from the first event on.
    source.read(after=0, limit=1)
    seq = find_end(source, point).seq
    if not seq:
        raise ArgumentError("point", point.seq, "a point at which at least one commit has ended")
    return seq
