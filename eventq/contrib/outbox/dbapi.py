"""Outboxes by plain drivers: psycopg's connections, and those of the standard sqlite3."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from eventq.contrib.outbox.listening import Listener
from eventq.contrib.outbox.row import OutboxRow
from eventq.contrib.outbox.sql import INSERT, Dialect, SqlStore, missing, rendered, values_of
from eventq.contrib.outbox.store import OutboxStore, Watching
from eventq.errors import ArgumentError, OutboxError

R = TypeVar("R")

# With NOTIFY a relay looks by itself only for what it may have missed.
NOTIFIED_POLL_S = 5.0
POLL_S = 0.15
IN_TRANSACTION = "a connection in a transaction: with autocommit there is none for the row to be in"


class DbapiLink:
    """A Wire by any driver that keeps PEP 249."""

    def __init__(self, connection: Any, paramstyle: str) -> None:  # noqa: ANN401 - any driver's
        self.paramstyle = paramstyle
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See Wire.execute."""
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, tuple(values))
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        finally:
            cursor.close()

    def commit(self) -> None:
        """See Wire.commit."""
        self._connection.commit()

    def rollback(self) -> None:
        """See Wire.rollback."""
        self._connection.rollback()


class SqlitePlace:
    """A Site in a SQLite file of the application's."""

    poll_s = POLL_S

    def __init__(self, path: str) -> None:
        if path in {"", ":memory:"}:
            raise ArgumentError("on", path, "a database in a file: no relay sees one in memory")
        self.path = path
        self.shown = f"sqlite:///{path}"

    @property
    def home(self) -> str:
        """See Site.home."""
        return os.path.realpath(self.path)

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """See Site.visit."""
        connection = sqlite3.connect(self.path, timeout=30.0)
        # What is no text is set aside as any other damage, and blocks no other row.
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            link, lock = DbapiLink(connection, "qmark"), f"{self.path}-relay"
            return work(SqlStore(link, "sqlite", namespace, shown=self.shown, lock=lock))
        finally:
            connection.close()

    def watch(self, wake: Callable[[], None]) -> Watching | None:  # noqa: ARG002 - nobody tells
        """See Site.watch."""
        return None


class PostgresPlace:
    """A Site in a PostgreSQL database, by psycopg."""

    poll_s = NOTIFIED_POLL_S

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """``parameters`` are those of `psycopg.connect`; a URL alone is its ``conninfo``."""
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - an extra

        found = dict(conninfo_to_dict(**parameters))
        name = found.get("dbname")
        self.home = None if name is None else f"postgresql:{name}"
        self.shown = shown_parameters(found)
        self.parameters = dict(parameters)

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """See Site.visit."""
        import psycopg  # noqa: PLC0415 - an extra

        with psycopg.connect(**self.parameters) as connection:
            # A relay waits for another one; stricter, it would be refused.
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            link = DbapiLink(connection, "format")
            return work(SqlStore(link, "postgresql", namespace, shown=self.shown, lock=None))

    def watch(self, wake: Callable[[], None]) -> Watching | None:
        """See Site.watch."""
        return Listener(self.parameters, wake)


class EnrolledConnection:
    """A transaction of psycopg or sqlite3."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - of either driver
        """Raises ArgumentError for a connection without a transaction."""
        self._connection = connection
        if isinstance(connection, sqlite3.Connection):
            self._dialect: Dialect = "sqlite"
            if commits_at_once(connection):
                raise ArgumentError("on", connection, IN_TRANSACTION)
            cursor = connection.cursor()
            # Whatever rows the application wants.
            cursor.row_factory = None
            files = {name: file for _, name, file in cursor.execute("PRAGMA database_list")}
            self.place: SqlitePlace | PostgresPlace = SqlitePlace(files["main"])
            return
        import psycopg  # noqa: PLC0415 - an extra

        if not isinstance(connection, psycopg.Connection):
            raise ArgumentError("on", connection, "a psycopg.Connection: see the docs for asyncio")
        self._dialect = "postgresql"
        is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        if connection.autocommit and is_idle:
            raise ArgumentError("on", connection, IN_TRANSACTION)
        info = connection.info
        self.place = PostgresPlace({**info.get_parameters(), "password": info.password or None})

    def write(self, row: OutboxRow) -> None:
        """See Enrolled.write. Raises OutboxError where the table is missing."""
        style = "qmark" if self._dialect == "sqlite" else "format"
        try:
            self._connection.execute(rendered(INSERT, style), values_of(row))
        except Exception as error:
            raise _as_ours(error, self.place.shown) from error

    def on_commit(self, wake: Callable[[], None]) -> bool:  # noqa: ARG002 - nothing tells
        """See Enrolled.on_commit."""
        return False


def commits_at_once(connection: Any) -> bool:  # noqa: ANN401 - sqlite3's, or one like it
    """Whether the next statement on a SQLite connection is a transaction of its own."""
    # Since Python 3.12 the one, if it is set, beats the other.
    is_autocommit = getattr(connection, "autocommit", None) is True
    begins = connection.isolation_level is not None and not is_autocommit
    return not connection.in_transaction and not begins


def enrolled(on: object) -> EnrolledConnection:
    """The transaction of a connection. Raises ArgumentError for what is none."""
    return EnrolledConnection(on)


def is_missing(error: Exception) -> bool:
    """Whether a driver's error says that the table, or a column of it, is not there."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    is_of_table = "eventq_outbox" in text and ("no such table" in text or "has no column" in text)
    return bool(kinds & {"UndefinedTable", "UndefinedColumn"}) or is_of_table


def shown_parameters(parameters: Mapping[str, Any]) -> str:
    """Parameters of libpq as a URL without a password."""
    place = str(parameters.get("host") or "localhost").split(",")[0]
    port = f":{parameters['port']}" if parameters.get("port") else ""
    host = "" if place.startswith("/") else f"{place}{port}"
    query = f"?host={place}{port and '&port='}{port[1:]}" if place.startswith("/") else ""
    return f"postgresql://{host}/{parameters.get('dbname') or ''}{query}"


def _as_ours(error: Exception, shown: str) -> Exception:
    problem: OutboxError | Exception = missing(shown) if is_missing(error) else error
    return problem
