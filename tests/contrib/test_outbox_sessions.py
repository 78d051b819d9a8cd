"""Sessions in all their ways: what commits by itself, forgets, or is of another database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import eventq
from eventq.contrib import Outbox
from eventq.contrib.outbox import alchemy
from tests.contrib.postgres import Postgres


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[eventq.Queue]:
    """A queue on a file of its own."""
    with eventq.Queue(f"sqlite:///{tmp_path}/tasks.db") as queue:
        yield queue


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The application's database, with the table."""
    return f"sqlite:///{tmp_path}/shop.db"


@pytest.fixture
def outbox(queue: eventq.Queue, url: str) -> Iterator[Outbox]:
    """Relays only when it is asked to."""
    with Outbox(queue, url, relay=False) as outbox:
        outbox.create()
        yield outbox


def test_a_session_of_another_database_is_refused(
    queue: eventq.Queue, outbox: Outbox, tmp_path: Path
) -> None:
    """No relay looks there; another way to the same file is none."""
    (tmp_path / "link.db").symlink_to(tmp_path / "shop.db")
    elsewhere = pytest.raises(eventq.ArgumentError, match=r"the outbox's place, .*shop\.db")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other, elsewhere:
        outbox.new({"order": 1}, on=other)
    with closing(sqlite3.connect(tmp_path / "link.db")) as same:
        key = outbox.new({"order": 2}, on=same)
        same.commit()

    assert outbox.relay() == 1
    assert queue.get(key) is not None


def test_the_first_session_says_where_the_others_must_be(
    queue: eventq.Queue, outbox: Outbox, url: str, tmp_path: Path
) -> None:
    """An outbox that was given no place has one from then on."""
    learns = Outbox(queue, relay=False)
    with Session(create_engine(url)) as session:
        learns.new({"order": 1}, on=session)
        session.commit()
    elsewhere = pytest.raises(eventq.ArgumentError, match=r"the outbox's place, .*shop\.db")
    with Session(create_engine(f"sqlite:///{tmp_path}/other.db")) as session, elsewhere:
        learns.new({"order": 2}, on=session)

    assert outbox.relay() == 1


def test_a_session_that_forgets_its_objects_keeps_the_row(outbox: Outbox, url: str) -> None:
    """The row is in its transaction as soon as `new` returns."""
    with Session(create_engine(url)) as session:
        outbox.new({"order": 1}, on=session)
        session.expunge_all()
        session.commit()

    assert outbox.relay() == 1


def test_a_session_for_asyncio_that_forgets_its_objects_keeps_the_row(
    outbox: Outbox, url: str
) -> None:
    """It writes when it flushes; what it rolls back is gone."""

    async def main() -> None:
        engine = create_async_engine(url.replace("sqlite", "sqlite+aiosqlite", 1))
        async with AsyncSession(engine) as session:
            outbox.new({"order": 1}, on=session)
            session.expunge_all()
            await session.commit()
            outbox.new({"order": 2}, on=session)
            await session.rollback()
            await session.commit()
        await engine.dispose()

    asyncio.run(main())

    assert outbox.relay() == 1


def test_what_is_not_text_is_set_aside(queue: eventq.Queue, outbox: Outbox, url: str) -> None:
    """A row that anybody damaged blocks none behind it."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as on:
        for key in ("damaged", "well"):
            outbox.new({"order": 1}, on=on, key=key)
        on.execute("UPDATE eventq_outbox SET body = CAST(x'fffe' AS TEXT) WHERE key = 'damaged'")
        on.commit()

    assert outbox.relay() == 2
    assert queue.get("well") is not None
    assert [each.key for each in outbox.aside()] == ["damaged"]


def test_rows_of_any_kind_are_read(outbox: Outbox, url: str) -> None:
    """An application's connection may give dictionaries."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as on:
        on.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        outbox.new({"order": 1}, on=on)
        on.commit()

    assert outbox.relay() == 1


