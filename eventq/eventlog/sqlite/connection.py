"""One namespace's connections to a SQLite file: locks, transactions, forks, and errors made ours.

A log, its retention and its snapshots ask through here; nothing here knows what is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from fcntl import LOCK_EX, flock
from functools import partial
from typing import Any, TypeVar

import apsw

from eventq.core.commits import Commit
from eventq.errors import (
    LogConflictError,
    LogCorruptError,
    LogError,
    LogOutcomeUnknownError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.contract import Head, Rows
from eventq.eventlog.sqlite import files, fork, read, schema, wal
from eventq.eventlog.sqlite.ask import run_query
from eventq.eventlog.sqlite.open_files import OpenFiles
from eventq.eventlog.sqlite.slot import SlotFile, Slots
from eventq.host.logger import SafeLogger

# How long to wait for a program that writes without the writer's slot.
BUSY_TIMEOUT_MS = 5_000
# What is kept of a WAL that has grown beside a reader that did not go away: four times what it has
# when SQLite moves its pages.
WAL_KEPT_BYTES = 16 * 2**20
# Every text there is, with room: all sizes of INSERT with and without keys, and the rest.
CACHED_STATEMENTS = 200

T = TypeVar("T")
# Asked through a connection, of the namespace with this number: None before its first commit.
Question = Callable[[apsw.Connection, int | None], T]

logger = SafeLogger(__name__)

# A parent's connections that a forked child must not close: that could checkpoint the log.
abandoned: list[apsw.Connection] = []


class SqliteConnection:
    """One connection writes and one reads, each behind its lock.

    So readers never wait for a commit's sync. No statement stays open between calls: it would keep
    the WAL growing. ``path`` is resolved; ``on_fork`` is called in a forked child.
    """

    def __init__(
        self, path: str, *, url: str, namespace: str, create: bool, on_fork: Callable[[], None]
    ) -> None:
        self.url = url
        self.namespace = namespace
        self.path = path
        self._on_fork = on_fork
        self._closed = False
        self._broken_fork = False
        self._namespace_id: int | None = None
        self._left: tuple[int, Head] | None = None
        self._slots = Slots(files.lock_path(path))
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._parked: list[threading.Lock] = []
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self.asker: apsw.Connection | None = None
        """The connection of the query under way, if any."""
        with fork.opening():
            self._writable = files.prepare(path, create=create)
            self._files = OpenFiles(path)
            with self._read_lock:
                self._believed(self._reading, self._drop_reader)
            fork.opened(self)

    def ask(self, question: Question[T], position: int = 0) -> T:
        """Returns the reading connection's answer; one caller at a time.

        What cannot be read is LogCorruptError at the ``position``.
        """
        with self._read_lock:
            return self._believed(
                lambda: self._answer(self._reading(), question, position), self._drop_reader
            )

    def change(self, step: Question[T], in_flight: Callable[[], Commit | None] = lambda: None) -> T:
        """Runs the step in the writer's slot, in a transaction; may run it twice.

        Where the step stores the commit ``in_flight`` and the driver fails, finds out whether it is
        stored. No other writer comes between the step's first look and its end.
        """
        self._check_writable()
        slot = self._lend_slot()
        try:
            with slot:
                flock(slot.number, LOCK_EX)
                with self._write_lock:
                    return self._believed(partial(self._change, step, in_flight), self._drop_writer)
        finally:
            self._slots.take_back(slot)
            if self._closed:
                self._slots.close_idle()

    def query(self, text: str, values: Sequence[Any]) -> Rows:
        """See EventLog.query; on a connection of its own, since a run cannot wait for its end."""
        with self._query_lock:
            return self._believed(lambda: self._query(text, values), lambda: None)

    def note_namespace(self, namespace_id: int | None) -> None:
        """Remembers the namespace's number, which is stored for good; None where it has none."""
        self._namespace_id = namespace_id

    def head_left(self, connection: apsw.Connection) -> Head | None:
        """The head that the last append left; None where anything has been written since.

        For a step of `change`: in its transaction SQLite knows of every change to the file.
        """
        left = self._left
        return left[1] if left is not None and left[0] == connection.data_version() else None

    def in_change(self) -> apsw.Connection:
        """The connection of the transaction under way, for a step of `change`."""
        assert self._writer is not None, "a step of `change` asks"
        return self._writer

    def check_open(self) -> None:
        """Raises QueueClosedError after `close`, LogUnavailableError after a fork in a call."""
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")
        if self._broken_fork:
            raise LogUnavailableError(
                f"{self.path}: this process was forked in the middle of a call on the log; "
                "fork before opening it, or start the process anew"
            )

    def close(self) -> None:
        """Closes the connections; waits for the calls under way; may be called twice."""
        self._closed = True
        with self._query_lock, self._write_lock, self._read_lock:
            self._close_connections()

    # Around forks.

    def before_fork(self) -> None:
        """See Forkable; a call that does not end in time leaves the child without this log."""
        # A query takes the longest, so it comes first, before anybody is held up.
        locks = (self._query_lock, self._write_lock, self._read_lock)
        wait = fork.FORK_WAIT_S
        self._parked = [lock for lock in locks if lock.acquire(timeout=wait)]
        if len(self._parked) == len(locks):
            self._close_connections()

    def after_fork_in_parent(self) -> None:
        """See Forkable."""
        for lock in self._parked:
            lock.release()

    def after_fork_in_child(self) -> None:
        """See Forkable; a connection still open here can be neither used nor closed, only kept."""
        connections = (self._writer, self._reader, self.asker)
        left = [each for each in connections if each is not None]
        abandoned.extend(left)
        self._broken_fork = bool(left)
        self._writer = self._reader = self.asker = None
        # Without a connection of the parent's, another file may have come here unnoticed.
        self._namespace_id = self._left = None
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._query_lock = threading.Lock()
        self._slots.close_all()
        self._on_fork()

    # Asking.

    def _believed(self, ask: Callable[[], T], drop: Callable[[], None]) -> T:
        """Returns the answer; believes in damage once a fresh connection has found it as well."""
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
        except (apsw.Error, *read.UNREADABLE) as error:
            raise self._translated(error, position) from error

    def _change(self, step: Question[T], in_flight: Callable[[], Commit | None]) -> T:
        connection = self._writing()
        is_done = False
        try:
            # Commits at the end, or rolls back, in C.
            with connection:
                result = step(connection, self._find_namespace(connection))
                # As late as can be: what a lost file holds is in no one's queue.
                self._files.check()
                is_done = True
            if commit := in_flight():
                head = Head(commit.last, commit.at, commit.seal)
                self._left = connection.data_version(), head
        except apsw.Error as error:
            _roll_back(connection)
            commit = in_flight()
            if not (is_done and commit and self._was_stored(commit)):
                self._files.check()
                raise self._refusal(error, commit) from error
        except LogError:
            # What does not fit may be another log, in the place of this one.
            self._files.check()
            raise
        return result

    def _lend_slot(self) -> SlotFile:
        try:
            return self._slots.lend()
        except OSError as error:
            # The folder may be gone, with all that is in it.
            self._files.check()
            raise files.unavailable(files.lock_path(self.path), error) from error

    def _was_stored(self, commit: Commit) -> bool:
        """Whether a commit of unknown outcome is in the log, asked through a new connection.

        If it is not, but all of it has reached the WAL, a transaction without effect takes its
        place there: else it might come back to life after a crash.
        """
        self._drop_writer()
        try:
            with closing(self._connect(writes=False)) as fresh:
                if read.has_commit(fresh, self.namespace, commit):
                    return True
                is_left = wal.holds_more(fresh, self.path)
            if is_left:
                self._writing().execute(schema.REWRITE_SCHEMA_VERSION)
        except (apsw.Error, OSError, LogError) as error:
            self._drop_writer()
            raise LogOutcomeUnknownError(
                f"{self.path}: {error}; while the disk fails, it is not certain that "
                f"the commit at position {commit.first} will stay absent"
            ) from error
        return False

    def _query(self, text: str, values: Sequence[Any]) -> Rows:
        self.check_open()
        self._files.check()
        connection = self.asker = self._connect(writes=False)
        try:
            return run_query(connection, text, values)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise self._translated(error, 0) from error
        finally:
            connection.close()
            self.asker = None

    def _find_namespace(self, connection: apsw.Connection) -> int | None:
        if self._namespace_id is None:
            return read.find_namespace(connection, self.namespace)
        return self._namespace_id

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
            return files.unavailable(self.path, error)
        return LogCorruptError(position, str(error))

    # Connecting.

    def _check_writable(self) -> None:
        if self._closed or self._broken_fork:
            self.check_open()
        if not self._writable:
            raise LogUnavailableError(f"{self.path}: is not writable, opened for reading only")

    def _reading(self) -> apsw.Connection:
        self.check_open()
        self._files.check()
        if not self._writable:
            # A writer may have come or gone, which changes how the file must be read.
            self._drop_reader()
        if self._reader is None:
            self._reader = self._connect(writes=False)
        return self._reader

    def _writing(self) -> apsw.Connection:
        if self._writer is None:
            self._check_writable()
            self._files.check()
            self._writer = self._connect(writes=True)
            self._writer.transaction_mode = "IMMEDIATE"
        elif self._writer.in_transaction:
            # Left by an interrupt that came upon another one.
            _roll_back(self._writer)
        return self._writer

    def _connect(self, *, writes: bool) -> apsw.Connection:
        is_first = self._writable and self._writer is None and self._reader is None
        is_found = is_first and files.has_wal(self.path)
        try:
            if self._writable:
                # Also to read only: each connection shares the index of the WAL.
                flags = apsw.SQLITE_OPEN_READWRITE
                connection = apsw.Connection(
                    self.path, flags=flags, statementcachesize=CACHED_STATEMENTS
                )
            else:
                connection = files.connect_read_only(self.path)
            try:
                self._set_up(connection, writes=writes)
                if is_first:
                    self._files.note_beside()
                if is_found:
                    files.sync_found(self.path)
            except BaseException:
                connection.close()
                raise
        except apsw.Error as error:
            raise self._translated(error, 0) from error
        return connection

    def _set_up(self, connection: apsw.Connection, *, writes: bool) -> None:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        files.check_connection(connection, self.path)
        connection.execute("PRAGMA trusted_schema = OFF")
        # Else a plan may depend on the values bound, and SQLite prepares HEAD anew at each call.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        if not writes:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        # A user's statements come here, too: none may write SQLite's own tables and pages.
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        # macOS alone: there a plain sync leaves the data in the drive's own cache.
        connection.execute("PRAGMA fullfsync = ON")
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise LogUnavailableError(f"{self.path}: cannot be put into WAL mode, but in {mode}")

    def _close_connections(self) -> None:
        self._slots.close_idle()
        self._drop_writer()
        self._drop_reader()
        self._files.forget_beside()

    def _drop_writer(self) -> None:
        self._left = None
        dropped, self._writer = self._writer, None
        self._close_one(dropped)

    def _drop_reader(self) -> None:
        dropped, self._reader = self._reader, None
        self._close_one(dropped)

    def _close_one(self, connection: apsw.Connection | None) -> None:
        if connection is None:
            return
        # What was committed is safe; a checkpoint that failed is the next opener's work.
        with suppress(apsw.Error):
            try:
                self._files.check_index()
            except LogError:
                # By an index that others do not have, a checkpoint would drop their commits.
                connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close()


def _roll_back(connection: apsw.Connection) -> None:
    """Ends the connection's transaction, if it is in one, without effect."""
    # Some errors roll back by themselves, and after others the connection is given up anyway.
    with suppress(apsw.Error):
        if connection.in_transaction:
            connection.execute(schema.ROLLBACK)
