"""The log in a SQLite file: one file for all namespaces and for many processes of one host.

SQL lives in sqlite_schema.py, reading in sqlite_read.py, cutting in sqlite_cut.py, the questions
about paths and files in sqlite_files.py, forks in sqlite_fork.py, and wake-ups in doorbell.py.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import apsw

from eventq.core.events import Commit
from eventq.errors import (
    LogConflictError,
    LogCorruptError,
    LogError,
    LogOutcomeUnknownError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.contract import READ_EVENTS, Head, Rows, StoredEvent, Watch, check_commit
from eventq.eventlog.sqlite import files, schema
from eventq.eventlog.sqlite import fork as sqlite_fork
from eventq.eventlog.sqlite import read as sqlite_read
from eventq.eventlog.sqlite.ask import run_query
from eventq.eventlog.sqlite.base import find_kept_keys
from eventq.eventlog.sqlite.notify import Doorbell
from eventq.eventlog.sqlite.retention import SqliteCutting, roll_back
from eventq.eventlog.sqlite.snapshots import SqliteSnapshots

# How long to wait for a program that writes without taking turns.
BUSY_TIMEOUT_MS = 5_000
# How many events one pair of queries reads: it bounds what is in memory twice, as text.
BLOCK_EVENTS = 2_000
# Every text there is, with room: all sizes of INSERT with and without keys, and the rest.
CACHED_STATEMENTS = 100

# A parent's connections that a forked child must not close: that could checkpoint the log.
_abandoned: list[apsw.Connection] = []


class SqliteLog(SqliteCutting):
    """An EventLog in a SQLite file.

    One connection writes and one reads, each behind its lock, so that readers never wait for a
    commit's sync. No statement stays open between calls: it would keep the WAL growing.
    """

    def __init__(self, path: str, *, url: str, namespace: str, create: bool) -> None:
        files.check_library()
        self.url = url
        self.namespace = namespace
        self.snapshots = SqliteSnapshots(self)
        self._path = files.resolve(path)
        self._closed = False
        self._broken_fork = False
        self._namespace_id: int | None = None
        self._turns: set[int] = set()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._parked: list[threading.Lock] = []
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._asker: apsw.Connection | None = None
        self._bell = Doorbell(f"{self._path}-bell", position=lambda: self.head().seq)
        with sqlite_fork.opening(self):
            self._writable = files.prepare(self._path, create=create)
            self._file = files.identity(self._path)
            with self._reading():
                pass

    def head(self) -> Head:
        """See EventLog.head."""
        with self._reading() as connection:
            return sqlite_read.head(connection, self.namespace, self._find_namespace(connection))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read. Costs two statements for 2,000 events."""
        found: list[Commit] = []
        after = max(after, 0)
        while limit > 0 and after < sqlite_read.MAX_INTEGER:
            block_limit = min(limit, BLOCK_EVENTS)
            with self._reading(after + 1) as connection:
                block = sqlite_read.read_block(
                    connection,
                    self.namespace,
                    self._find_namespace(connection),
                    after=after,
                    limit=block_limit,
                )
            found += block
            count = block[-1].last - block[0].first + 1 if block else 0
            if count < block_limit:
                break
            limit -= count
            after = block[-1].last
        return found

    @contextmanager
    def turn(self, *, guess: Head | None = None) -> Iterator[Head]:  # noqa: ARG002 - certain here
        """See EventLog.turn: the exclusive lock on a side file, whose queue the kernel keeps."""
        self._check_writable()
        try:
            descriptor = files.open_lock(self._path)
        except OSError as error:
            raise files.unavailable(files.lock_path(self._path), error) from error
        try:
            try:
                self._turns.add(descriptor)
                self._take_lock(descriptor)
                yield self._head_for_writing()
            finally:
                self._end_turn(descriptor)
        finally:
            # Once more, since an interrupt may have broken the first off; all others would hang.
            self._end_turn(descriptor)

    def append(self, commit: Commit, **_: object) -> None:
        """See EventLog.append."""
        with self._write_lock:
            connection = self._writing()
            committing = False
            try:
                connection.execute(schema.BEGIN)
                namespace_id = self._insert(connection, commit)
                committing = True
                connection.execute(schema.COMMIT)
            except apsw.Error as error:
                roll_back(connection)
                if not (committing and self._was_stored(commit)):
                    raise self._refusal(error, commit.first) from error
            except BaseException:
                roll_back(connection)
                raise
            else:
                self._namespace_id = namespace_id
        self._bell.ring()

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        if not 0 <= task <= sqlite_read.MAX_INTEGER:
            return []
        with self._reading(task) as connection:
            return sqlite_read.history(connection, self._find_namespace(connection), task)

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        with self._reading() as connection:
            return sqlite_read.find_keys(connection, self._find_namespace(connection), keys)

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """See EventLog.query; on a connection of its own, since a run cannot wait for its end."""
        with self._query_lock:
            self._check_open()
            connection = self._asker = self._connect(writes=False)
            try:
                return run_query(connection, text, values)
            except (apsw.Error, UnicodeDecodeError) as error:
                raise self._translated(error, 0) from error
            finally:
                connection.close()
                self._asker = None

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        with self._reading() as connection:
            return sqlite_read.namespaces(connection)

    def watch(self, wake: Callable[[], None], **_: object) -> Watch:
        """See EventLog.watch; other processes are heard through a socket beside the file."""
        self._check_open()
        return self._bell.watch(wake)

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork; the hooks in sqlite_fork.py have done everything already."""

    def close(self) -> None:
        """See EventLog.close; waits for the calls that are under way."""
        self._closed = True
        self._bell.close()
        with self._query_lock, self._write_lock, self._read_lock:
            self._close_connections()

    def before_fork(self) -> None:
        """See Forkable; a call that does not end in time leaves the child without this log."""
        # A query takes the longest, so it is waited for before anybody is held up.
        locks = (self._query_lock, self._write_lock, self._read_lock)
        wait = sqlite_fork.FORK_WAIT_SECONDS
        self._parked = [lock for lock in locks if lock.acquire(timeout=wait)]
        if len(self._parked) == len(locks):
            self._close_connections()

    def after_fork_in_parent(self) -> None:
        """See Forkable."""
        for lock in self._parked:
            lock.release()

    def after_fork_in_child(self) -> None:
        """See Forkable; a connection still open here can be neither used nor closed, only kept."""
        connections = (self._writer, self._reader, self._asker)
        left = [each for each in connections if each is not None]
        _abandoned.extend(left)
        self._broken_fork = bool(left)
        self._writer = self._reader = self._asker = None
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        while self._turns:
            os.close(self._turns.pop())
        self._bell.after_fork()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")
        if self._broken_fork:
            raise LogUnavailableError(
                f"{self._path}: this process was forked in the middle of a call on the log; "
                "fork before opening it, or start the process anew"
            )

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise LogUnavailableError(f"{self._path}: is not writable, opened for reading only")

    @contextmanager
    def _reading(self, position: int = 0) -> Iterator[apsw.Connection]:
        """The connection that reads, for one caller at a time, with its errors made ours."""
        with self._read_lock:
            self._check_open()
            if not self._writable:
                # A writer may have come or gone, which changes how the file must be read.
                self._close_connections()
            if self._reader is None:
                self._reader = self._connect(writes=False)
            try:
                yield self._reader
            except (apsw.Error, *sqlite_read.UNREADABLE) as error:
                raise self._translated(error, position) from error

    def _head_for_writing(self) -> Head:
        """The head by the connection that writes: unlike the other's, its cache is still good."""
        with self._write_lock:
            connection = self._writing()
            try:
                return sqlite_read.head(
                    connection, self.namespace, self._find_namespace(connection)
                )
            except (apsw.Error, *sqlite_read.UNREADABLE) as error:
                raise self._translated(error, 0) from error

    def _end_turn(self, descriptor: int) -> None:
        """Gives the lock back; may come twice."""
        # It is missing in a child that was forked inside the block: the turn is the parent's.
        if descriptor in self._turns:
            files.give_lock_back(descriptor)
            self._turns.discard(descriptor)
            os.close(descriptor)

    def _take_lock(self, descriptor: int) -> None:
        try:
            files.take_lock(descriptor)
        except OSError as error:
            raise files.unavailable(files.lock_path(self._path), error) from error

    def _writing(self) -> apsw.Connection:
        self._check_writable()
        if files.identity(self._path) != self._file:
            raise LogUnavailableError(
                f"{self._path}: was removed or replaced while it was open; "
                "an append would go to a file nobody can find"
            )
        if self._writer is None:
            self._writer = self._connect(writes=True)
        return self._writer

    def _connect(self, *, writes: bool) -> apsw.Connection:
        try:
            if self._writable:
                # Also to read only: each connection shares the index of the WAL.
                flags = apsw.SQLITE_OPEN_READWRITE
                connection = apsw.Connection(
                    self._path, flags=flags, statementcachesize=CACHED_STATEMENTS
                )
            else:
                connection = files.connect_read_only(self._path)
            try:
                self._set_up(connection, writes=writes)
            except BaseException:
                connection.close()
                raise
        except apsw.Error as error:
            raise self._translated(error, 0) from error
        return connection

    def _set_up(self, connection: apsw.Connection, *, writes: bool) -> None:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        files.check_connection(connection, self._path)
        connection.execute("PRAGMA trusted_schema = OFF")
        # Else a plan may depend on the values bound, and SQLite prepares HEAD anew at each call.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        if not writes:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute("PRAGMA synchronous = FULL")
        # macOS alone: there a plain sync leaves the data in the drive's own cache.
        connection.execute("PRAGMA fullfsync = ON")
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise LogUnavailableError(f"{self._path}: cannot be put into WAL mode, but in {mode}")

    def _close_connections(self) -> None:
        for connection in (self._writer, self._reader):
            if connection is not None:
                # What was committed is safe; a checkpoint that failed is the next opener's work.
                with suppress(apsw.Error):
                    connection.close()
        self._writer = self._reader = None

    def _find_namespace(self, connection: apsw.Connection) -> int | None:
        if self._namespace_id is None:
            return sqlite_read.find_namespace(connection, self.namespace)
        return self._namespace_id

    def _insert(self, connection: apsw.Connection, commit: Commit) -> int:
        """Inserts the commit's rows inside a transaction; gives the namespace's id."""
        assert "\n" not in commit.id, "line feeds part the ids when they are read"
        namespace_id = self._find_namespace(connection)
        check_commit(commit, sqlite_read.head(connection, self.namespace, namespace_id))
        if find_kept_keys(connection, namespace_id, list(commit.keys)):
            raise LogConflictError(commit.first)
        if namespace_id is None:
            rows = sqlite_read.query(connection, schema.INSERT_NAMESPACE, (self.namespace,))
            namespace_id = int(rows[0][0])
        keys = schema.key_column(commit) if commit.keys else None
        start, count = 0, len(commit.bodies)
        while start < count:
            rows_now = schema.statement_rows(count - start)
            end = start + rows_now
            values: list[object] = [namespace_id, commit.first + start, commit.at]
            values += commit.tasks[start:end]
            values += commit.bodies[start:end]
            if keys is not None:
                values += keys[start:end]
            connection.execute(schema.insert_events(rows_now, keyed=keys is not None), values)
            start = end
        connection.execute(
            schema.INSERT_COMMIT,
            (namespace_id, commit.first, count, commit.at, commit.id, commit.seal),
        )
        return namespace_id

    def _was_stored(self, commit: Commit) -> bool:
        """Whether a commit of unknown outcome is in the log, asked through a new connection.

        If it is not, a transaction without effect takes its place in the WAL: else frames that
        reached the disk before the error might come back to life after a crash.
        """
        if self._writer is not None:
            with suppress(apsw.Error):
                self._writer.close()
        self._writer = None
        self._writer = self._connect(writes=True)
        try:
            if sqlite_read.has_commit(self._writer, self.namespace, commit):
                return True
            self._writer.execute(schema.REWRITE_SCHEMA_VERSION)
        except apsw.Error as error:
            raise LogOutcomeUnknownError(
                f"{self._path}: {error}; while the disk fails, it is not certain that "
                f"the commit at position {commit.first} will stay absent"
            ) from error
        return False

    def _refusal(self, error: apsw.Error, first: int) -> LogError:
        if isinstance(error, apsw.ConstraintError):
            if getattr(error, "extendedresult", None) == apsw.SQLITE_CONSTRAINT_UNIQUE:
                return LogConflictError(first)
            return LogCorruptError(first, f"there are rows beyond the last commit ({error})")
        return self._translated(error, first)

    def _translated(self, error: Exception, position: int) -> LogError:
        damage = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)
        if isinstance(error, apsw.Error) and not isinstance(error, damage):
            return files.unavailable(self._path, error)
        return LogCorruptError(position, str(error))
