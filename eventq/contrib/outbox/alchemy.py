"""Outboxes by SQLAlchemy 2: sessions and connections, plain and for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

from sqlalchemy import BigInteger, Column, Engine, Integer, MetaData, Table, Text, event
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, registry, scoped_session

from eventq.contrib.outbox.dbapi import (
    IN_TRANSACTION,
    NOTIFIED_POLL_S,
    POLL_S,
    SqlitePlace,
    commits_at_once,
    is_missing,
)
from eventq.contrib.outbox.listening import Listener
from eventq.contrib.outbox.row import TABLE, OutboxRow
from eventq.contrib.outbox.sql import TELLING, SqlStore, dialect_of, missing
from eventq.contrib.outbox.store import OutboxStore, Site, Watching
from eventq.errors import ArgumentError
from eventq.host.surroundings import running_loop

R = TypeVar("R")

metadata = MetaData()
"""Of the outbox's table, for an application's migrations."""

table = Table(
    TABLE,
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("namespace", Text, nullable=False),
    Column("key", Text, nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("problem", Text),
    # A number that was a row's is never another's.
    sqlite_autoincrement=True,
)


@event.listens_for(table, "after_create")
def _tell_of_commits(_: object, connection: Connection, **__: object) -> None:
    """Makes what wakes relays, where an application makes the table itself."""
    for statement in TELLING if connection.dialect.name == "postgresql" else ():
        connection.exec_driver_sql(statement)


class MappedRow:
    """A row as a session writes it: with its other changes, when it flushes."""

    def __init__(self, row: OutboxRow) -> None:
        self.namespace = row.namespace
        self.key = row.key
        self.version = row.version
        self.made_at = row.made_at
        self.body = row.body


registry(metadata=metadata).map_imperatively(MappedRow, table)

# Under which a session, or an engine, keeps that it has been prepared.
MARK = "eventq_outbox"
KEPT = "eventq_outbox_kept"
_marking = threading.Lock()


class AlchemyLink:
    """A Wire by a connection of SQLAlchemy's, in the driver's own words."""

    def __init__(self, connection: Connection) -> None:
        self.paramstyle: str = connection.dialect.paramstyle
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See Wire.execute."""
        result = self._connection.exec_driver_sql(statement, tuple(values))
        return [tuple(row) for row in result.all()] if result.returns_rows else []

    def commit(self) -> None:
        """See Wire.commit."""
        self._connection.commit()

    def rollback(self) -> None:
        """See Wire.rollback."""
        self._connection.rollback()


class AlchemyPlace:
    """A Site by an engine for PostgreSQL; one for asyncio is copied for the relay's own loop."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        name = engine.url.database
        self.home = None if name is None else f"postgresql:{name}"
        self.shown = engine.url.set(drivername="postgresql").render_as_string()
        self.poll_s = NOTIFIED_POLL_S if _has_psycopg() else POLL_S

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """See Site.visit."""
        is_async = self.engine.dialect.is_async

        def with_connection(connection: Connection) -> R:
            # A relay waits for another one; stricter, it would be refused.
            connection.execution_options(isolation_level="READ COMMITTED")
            if not is_async:
                # Else the application's pool had one less while a relay waits.
                connection.detach()
            link = AlchemyLink(connection)
            return work(SqlStore(link, "postgresql", namespace, shown=self.shown, lock=None))

        if not is_async:
            with self.engine.connect() as connection:
                return with_connection(connection)
        if running_loop() is None:
            return asyncio.run(self._visit(with_connection))
        # A loop cannot run inside another one.
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(asyncio.run, self._visit(with_connection)).result()

    def watch(self, wake: Callable[[], None]) -> Watching | None:
        """See Site.watch; by psycopg, where it is installed beside the engine's driver."""
        if not _has_psycopg():
            return None
        url = self.engine.url.set(drivername="postgresql", query=_libpq_query(self.engine))
        return Listener({"conninfo": url.render_as_string(hide_password=False)}, wake)

    async def _visit(self, work: Callable[[Connection], R]) -> R:
        # The application's pool belongs to another loop; this one connects as that does.
        pool = self.engine.pool.recreate()
        own = AsyncEngine(Engine(pool, self.engine.dialect, self.engine.url))
        try:
            async with own.connect() as connection:
                return await connection.run_sync(work)
        finally:
            await own.dispose()