AUTOCOMMIT: dict[str, dict[str, Any]] = {
    "engine": {"isolation_level": "AUTOCOMMIT"},
    "driver": {"connect_args": {"isolation_level": None}},
    "session": {},
}


@pytest.mark.parametrize("how", AUTOCOMMIT)
def test_a_session_that_commits_by_itself_is_refused(outbox: Outbox, url: str, how: str) -> None:
    """However it came to that: its rows would outlive a rollback."""
    engine = create_engine(url, **AUTOCOMMIT[how])
    with Session(engine) as session:
        if how == "session":
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        with pytest.raises(eventq.ArgumentError, match="autocommit"):
            outbox.new({"order": 1}, on=session)
    engine.dispose()

    assert outbox.relay() == 0


def test_transactions_that_the_application_begins_are_taken(outbox: Outbox, url: str) -> None:
    """The driver's own beginnings are switched off, as SQLAlchemy advises for savepoints."""
    engine = create_engine(url, connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with Session(engine) as session:
        outbox.new({"order": 1}, on=session)
        session.rollback()
        outbox.new({"order": 2}, on=session)
        session.commit()
    engine.dispose()

    assert outbox.relay() == 1


def test_the_relay_leaves_the_application_its_connections(
    queue: eventq.Queue, postgres: Postgres
) -> None:
    """Of a pool of one, that one; and it waits for others, however strict the application is."""
    engine = create_engine(
        postgres.new_url().replace("postgresql", "postgresql+psycopg", 1),
        isolation_level="SERIALIZABLE",
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
    )
    with Outbox(queue, engine) as outbox:
        outbox.create()
        for _ in range(3):
            with Session(engine) as session:
                key = outbox.new({"order": 1}, on=session)
                session.commit()
            for _ in range(100):
                if queue.get(key) is not None:
                    break
                outbox.relay()
            with Session(engine) as session:
                assert session.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()

    assert len(queue.tasks()) == 3


@pytest.mark.parametrize(
    "driver, query, expected",
    [
        ("psycopg", "sslmode=verify-full&sslrootcert=/ca.pem", ["verify-full", "/ca.pem"]),
        ("asyncpg", "ssl=require&prepared_statement_cache_size=0", ["require", None]),
    ],
)
def test_who_listens_asks_for_the_same_encryption(
    driver: str, query: str, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is less sure would tell the password to anybody."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(alchemy, "Listener", lambda options, _: found.append(options))
    engine = create_engine(f"postgresql+{driver}://ada:secret@db.example:5433/shop?{query}")
    alchemy.AlchemyPlace(engine).watch(lambda: None)

    options = conninfo_to_dict(found[0]["conninfo"])
    assert [options.get("sslmode"), options.get("sslrootcert")] == expected
    assert (options["host"], options["port"], options["password"]) == (
        "db.example",
        "5433",
        "secret",
    )


def test_an_engine_for_asyncio_is_copied_with_its_options(
    queue: eventq.Queue, postgres: Postgres
) -> None:
    """The relay connects as the application does, also from inside a loop, and says what failed."""
    url = postgres.new_url().replace("postgresql", "postgresql+asyncpg", 1)

    async def main() -> int:
        engine = create_async_engine(
            url, connect_args={"server_settings": {"application_name": "a shop"}}
        )
        with Outbox(queue, engine, relay=False) as outbox:
            with pytest.raises(eventq.OutboxError, match="eventq outbox create"):
                outbox.relay()
            outbox.create()
            names = outbox.visit(
                lambda store: store._link.execute("SHOW application_name")  # type: ignore[attr-defined]
            )
            assert names == [("a shop",)]
            async with AsyncSession(engine) as session:
                outbox.new({"order": 1}, on=session)
                await session.commit()
            count = outbox.relay()
        await engine.dispose()
        return count

    assert asyncio.run(main()) == 1
