"""A log read together with its archive, as the one log without gaps that it is."""

from __future__ import annotations

import os
from typing import Any, cast

from eventq.archive.folder import Archive
from eventq.core.events import Commit
from eventq.core.seal import genesis
from eventq.errors import LogArchivedError, LogCorruptError, LogForeignError
from eventq.eventlog import EventLog, Head, StoredEvent
from eventq.eventlog.contract import READ_EVENTS
from eventq.replay.points import Point, find_end


class ArchivedLog:
    """An EventLog that begins with its archive; all but reading the past is left to the log.

    Made by `open_archived`, which checks that the two are of one history. What the log still holds
    is read there, whether it is archived already or not. SQL sees what the database holds.
    """

    def __init__(self, log: EventLog, archive: Archive) -> None:
        self.log = log
        self.archive = archive
        self.snapshots = _ArchivedSnapshots(log)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a log has
        """See EventLog: appending, keys and the rest are the log's own."""
        return getattr(self.log, name)

    def start(self) -> Head:
        """See EventLog.start: nothing is missing here."""
        return Head(0, 0, genesis(self.log.namespace))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read: where the log has been cut, from the archive."""
        try:
            return self.log.read(after=after, limit=limit)
        except LogArchivedError:
            # The cut may have come after the archive was opened, with segments it does not know.
            if after >= self.archive.end.seq:
                self.archive.refresh()
            found = self.archive.read(after=max(after, 0), limit=limit)
            if not found:
                raise
            return found

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history; unpacks the blocks of the archive that hold events of the task."""
        held = self.log.history(task)
        start = self.log.start().seq
        # A task's number is the position of its first event.
        if not start or task > start or (held and held[0].seq == task):
            return held
        if start > self.archive.end.seq:
            self.archive.refresh()
        archived = self.archive.history(task)
        return archived + [event for event in held if event.seq > self.archive.end.seq]


class _ArchivedSnapshots:
    """The log's snapshots; the one at its start stays, for those who come without the archive."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever snapshots have
        """See Snapshots."""
        return getattr(self._log.snapshots, name)

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        start = self._log.start().seq
        return not (start and start == seq) and self._log.snapshots.delete(seq)


def with_archive(log: EventLog, archive: Archive) -> EventLog:
    """The two as one log. They must be of one history: see `check_belongs`."""
    return cast("EventLog", ArchivedLog(log, archive))


def open_archived(log: EventLog, folder: str | os.PathLike[str] | None) -> EventLog:
    """The log with its archive in a folder; the log itself for None.

    Raises LogForeignError for the archive of another log, LogCorruptError when a segment is
    damaged or missing, LogUnavailableError when there is no such folder, ArgumentError for what
    names none. Then the log is closed.
    """
    if folder is None:
        return log
    try:
        archive = Archive(folder, namespace=log.namespace)
        check_belongs(log, archive)
    except BaseException:
        log.close()
        raise
    return with_archive(log, archive)


def check_belongs(log: EventLog, archive: Archive) -> None:
    """Raises LogForeignError unless log and archive are of one history; LogCorruptError for a gap.

    Compares the seals where they meet, each of which covers all that came before it.
    """
    start, end = log.start(), archive.end
    foreign = LogForeignError(f"{archive.folder}: is the archive of another log than {log.url}")
    if start.seq and not archive.segments:
        raise LogForeignError(f"{archive.folder}: holds no archive of {log.namespace!r}")
    if start.seq > end.seq:
        problem = f"the log begins behind {start.seq}, so that segments are missing at the end"
        raise LogCorruptError(end.seq + 1, f"{archive.folder}: {problem}")
    ends = {segment.last: segment.end for segment in archive.segments}
    if start.seq and ends.get(start.seq) != start:
        raise foreign
    if end.seq > start.seq and find_end(log, Point(end.seq, end.at)) != end:
        raise foreign