class EnrolledAlchemy:
    """The transaction of a session or of a connection."""

    def __init__(self, on: Session | Connection, engine: Engine) -> None:
        """Raises ArgumentError for one without a transaction."""
        self._session = on if isinstance(on, Session) else None
        self._connection = on if isinstance(on, Connection) else None
        if self._session is not None and not engine.dialect.is_async:
            self._connection = self._session.connection(bind_arguments={"mapper": MappedRow})
        if self._connection is not None:
            check_transaction(self._connection)
        self.place = place_of(engine)
        _prepare(engine, self.place.shown)

    def write(self, row: OutboxRow) -> None:
        """See Enrolled.write; an AsyncSession writes at its flush. Raises OutboxError."""
        if self._connection is not None:
            values = {name: getattr(row, name) for name in row.__struct_fields__ if name != "id"}
            self._connection.execute(table.insert(), values)
        elif self._session is not None:
            _keep_pending(self._session)
            self._session.add(MappedRow(row))

    def on_commit(self, wake: Callable[[], None]) -> bool:
        """See Enrolled.on_commit; a connection says it before, so that it tells nothing."""
        if self._session is None:
            return False
        woken = self._session.info.setdefault(MARK, [])
        if wake not in woken:
            woken.append(wake)
            event.listen(self._session, "after_commit", lambda _: wake())
        return True


def enrolled(on: object) -> EnrolledAlchemy:
    """The transaction of what SQLAlchemy calls a session or connection. Raises ArgumentError."""
    if isinstance(on, scoped_session | async_scoped_session):
        on = on()
    if isinstance(on, AsyncSession):
        on = on.sync_session
    if isinstance(on, Session):
        return EnrolledAlchemy(on, on.get_bind(MappedRow).engine)
    if isinstance(on, Connection):
        return EnrolledAlchemy(on, on.engine)
    expected = (
        "a session or a connection; of an AsyncConnection: "
        "`await connection.run_sync(lambda each: outbox.new(..., on=each))`"
    )
    raise ArgumentError("on", on, expected)


def place_of(engine: Engine | AsyncEngine) -> Site:
    """Where the engine's database is, for a relay. Raises ArgumentError."""
    plain = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    dialect = dialect_of(plain.dialect.name)
    if dialect == "sqlite":
        return SqlitePlace(plain.url.database or "")
    return AlchemyPlace(plain)


def check_transaction(connection: Connection) -> None:
    """Raises ArgumentError for a connection that commits each statement by itself."""
    used = connection.connection
    if connection.dialect.name == "sqlite":
        is_autocommit = commits_at_once(used.driver_connection)
    else:
        is_autocommit = getattr(used.dbapi_connection, "autocommit", False) is True
    if is_autocommit:
        raise ArgumentError("on", connection, IN_TRANSACTION)


@event.listens_for(MappedRow, "before_insert")
def _check_insert(_: object, connection: Connection, __: object) -> None:
    """An AsyncSession's connection is known only when it flushes."""
    check_transaction(connection)


def _keep_pending(session: Session) -> None:
    """Has the session keep a row that is not flushed, where it forgets its objects."""
    if session.info.setdefault(KEPT, False):
        return
    session.info[KEPT] = True

    def keep(session: Session, instance: object) -> None:
        transaction = session.get_nested_transaction() or session.get_transaction()
        # A transaction that ends forgets its rows, as it should.
        if isinstance(instance, MappedRow) and transaction is not None and transaction.is_active:
            session.add(instance)

    event.listen(session, "pending_to_transient", keep)


def _prepare(engine: Engine, shown: str) -> None:
    """Has the engine say, once and for all, what a missing table means."""

    def tell(context: ExceptionContext) -> None:
        if is_missing(cast("Exception", context.original_exception)):
            raise missing(shown) from context.original_exception

    with _marking:
        if not getattr(engine, MARK, False):
            setattr(engine, MARK, True)
            event.listen(engine, "handle_error", tell)


def _has_psycopg() -> bool:
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError:
        return False
    return True


def _libpq_query(engine: Engine) -> dict[str, Any]:
    """The URL's options in libpq's words, those of TLS among them."""
    query = engine.url.query
    if engine.dialect.driver.startswith("psycopg"):
        return dict(query)
    names = {"host": "host", "port": "port", "ssl": "sslmode"}
    return {names[name]: value for name, value in query.items() if name in names}
