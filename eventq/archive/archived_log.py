"""A log read together with its archive, as the one log without gaps that it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from eventq.archive.folder import Archive
from eventq.core.commits import Commit
from eventq.core.seal import genesis
from eventq.errors import LogArchivedError, LogCorruptError, LogForeignError
from eventq.eventlog import EventLog, Head, Kept, Rows, StoredEvent, Watch
from eventq.eventlog.contract import READ_EVENTS, Decide, SnapshotEntry, Snapshots
from eventq.replay.points import Point, find_end


class ArchivedLog:
    """An EventLog that begins with its archive; what is appended goes to the log.

    Made by `open_archived`, which checks that the two are of one history. What the log still holds
    is read there, whether it is archived already or not.
    """

    def __init__(self, log: EventLog, archive: Archive) -> None:
        self.log = log
        self.archive = archive
        self.namespace = log.namespace
        self.url = log.url
        self.snapshots: Snapshots = _ArchivedSnapshots(log)
        self.remote = log.remote
        self.hosting = log.hosting

    def head(self) -> Head:
        """See EventLog.head."""
        return self.log.head()

    def start(self) -> Head:
        """See EventLog.start: nothing is missing here."""
        return Head(0, 0, genesis(self.namespace))

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

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """See EventLog.histories."""
        return {task: found for task in tasks if (found := self.history(task))}

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys: the log keeps those of archived tasks."""
        return self.log.find_keys(keys)

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by: the log alone is asked."""
        return self.log.caused_by(tasks)

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        return self.log.find_stray()

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        return self.log.find_kept(tasks)

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        self.log.keep(rows)

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        self.log.cut(until)

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next."""
        return self.log.append_next(decide)

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        self.log.append(commit)

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """See EventLog.query: SQL sees what the database holds, not the archive."""
        return self.log.query(text, values)

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        return self.log.namespaces()

    def watch(self, wake: Callable[[], None]) -> Watch:
        """See EventLog.watch."""
        return self.log.watch(wake)

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return self.log.clock_offset_us()

    def after_fork(self) -> None:
        """See EventLog.after_fork; no file of the archive stays open."""
        self.log.after_fork()

    def close(self) -> None:
        """See EventLog.close."""
        self.log.close()


class _ArchivedSnapshots:
    """The log's snapshots; the one at its start stays, for those who come without the archive."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return self._log.snapshots.entries()

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        return self._log.snapshots.get(seq)

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put."""
        self._log.snapshots.put(entry, data)

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        start = self._log.start().seq
        return not (start and start == seq) and self._log.snapshots.delete(seq)


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
    return ArchivedLog(log, archive)


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
