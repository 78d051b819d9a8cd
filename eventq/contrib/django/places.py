"""An outbox in a database of Django's: `on=` one of its connections, and a place for relays.

An application's rows go through the connection of its thread; a relay has one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar, cast

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionProxy

from eventq.contrib.outbox.dbapi import IN_TRANSACTION, NOTIFIED_POLL_S, POLL_S, is_missing
from eventq.contrib.outbox.listening import Listener
from eventq.contrib.outbox.row import OutboxRow
from eventq.contrib.outbox.sql import (
    FIND,
    INSERT,
    SqlStore,
    dialect_of,
    missing,
    rendered,
    values_of,
)
from eventq.contrib.outbox.store import OutboxStore, Watching
from eventq.errors import ArgumentError

R = TypeVar("R")

STYLE = "format"
CURE = "make it with `manage.py migrate --database {}`"
# What Django's parameters of psycopg have beside psycopg's own.
OF_DJANGO = {"context", "cursor_factory", "prepare_threshold", "isolation_level", "pool"}


class DjangoLink:
    """A Wire by a connection of Django's; ``ends`` its transactions, or leaves that to others."""

    paramstyle = STYLE

    def __init__(self, connection: BaseDatabaseWrapper, *, ends: bool) -> None:
        self._connection = connection
        self._ends = ends

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See Wire.execute."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, tuple(values))
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def commit(self) -> None:
        """See Wire.commit."""
        if self._ends:
            self._connection.commit()

    def rollback(self) -> None:
        """See Wire.rollback."""
        if self._ends:
            self._connection.rollback()


class DjangoPlace:
    """A Site in a database of the settings, by its alias."""

    def __init__(self, alias: str) -> None:
        """Raises ArgumentError for a database that is neither PostgreSQL nor SQLite."""
        self.alias = alias
        found = connections[alias]
        self._dialect = dialect_of(found.vendor)
        name = str(found.settings_dict["NAME"])
        self.path = name if self._dialect == "sqlite" and ":" not in name else None
        """Its file, where it is one of SQLite's."""
        self.shown = f"the database {alias!r} of Django's"
        self.poll_s = NOTIFIED_POLL_S if _listens(found) else POLL_S

    @property
    def home(self) -> str:
        """See Site.home; a test run changes the name."""
        name = str(connections[self.alias].settings_dict["NAME"])
        return f"postgresql:{name}" if self._dialect == "postgresql" else os.path.realpath(name)

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """See Site.visit."""
        with closing(connections.create_connection(self.alias)) as connection:
            connection.set_autocommit(False)
            if self._dialect == "sqlite":
                # As SqlitePlace: what is no text blocks no other row.
                connection.connection.text_factory = lambda data: data.decode("utf-8", "replace")
            return work(self._store(DjangoLink(connection, ends=True), namespace))

    def visit_here(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """The same by this thread's own connection, in a transaction of it; for tests."""
        with transaction.atomic(using=self.alias):
            link = DjangoLink(connections[self.alias], ends=False)
            return work(self._store(link, namespace, locks=False))

    def find_here(self, namespace: str, key: str) -> OutboxRow | None:
        """The row with this key, as this thread's own transaction sees it. Raises OutboxError."""
        link = DjangoLink(connections[self.alias], ends=False)
        with self.telling():
            found = link.execute(rendered(FIND, STYLE), (namespace, key))
        return OutboxRow(*found[0][:-1]) if found else None

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Raises OutboxError, which says how it is made, where the table is missing."""
        try:
            yield
        except Exception as error:
            if is_missing(error.__cause__ if isinstance(error.__cause__, Exception) else error):
                raise missing(self.shown, CURE.format(self.alias)) from error
            raise

    def watch(self, wake: Callable[[], None]) -> Watching | None:
        """See Site.watch."""
        found = connections.create_connection(self.alias)
        if not _listens(found):
            return None
        given: dict[str, Any] = found.get_connection_params()
        return Listener({n: v for n, v in given.items() if n not in OF_DJANGO}, wake)

    def _store(self, link: DjangoLink, namespace: str, *, locks: bool = True) -> SqlStore:
        lock = f"{self.path}-relay" if locks and self.path is not None else None
        cure = CURE.format(self.alias)
        return SqlStore(link, self._dialect, namespace, shown=self.shown, lock=lock, cure=cure)


class EnrolledDjango:
    """The transaction of a connection of this thread."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        """Raises ArgumentError for a connection without a transaction."""
        if not connection.in_atomic_block:
            raise ArgumentError("on", connection, IN_TRANSACTION)
        self._connection = connection
        self.place = DjangoPlace(connection.alias)

    def write(self, row: OutboxRow) -> None:
        """See Enrolled.write. Raises OutboxError where the table is missing."""
        with self.place.telling(), self._connection.cursor() as cursor:
            cursor.execute(rendered(INSERT, STYLE), values_of(row))

    def on_commit(self, wake: Callable[[], None]) -> bool:
        """See Enrolled.on_commit."""
        transaction.on_commit(wake, using=self._connection.alias, robust=True)
        return True


def enrolled(on: object) -> EnrolledDjango:
    """The transaction of `django.db.connection`, or of one of `connections`."""
    return EnrolledDjango(_connection_of(on))


def place_of(on: object) -> DjangoPlace:
    """Where the database of a connection is, for a relay."""
    return DjangoPlace(_connection_of(on).alias)


def _connection_of(on: object) -> BaseDatabaseWrapper:
    if isinstance(on, ConnectionProxy):
        # That of this thread.
        return connections[cast("Any", on)._alias]  # noqa: SLF001 - it has no other form
    if isinstance(on, BaseDatabaseWrapper):
        return on
    raise ArgumentError("on", on, "a connection of Django's")


def _listens(connection: BaseDatabaseWrapper) -> bool:
    if connection.vendor != "postgresql":
        return False
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True
