"""A log in a text file, one commit a line: for moving, keeping and showing logs, not for working.

The first line names the format and the namespace; each other line is a JSON object with the fields
of a commit, prev and seal in hexadecimal. Nothing here is ever rewritten but a torn last line.
"""

from __future__ import annotations

import bisect
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from eventq.errors import (
    LogConflictError,
    LogCorruptError,
    LogError,
    LogForeignError,
    LogTooNewError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.base import READ_EVENTS, Head, StoredEvent, Watch, check_commit
from eventq.events import Commit
from eventq.seal import genesis

FORMAT = 1
# Seconds between two looks of a watch.
LOOK_S = 0.2

logger = logging.getLogger(__name__)


class Header(Struct, frozen=True):
    """The first line."""

    eventq: int
    namespace: str


class Line(Struct, frozen=True):
    """A commit as a line of the file."""

    id: str
    first: int
    at: int
    prev: str
    seal: str
    tasks: list[int]
    keys: dict[str, int]
    events: list[str]


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(Header)
_line_decoder = msgspec.json.Decoder(Line)


class FileLog:
    """An EventLog in a file of lines; see there. One process at a time appends.

    Reads the whole file once when it is opened, and again only what is new. Finding a task's
    events or keys reads the file through.
    """

    def __init__(self, path: str, *, url: str, namespace: str, create: bool) -> None:
        self.url = url
        self.namespace = namespace
        self._path = Path(path)
        self._closed = False
        self._lock = threading.RLock()
        # Where each commit ends: its last position, and the byte behind its line.
        self._lasts: list[int] = []
        self._ends: list[int] = []
        self._head = Head(0, 0, genesis(namespace))
        try:
            self._file = self._open(create=create)
        except OSError as error:
            raise LogUnavailableError(f"{path}: {error.strerror}") from error
        self._body = self._read_header()

    def head(self) -> Head:
        """See EventLog.head."""
        with self._lock:
            self._catch_up()
            return self._head

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        found: list[Commit] = []
        for commit in self._commits(after):
            found.append(commit)
            if commit.last - found[0].first + 1 >= limit:
                break
        return found

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See EventLog.turn: the lock of the file itself."""
        self._check_open()
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        with self._lock:
            check_commit(commit, self.head())
            if commit.keys and self.find_keys(list(commit.keys)):
                raise LogConflictError(commit.first)
            end = self._ends[-1] if self._ends else self._body
            line = _encoder.encode(_to_line(commit)) + b"\n"
            try:
                # Also cuts off what a torn append may have left behind the last whole line.
                self._file.truncate(end)
                self._file.seek(end)
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise LogUnavailableError(f"{self._path}: {error.strerror}") from error
            self._note(commit, end + len(line))

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history; reads the file through."""
        return [
            StoredEvent(seq, commit.at, task, body)
            for commit in self._commits(0)
            for seq, (number, body) in enumerate(
                zip(commit.tasks, commit.bodies, strict=True), commit.first
            )
            if number == task
        ]

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys; reads the file through."""
        wanted = set(keys)
        return {
            key: seq
            for commit in self._commits(0)
            for key, seq in commit.keys.items()
            if key in wanted
        }

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces: the one of the file, once it holds something."""
        return [self.namespace] if self.head().seq else []

    def watch(self, wake: Callable[[], None]) -> Watch:
        """See EventLog.watch: a look at the file's length now and then."""
        self._check_open()
        watch = _FileWatch(self, wake)
        watch.start()
        return watch

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork."""
        self._lock = threading.RLock()
        self._file = self._open(create=False)

    def close(self) -> None:
        """See EventLog.close."""
        with self._lock:
            self._closed = True
            self._file.close()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")

    def _open(self, *, create: bool) -> BinaryIO:
        if create:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except PermissionError:
                return self._path.open("rb")
            return os.fdopen(descriptor, "r+b")
        return self._path.open("rb" if not os.access(self._path, os.W_OK) else "r+b")

    def _read_header(self) -> int:
        """Checks the first line, or writes it to an empty file; gives where commits begin."""
        self._file.seek(0)
        line = self._file.readline()
        if not line:
            line = _encoder.encode(Header(FORMAT, self.namespace)) + b"\n"
            self._file.write(line)
            self._file.flush()
        try:
            header = _header_decoder.decode(line)
        except msgspec.DecodeError as error:
            raise LogForeignError(f"{self._path}: is not a file of eventq ({error})") from error
        if header.eventq != FORMAT:
            raise LogTooNewError(f"{self._path}: format {header.eventq} is of a newer eventq")
        if header.namespace != self.namespace:
            raise LogForeignError(
                f"{self._path}: holds the namespace {header.namespace!r}, not {self.namespace!r}"
            )
        return len(line)

    def _catch_up(self) -> None:
        """Takes note of the whole lines that have come since."""
        self._check_open()
        end = self._ends[-1] if self._ends else self._body
        self._file.seek(end)
        for line in self._file:
            if not line.endswith(b"\n"):
                # Torn off by a crash, or being written right now: not yet a commit.
                break
            end += len(line)
            self._note(self._commit(line), end)

    def _note(self, commit: Commit, end: int) -> None:
        if commit.first != self._head.seq + 1:
            raise LogCorruptError(self._head.seq + 1, "no commit holds this position")
        self._lasts.append(commit.last)
        self._ends.append(end)
        self._head = Head(commit.last, commit.at, commit.seal)

    def _commits(self, after: int) -> Iterator[Commit]:
        """The commits from the one that holds ``after + 1``."""
        with self._lock:
            self._catch_up()
            index = bisect.bisect_right(self._lasts, max(after, 0))
        for place in range(index, len(self._ends)):
            start = self._ends[place - 1] if place else self._body
            with self._lock:
                self._check_open()
                self._file.seek(start)
                line = self._file.read(self._ends[place] - start)
            yield self._commit(line)

    def _commit(self, line: bytes) -> Commit:
        try:
            fields = _line_decoder.decode(line)
            prev, seal = bytes.fromhex(fields.prev), bytes.fromhex(fields.seal)
        except (msgspec.DecodeError, ValueError) as error:
            raise LogCorruptError(self._head.seq + 1, f"a line is damaged: {error}") from error
        if not len(fields.tasks) == len(fields.events) > 0:
            raise LogCorruptError(fields.first, "tasks and events of a line differ in number")
        return Commit(
            id=fields.id,
            first=fields.first,
            at=fields.at,
            prev=prev,
            seal=seal,
            tasks=fields.tasks,
            keys=fields.keys,
            bodies=fields.events,
        )


class _FileWatch:
    def __init__(self, log: FileLog, wake: Callable[[], None]) -> None:
        self._log = log
        self._wake = wake
        self._seen = log.head().seq
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventq-watch", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """See Watch.close."""
        self._closing.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                seq = self._log.head().seq
            except LogError:
                logger.warning("the file cannot be looked at", exc_info=True)
                continue
            except QueueClosedError:
                return
            if seq != self._seen:
                self._seen = seq
                self._wake()


def _to_line(commit: Commit) -> Line:
    return Line(
        commit.id,
        commit.first,
        commit.at,
        commit.prev.hex(),
        commit.seal.hex(),
        commit.tasks,
        commit.keys,
        commit.bodies,
    )
