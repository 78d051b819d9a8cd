"""A log in a text file, one commit a line: read, and a target of copies; no queue runs on it.

The first line names the format and the namespace; each other line is a JSON object with the fields
of a commit, prev and seal in hexadecimal. Nothing here is ever rewritten but a torn last line.
"""

from __future__ import annotations

import bisect
import os
import stat
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from io import FileIO
from typing import Any, NoReturn

from eventq.core.commits import Commit
from eventq.core.seal import genesis
from eventq.errors import (
    ArgumentError,
    LogConflictError,
    LogCorruptError,
    LogForeignError,
    LogLostError,
    LogOutcomeUnknownError,
    LogTooNewError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog import lines as file_lines
from eventq.eventlog.causes import causes_of
from eventq.eventlog.contract import (
    READ_EVENTS,
    Decide,
    Head,
    Kept,
    Rows,
    SnapshotEntry,
    Snapshots,
    StoredEvent,
    Watch,
    check_commit,
)
from eventq.eventlog.durable import sync_directory
from eventq.eventlog.file_lock import FileLock
from eventq.host.interrupts import interrupt_in

# The file is read in pieces of so many bytes.
PIECE_BYTES = 1024**2
# The line of the largest commit is shorter, with every sign escaped.
LINE_BYTES = 16 * 1024**2
# Lines kept in memory for the next history; each is of a megabyte at most.
RECENT_COMMITS = 16

DATABASE = "the URL of a log in SQLite or MongoDB"


class FileLog:
    """An EventLog in a file of lines, which holds one namespace; writers take turns.

    Reads the whole file once when it is first asked, and from then on only what is new. It keeps
    in memory all keys, where each commit ends, and 16 bytes for each event, by which it finds
    histories. It is read and copied to; no node runs on it, and it is never cut.
    """

    remote = None
    hosting = None

    def __init__(self, path: str, *, url: str, namespace: str, create: bool) -> None:
        self.url = url
        self.namespace = namespace
        self._path = path
        self.snapshots: Snapshots = _NoSnapshots(url)
        self._closed = False
        # Around what is known of the file; taken after the writer slot.
        self._lock = threading.RLock()
        self._slots: set[FileIO] = set()
        # Where each commit ends: its last position, and the byte behind its line.
        self._lasts: list[int] = []
        self._ends: list[int] = []
        # The task of each event, that of position 1 first; and the same places, sorted by task.
        self._tasks = array("q")
        self._by_task = array("q")
        self._keys: dict[str, int] = {}
        self._caused: dict[int, list[int]] = {}
        self._recent: dict[int, Commit] = {}
        self._head = Head(0, 0, genesis(namespace))
        self._open(create=create)
        try:
            self._body = self._check_header(create=create)
        except BaseException:
            self.close()
            raise

    def head(self) -> Head:
        """See EventLog.head."""
        with self._lock:
            self._catch_up()
            return self._head

    def start(self) -> Head:
        """See EventLog.start: a file holds all its events."""
        return Head(0, 0, genesis(self.namespace))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        found: list[Commit] = []
        for commit in self._commits(after):
            found.append(commit)
            if commit.last - found[0].first + 1 >= limit:
                break
        return found

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        self.append_next(lambda _: commit)

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next: the slot is the lock of the file itself."""
        self._check_writable()
        with FileLock(self._path, self.head, open_files=self._slots, create=False) as head:
            commit = decide(head)
            if commit is not None:
                with self._lock:
                    self._append(commit)
            return commit

    def _append(self, commit: Commit) -> None:
        check_commit(commit, self._head)
        if not self._keys.keys().isdisjoint(commit.keys):
            raise LogConflictError(commit.first)
        line = file_lines.to_line(commit)
        end = self._end()
        try:
            # Also cuts off what a torn append may have left behind the last whole line.
            os.ftruncate(self._descriptor, end)
            self._write(line, end)
        except BaseException as error:
            if isinstance(error, OSError) and interrupt_in(error) is None:
                self._take_back(end, end + len(line), error)
            # An interrupt: a line that is whole has been made, so it must not be lost again.
            os.fsync(self._descriptor)
            raise
        self._note(commit, end + len(line))

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history; sorts all events by task where some have come since the last."""
        found: list[StoredEvent] = []
        with self._lock:
            self._catch_up()
            for seq in self._positions(task):
                commit = self._recent_commit(bisect.bisect_left(self._lasts, seq))
                found.append(StoredEvent(seq, commit.at, task, commit.bodies[seq - commit.first]))
        return found

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """See EventLog.histories."""
        return {task: found for task in tasks if (found := self.history(task))}

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        with self._lock:
            self._catch_up()
            return {key: self._keys[key] for key in keys if key in self._keys}

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by."""
        with self._lock:
            self._catch_up()
            caused = self._caused
            return {task: list(dict.fromkeys(caused[task])) for task in tasks if task in caused}

    def find_stray(self) -> None:
        """See EventLog.find_stray: there is no place for any."""

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:  # noqa: ARG002 - nothing is kept
        """See EventLog.find_kept."""
        return {}

    def keep(self, rows: list[Kept]) -> None:  # noqa: ARG002 - refused
        """See EventLog.keep; raises ArgumentError."""
        raise ArgumentError("url", self.url, f"{DATABASE}, which can be cut")

    def cut(self, until: Head) -> None:  # noqa: ARG002 - refused
        """See EventLog.cut; raises ArgumentError."""
        self.keep([])

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: a file of lines knows no SQL."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces: the one of the file, once it holds something."""
        return [self.namespace] if self.head().seq else []

    def watch(self, wake: Callable[[], None]) -> Watch:  # noqa: ARG002 - refused
        """See EventLog.watch; raises ArgumentError, since no queue runs on a file."""
        self._check_open()
        raise ArgumentError("url", self.url, f"{DATABASE}, on which queues run")

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork: the lock belongs to the parent's descriptor."""
        os.close(self._descriptor)
        for file in self._slots:
            file.close()
        self._lock = threading.RLock()
        self._open(create=False)

    def close(self) -> None:
        """See EventLog.close."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")

    # The file.

    def _open(self, *, create: bool) -> None:
        # So that a pipe, which is refused below, does not block.
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        try:
            try:
                making = os.O_CREAT if create else 0
                self._descriptor = os.open(self._path, flags | os.O_RDWR | making, 0o600)
                self._writable = True
            except FileNotFoundError:
                raise
            except OSError:
                self._descriptor = os.open(self._path, flags | os.O_RDONLY)
                self._writable = False
        except OSError as error:
            raise self._unavailable(error) from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise LogForeignError(f"{self._path}: is not a file")

    def _check_header(self, *, create: bool) -> int:
        """Checks the first line, or writes it to an empty file; returns where commits begin."""
        ours = file_lines.header(self.namespace)
        line = self._first_line()
        # Empty, or torn off while it was made.
        if len(line) < len(ours) and ours.startswith(line):
            if not create:
                raise LogUnavailableError(f"{self._path}: there is no eventq log")
            line = self._make(ours)
        header = file_lines.parse_header(line)
        if header is None:
            raise LogForeignError(f"{self._path}: is not a file of eventq")
        if header.eventq > file_lines.FORMAT:
            raise LogTooNewError(f"{self._path}: format {header.eventq} is of a newer eventq")
        if header.namespace != self.namespace:
            raise LogForeignError(
                f"{self._path}: holds the namespace {header.namespace!r}, not {self.namespace!r}"
            )
        return len(line)

    def _make(self, header: bytes) -> bytes:
        """Writes the first line unless another process has; returns it."""
        self._check_writable()
        with self._beginning() as line:
            if len(line) < len(header) and header.startswith(line):
                try:
                    self._write(header, 0)
                except OSError as error:
                    raise self._unavailable(error) from error
                sync_directory(os.path.dirname(self._path) or ".")  # noqa: PTH120
                return header
        return line

    def _beginning(self) -> AbstractContextManager[bytes]:
        """The writer's slot before there is a head; the block gets the first line."""
        return FileLock(self._path, self._first_line, create=False)

    def _first_line(self) -> bytes:
        piece = self._read_bytes(file_lines.HEADER_BYTES, 0)
        line, sign, _ = piece.partition(b"\n")
        return line + sign

    def _read_bytes(self, count: int, offset: int) -> bytes:
        try:
            return os.pread(self._descriptor, count, offset)
        except OSError as error:
            raise self._unavailable(error) from error

    def _write(self, data: bytes, offset: int) -> None:
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written
        os.fsync(self._descriptor)

    def _take_back(self, end: int, whole_end: int, error: OSError) -> NoReturn:
        """After an append that failed: removes what was written of it, and raises."""
        # A line without its end is no commit, whether or not it can be taken away.
        is_whole = os.fstat(self._descriptor).st_size >= whole_end
        try:
            os.ftruncate(self._descriptor, end)
            os.fsync(self._descriptor)
        except OSError:
            if is_whole:
                raise LogOutcomeUnknownError(
                    f"{self._path}: {error.strerror}; it is not known whether the commit was made"
                ) from error
        raise self._unavailable(error) from error

    def _check_place(self) -> None:
        """Raises LogLostError where an append would be lost, or would leave a hole."""
        here = os.fstat(self._descriptor)
        try:
            there = os.stat(self._path)  # noqa: PTH116 - as SqliteLog does
        except FileNotFoundError as error:
            raise LogLostError(f"{self._path}: was deleted or moved while it was open") from error
        except OSError as error:
            raise self._unavailable(error) from error
        if not os.path.samestat(here, there) or here.st_size < self._end():
            raise LogLostError(f"{self._path}: was replaced or cut while it was open")

    def _unavailable(self, error: OSError) -> LogUnavailableError:
        return LogUnavailableError(f"{self._path}: {error.strerror}")

    # Its lines.

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise LogUnavailableError(f"{self._path}: may not be written to")

    def _end(self) -> int:
        """The byte behind the last whole line that is known."""
        return self._ends[-1] if self._ends else self._body

    def _catch_up(self) -> None:
        """Takes note of the whole lines that have come since."""
        self._check_open()
        self._forget_half_noted()
        self._check_place()
        # What stands behind the last line feed was torn off by a crash, or is being written right
        # now: not yet a commit.
        rest = b""
        while piece := self._read_bytes(PIECE_BYTES, self._end() + len(rest)):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                commit = file_lines.to_commit(line, self._head.seq + 1)
                self._note(commit, self._end() + len(line) + 1)
            if len(rest) > LINE_BYTES:
                raise LogCorruptError(self._head.seq + 1, "a line is longer than any commit")

    def _note(self, commit: Commit, end: int) -> None:
        if commit.first != self._head.seq + 1:
            raise LogCorruptError(self._head.seq + 1, "no commit holds this position")
        try:
            self._tasks.extend(array("q", commit.tasks))
        except OverflowError:
            raise LogCorruptError(commit.first, "a task's number is larger than any") from None
        self._lasts.append(commit.last)
        self._ends.append(end)
        self._keys.update(commit.keys)
        for index, cause in causes_of(commit.bodies).items():
            self._caused.setdefault(cause, []).append(commit.tasks[index])
        self._head = Head(commit.last, commit.at, commit.seal)

    def _forget_half_noted(self) -> None:
        """Takes back what an interrupt left of `_note`, whose last step counts."""
        while self._lasts and self._lasts[-1] > self._head.seq:
            self._lasts.pop()
        del self._ends[len(self._lasts) :]
        del self._tasks[self._head.seq :]

    def _positions(self, task: int) -> list[int]:
        """Where the task's events stand, in order."""
        key = self._tasks.__getitem__
        if len(self._by_task) != len(self._tasks):
            self._by_task = array("q", sorted(range(len(self._tasks)), key=key))
        begin = bisect.bisect_left(self._by_task, task, key=key)
        end = bisect.bisect_right(self._by_task, task, begin, key=key)
        return [place + 1 for place in self._by_task[begin:end]]

    def _commits(self, after: int) -> Iterator[Commit]:
        """The commits from the one that holds ``after + 1``."""
        with self._lock:
            self._catch_up()
            index = bisect.bisect_right(self._lasts, max(after, 0))
        for place in range(index, len(self._ends)):
            yield self._commit(place)

    def _commit(self, place: int) -> Commit:
        """The commit of the line at a place, 0 for the first one."""
        start = self._ends[place - 1] if place else self._body
        position = self._lasts[place - 1] + 1 if place else 1
        with self._lock:
            self._check_open()
            line = self._read_bytes(self._ends[place] - start, start)
        return file_lines.to_commit(line, position)

    def _recent_commit(self, place: int) -> Commit:
        """As `_commit`, for histories, of which many in a row ask for the same lines."""
        if place not in self._recent:
            if len(self._recent) >= RECENT_COMMITS:
                del self._recent[next(iter(self._recent))]
            self._recent[place] = self._commit(place)
        return self._recent[place]


class _NoSnapshots:
    """The Snapshots of a file: there are none, and none can be put here."""

    def __init__(self, url: str) -> None:
        self._url = url

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return []

    def get(self, seq: int) -> None:
        """See Snapshots.get."""

    def put(self, entry: SnapshotEntry, data: bytes) -> None:  # noqa: ARG002 - refused
        """See Snapshots.put; raises ArgumentError."""
        raise ArgumentError("url", self._url, f"{DATABASE}, which can keep snapshots")

    def delete(self, seq: int) -> bool:  # noqa: ARG002 - there is none
        """See Snapshots.delete."""
        return False
