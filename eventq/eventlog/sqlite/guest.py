"""A user's statements inside a transaction of the log: what they may touch, and how they end.

They run on the writing connection, before the commit beside them is inserted. Nothing here waits,
or knows who asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from eventq.errors import ArgumentError, EventqError, StatementError, TransactionError
from eventq.eventlog.contract import Rows
from eventq.eventlog.sqlite import files
from eventq.eventlog.sqlite.ask import READING, REFUSALS, run_many, run_one
from eventq.eventlog.sqlite.connection import SqliteConnection

# Names of the log's own, with those that it makes when it first needs them. More may come: they
# begin as OWN_PREFIX says.
OWN = frozenset(
    {
        "commits", "events", "events_by_cause", "events_by_key", "events_by_task",
        "events_no_delete", "events_no_update", "history", "kept", "kept_by_key", "namespaces",
        "namespaces_no_delete", "namespaces_no_update", "snapshots", "starts", "task_states",
    }
)  # fmt: skip
OWN_PREFIX = "eventq_"

# What may be done to what is not the log's: nothing temporary, which could hide the log's tables,
# and nothing that begins, ends or configures.
ROWS = frozenset({apsw.SQLITE_INSERT, apsw.SQLITE_UPDATE, apsw.SQLITE_DELETE})
TABLES = frozenset(
    {
        apsw.SQLITE_ALTER_TABLE, apsw.SQLITE_CREATE_INDEX, apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_TRIGGER, apsw.SQLITE_CREATE_VIEW, apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TABLE, apsw.SQLITE_DROP_TRIGGER, apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_REINDEX,
    }
)  # fmt: skip
# SQLite's own statements change these as tables are made; nobody else's can.
SCHEMAS = frozenset({"sqlite_master", "sqlite_temp_master", "sqlite_sequence"})

BEGIN_ANEW = "BEGIN IMMEDIATE"
SELECT_NAMES = "SELECT name FROM sqlite_schema"
ALLOWED = (
    "one SQL statement on tables of your own: not on the log's, none that is temporary or virtual, "
    "no ATTACH, PRAGMA, ANALYZE, SAVEPOINT or COMMIT"
)
CORRECT = "one SQL statement that SQLite can run, with a value for each question mark"


class SqliteGuest:
    """Statements of a user's in the transaction under way. For one thread at a time."""

    def __init__(self, connection: apsw.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._broken: str | None = None
        self._own_names = self._find_own_names()
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        connection.authorizer = _judge

    def execute(self, text: str, values: Sequence[Any]) -> Rows:
        """See Guest.execute."""
        self._check_whole()
        try:
            return run_one(self._connection, text, values)
        except (*REFUSALS, apsw.Error) as error:
            raise self._refusal(text, error) from error

    def execute_many(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """See Guest.execute_many."""
        self._check_whole()
        try:
            run_many(self._connection, text, rows)
        except (*REFUSALS, apsw.Error) as error:
            raise self._refusal(text, error) from error

    def interrupt(self) -> None:
        """See Guest.interrupt."""
        self._connection.interrupt()

    def check(self) -> None:
        """See Guest.check."""
        self._check_whole()
        connection = self._connection
        if connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise StatementError("FOREIGN KEY constraint failed", "SQLITE_CONSTRAINT_FOREIGNKEY")
        connection.authorizer = None
        # SQLite asks nobody for the new name of a table.
        if taken := self._find_own_names() - self._own_names:
            problem = "a name for your table that the log does not keep for itself"
            raise ArgumentError("query", f"ALTER TABLE ... RENAME TO {min(taken)}", problem)

    def leave(self) -> None:
        """See Guest.leave."""
        self._connection.authorizer = None
        if not self._connection.in_transaction:
            # There is to be one that can be ended, though nothing is left of it.
            self._connection.execute(BEGIN_ANEW)
        self._connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)

    def _find_own_names(self) -> set[str]:
        names = self._connection.execute(SELECT_NAMES).fetchall()
        return {str(name) for (name,) in names if _is_own(str(name))}

    def _check_whole(self) -> None:
        if self._broken is not None:
            raise TransactionError(f"it was rolled back: {self._broken}")

    def _refusal(self, text: str, error: Exception) -> EventqError:
        if not self._connection.in_transaction:
            # As after a full disk: SQLite has ended all of it.
            self._broken = str(error)
        if isinstance(error, apsw.ConstraintError):
            code = apsw.mapping_extended_result_codes[getattr(error, "extendedresult", 0)]
            return StatementError(str(error), str(code))
        if isinstance(error, apsw.InterruptError):
            return TransactionError("its time was over in the middle of a statement")
        if isinstance(error, REFUSALS):
            expected = ALLOWED if isinstance(error, apsw.AuthError) else CORRECT
            return ArgumentError("query", text, f"{expected} ({error})")
        return files.unavailable(self._path, error)


class SqliteHosting:
    """The Hosting of one SQLite log."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def receive(self) -> SqliteGuest:
        """See Hosting.receive."""
        return SqliteGuest(self._connection.in_change(), self._connection.path)


def _judge(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Whether a step of a statement is one of those that are allowed."""
    if action in READING:
        return apsw.SQLITE_OK
    if action in ROWS:
        is_free = not _is_own(first)
    elif action in TABLES:
        is_free = not (_is_own(first) or _is_own(second))
    else:
        is_free = False
    return apsw.SQLITE_OK if is_free else apsw.SQLITE_DENY


def _is_own(name: str | None) -> bool:
    """Whether the name is the log's, or SQLite's."""
    known = (name or "").lower()
    if known in SCHEMAS:
        return False
    # What SQLite names itself is an index of a table that was judged by its own name.
    is_other = known.startswith("sqlite_") and not known.startswith("sqlite_autoindex_")
    return known in OWN or is_other or known.startswith(OWN_PREFIX)
