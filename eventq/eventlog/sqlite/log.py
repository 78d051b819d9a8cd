"""The log in a SQLite file: one file for all namespaces and for many processes of one host.

SQL lives in schema.py, reading in read.py, cutting in retention.py, the questions
about paths and files in files.py, forks in fork.py, and wake-ups in notify.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, suppress
from functools import partial
from io import FileIO
from typing import Any, TypeVar

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
from eventq.eventlog.file_turn import FileTurn
from eventq.eventlog.sqlite import files, schema
from eventq.eventlog.sqlite import fork as sqlite_fork
from eventq.eventlog.sqlite import read as sqlite_read
from eventq.eventlog.sqlite import wal as sqlite_wal
from eventq.eventlog.sqlite.ask import run_query
from eventq.eventlog.sqlite.base import find_kept_keys
from eventq.eventlog.sqlite.notify import Doorbell
from eventq.eventlog.sqlite.place import Place
from eventq.eventlog.sqlite.retention import Question, SqliteCutting
from eventq.eventlog.sqlite.snapshots import SqliteSnapshots
from eventq.host.logger import SafeLogger

# How long to wait for a program that writes without taking turns.
BUSY_TIMEOUT_MS = 5_000
# How many events one pair of queries reads: it bounds what is in memory twice, as text.
BLOCK_EVENTS = 2_000
# Every text there is, with room: all sizes of INSERT with and without keys, and the rest.
CACHED_STATEMENTS = 100

T = TypeVar("T")

logger = SafeLogger(__name__)

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
        self.takes_guesses = False
        self.namespace = namespace
        self.snapshots = SqliteSnapshots(self)
        self._path = files.resolve(path)
        self._closed = False
        self._broken_fork = False
        self._namespace_id: int | None = None
        self._turns: set[FileIO] = set()
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._parked: list[threading.Lock] = []
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._asker: apsw.Connection | None = None
        self._bell = Doorbell(f"{self._path}-bell", position=lambda: self.head().seq)
        with sqlite_fork.opening():
            self._writable = files.prepare(self._path, create=create)
            self._place = Place(self._path)
            with self._read_lock:
                self._believed(self._reading, self._drop_reader)

    def head(self) -> Head:
        """See EventLog.head."""
        return self.ask(partial(sqlite_read.head, name=self.namespace))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read. Costs two statements for 2,000 events."""
        found: list[Commit] = []
        after = max(after, 0)
        while limit > 0 and after < sqlite_read.MAX_INTEGER:
            block_limit = min(limit, BLOCK_EVENTS)
            read = partial(
                sqlite_read.read_block, name=self.namespace, after=after, limit=block_limit
            )
            block = self.ask(read, after + 1)
            found += block
            count = block[-1].last - block[0].first + 1 if block else 0
            if count < block_limit:
                break
            limit -= count
            after = block[-1].last
        return found

    def turn(
        self,
        *,
        guess: Head | None = None,  # noqa: ARG002 - certain here
    ) -> AbstractContextManager[Head]:
        """See EventLog.turn: the exclusive lock on a side file, whose queue the kernel keeps."""
        self._check_writable()
        return FileTurn(
            files.lock_path(self._path),
            self._head_for_writing,
            open_files=self._turns,
            # The folder may be gone, with all that is in it.
            on_failure=self._place.check,
        )

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        self._namespace_id = self.transact(partial(self._insert, commit=commit), commit)
        self._bell.ring()

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        if not 0 <= task <= sqlite_read.MAX_INTEGER:
            return []
        return self.ask(partial(sqlite_read.history, task=task), task)

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        return self.ask(partial(sqlite_read.find_keys, keys=keys))

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """See EventLog.query; on a connection of its own, since a run cannot wait for its end."""
        with self._query_lock:
            return self._believed(lambda: self._query(text, values), lambda: None)

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        return self.ask(lambda connection, _: sqlite_read.namespaces(connection))

    def watch(self, wake: Callable[[], None], **_: object) -> Watch:
        """See EventLog.watch; other processes are heard through a socket beside the file."""
        self._check_open()
        return self._bell.watch(wake)

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork; the hooks in fork.py have done everything already."""

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
        # Without a connection of the parent's, another file may have come here unnoticed.
        self._namespace_id = None
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        # These are the parent's turns.
        for file in self._turns:
            file.close()
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

    def ask(self, question: Question[T], position: int = 0) -> T:
        """The answer by the connection that reads, for one caller at a time."""
        with self._read_lock:
            return self._believed(
                lambda: self._answer(self._reading(), question, position), self._drop_reader
            )

    def transact(self, step: Question[T], commit: Commit | None = None) -> T:
        """The step as one transaction of the connection that writes; it may be called twice.

        Where it stores a ``commit``, it is found out whether that was done if the driver fails.
        """
        with self._write_lock:
            return self._believed(lambda: self._transact(step, commit), self._drop_writer)

    def _believed(self, ask: Callable[[], T], drop: Callable[[], None]) -> T:
        """The answer; damage is believed once a fresh connection has found it as well."""
        # SQLite calls it damage, too, when the system fails to read a page.
        try:
            return ask()
        except LogCorruptError as error:
            values = {"error": str(error)}
            logger.warning("the log looks damaged, reading again: %(error)s", values, extra=values)
            drop()
            return ask()

    def _answer(self, connection: apsw.Connection, question: Question[T], position: int) -> T:
        try:
            return question(connection, self._find_namespace(connection))
        except (apsw.Error, *sqlite_read.UNREADABLE) as error:
            raise self._translated(error, position) from error

    def _transact(self, step: Question[T], commit: Commit | None) -> T:
        connection = self._writing()
        committing = False
        try:
            connection.execute(schema.BEGIN)
            result = step(connection, self._find_namespace(connection))
            committing = True
            connection.execute(schema.COMMIT)
        except apsw.Error as error:
            _roll_back(connection)
            if not (committing and commit and self._was_stored(commit)):
                raise self._refusal(error, commit) from error
        except BaseException:
            # An interrupt. Not by `_roll_back`: another one could come before its first line.
            try:
                if connection.in_transaction:
                    connection.execute(schema.ROLLBACK)
            except apsw.Error:
                # `_writing` tries again, before anything else is done with it.
                pass
            raise
        return result

    def _query(self, text: str, values: Sequence[Any]) -> Rows:
        self._check_open()
        self._place.check()
        connection = self._asker = self._connect(writes=False)
        try:
            return run_query(connection, text, values)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self._translated(error, 0) from error
        finally:
            connection.close()
            self._asker = None

    def _reading(self) -> apsw.Connection:
        self._check_open()
        self._place.check()
        if not self._writable:
            # A writer may have come or gone, which changes how the file must be read.
            self._drop_reader()
        if self._reader is None:
            self._reader = self._connect(writes=False)
        return self._reader

    def _head_for_writing(self) -> Head:
        """The head by the connection that writes: unlike the other's, its cache is still good."""
        head = partial(sqlite_read.head, name=self.namespace)
        with self._write_lock:
            return self._believed(lambda: self._answer(self._writing(), head, 0), self._drop_writer)

    def _writing(self) -> apsw.Connection:
        self._check_writable()
        self._place.check()
        if self._writer is None:
            self._writer = self._connect(writes=True)
        elif self._writer.in_transaction:
            # Left by an interrupt that came upon another one.
            _roll_back(self._writer)
        return self._writer

    def _connect(self, *, writes: bool) -> apsw.Connection:
        is_first = self._writer is None and self._reader is None
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
                if is_first and self._writable:
                    self._place.note_beside()
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
        self._drop_writer()
        self._drop_reader()

    def _drop_writer(self) -> None:
        dropped, self._writer = self._writer, None
        self._close_one(dropped)

    def _drop_reader(self) -> None:
        dropped, self._reader = self._reader, None
        self._close_one(dropped)

    def _close_one(self, connection: apsw.Connection | None) -> None:
        # What was committed is safe; a checkpoint that failed is the next opener's work.
        with suppress(apsw.Error):
            if connection is not None:
                try:
                    self._place.check_index()
                except LogError:
                    # By an index that others do not have, a checkpoint would drop their commits.
                    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                connection.close()

    def _find_namespace(self, connection: apsw.Connection) -> int | None:
        if self._namespace_id is None:
            return sqlite_read.find_namespace(connection, self.namespace)
        return self._namespace_id

    def _insert(self, connection: apsw.Connection, namespace_id: int | None, commit: Commit) -> int:
        """Inserts the commit's rows inside a transaction; gives the namespace's id."""
        assert "\n" not in commit.id, "line feeds part the ids when they are read"
        check_commit(commit, sqlite_read.head(connection, namespace_id, self.namespace))
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

        If it is not, but all of it has reached the WAL, a transaction without effect takes its
        place there: else it might come back to life after a crash.
        """
        self._drop_writer()
        try:
            with closing(self._connect(writes=False)) as fresh:
                if sqlite_read.has_commit(fresh, self.namespace, commit):
                    return True
                is_left = sqlite_wal.holds_more(fresh, self._path)
            if is_left:
                self._writing().execute(schema.REWRITE_SCHEMA_VERSION)
        except (apsw.Error, OSError, LogError) as error:
            self._drop_writer()
            raise LogOutcomeUnknownError(
                f"{self._path}: {error}; while the disk fails, it is not certain that "
                f"the commit at position {commit.first} will stay absent"
            ) from error
        return False

    def _refusal(self, error: apsw.Error, commit: Commit | None) -> LogError:
        first = commit.first if commit else 0
        if isinstance(error, apsw.ConstraintError):
            if getattr(error, "extendedresult", None) == apsw.SQLITE_CONSTRAINT_UNIQUE:
                return LogConflictError(first)
            return LogCorruptError(first, f"there are rows beyond the last commit ({error})")
        refused = self._translated(error, first)
        if commit and isinstance(refused, LogUnavailableError):
            return LogUnavailableError(f"{refused}; the commit at position {first} was not made")
        return refused

    def _translated(self, error: Exception, position: int) -> LogError:
        damage = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)
        if isinstance(error, apsw.Error) and not isinstance(error, damage):
            return files.unavailable(self._path, error)
        return LogCorruptError(position, str(error))


def _roll_back(connection: apsw.Connection) -> None:
    """Ends the connection's transaction, if it is in one, without effect."""
    # Some errors roll back by themselves, and after others the connection is given up anyway.
    with suppress(apsw.Error):
        if connection.in_transaction:
            connection.execute(schema.ROLLBACK)
