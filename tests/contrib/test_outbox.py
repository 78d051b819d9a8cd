"""Outboxes: a committed row becomes one task, a rolled back one none, in every form of `on=`."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

import eventq
from eventq.archive import archive_events, delete_archived, find_end
from eventq.contrib import Outbox
from eventq.contrib.outbox import OutboxTask
from eventq.contrib.outbox.places import FORMS
from eventq.replay.points import find_point
from tests.contrib.postgres import Postgres
from tools.mongod import ReplicaSet

# Begins a transaction of the application's, which the block's end commits.
Begin = Callable[[], AbstractContextManager[Any]]


class App:
    """An application's database: its URL, and how it begins a transaction."""

    def __init__(self, at: object, begin: Begin) -> None:
        self.at = at
        self.begin = begin


def postgres_app(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_url()


@pytest.fixture(
    params=[
        "alchemy-postgres",
        "alchemy-postgres-connection",
        "alchemy-scoped",
        "alchemy-sqlite",
        "mongo",
        "psycopg",
        "sqlite3",
    ]
)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """Each kind of database, in each form of a transaction."""
    kind: str = request.param
    sqlite_url = f"sqlite:///{tmp_path}/shop.db"
    if kind == "sqlite3":
        yield App(sqlite_url, lambda: sqlite_transaction(tmp_path / "shop.db"))
    elif kind == "psycopg":
        url = postgres_app(request)
        with psycopg.connect(url) as connection:
            yield App(url, lambda: entered(connection, connection.transaction()))
    elif kind == "mongo":
        server: ReplicaSet = request.getfixturevalue("mongod")
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(server.url("admin"))
        with client:
            name = f"shop{threading.get_ident()}{tmp_path.name}"[-50:].replace("-", "")
            yield App(client[name], lambda: mongo_transaction(client))
    else:
        url = postgres_app(request) if "postgres" in kind or "scoped" in kind else sqlite_url
        engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
        forms: dict[str, Begin] = {
            "alchemy-postgres-connection": engine.begin,
            "alchemy-scoped": lambda: scoped(scoped_session(sessionmaker(engine))),
        }
        yield App(engine, forms.get(kind, lambda: session_of(engine)))
        engine.dispose()


@contextmanager
def entered(
    connection: psycopg.Connection, block: AbstractContextManager[Any]
) -> Iterator[psycopg.Connection]:
    """The connection, within its own block or another one."""
    with block:
        yield connection


@contextmanager
def sqlite_transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that commits at the end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


@contextmanager
def session_of(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end."""
    with Session(engine) as session, session.begin():
        yield session


@contextmanager
def scoped(sessions: scoped_session[Session]) -> Iterator[scoped_session[Session]]:
    """A session of the thread's, as web frameworks hand it around."""
    with sessions.begin():
        yield sessions
    sessions.remove()


@contextmanager
def mongo_transaction(
    client: pymongo.MongoClient[dict[str, Any]],
) -> Iterator[object]:
    """A session in a transaction."""
    with client.start_session() as session, session.start_transaction():
        yield session


@pytest.fixture
def outbox(queue: eventq.Queue, app: App) -> Iterator[Outbox]:
    """An outbox with its table, that relays when it is told to."""
    with Outbox(queue, app.at, relay=False) as opened:
        opened.create()
        yield opened


def test_a_committed_row_becomes_one_task(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """Not before it is relayed, when `get` finds its row; and once, however often it is relayed."""
    with app.begin() as on:
        key = outbox.new({"order": 1}, on=on, name="pay", priority=3)
        own = outbox.new({"order": 2}, on=on, key="two")

    row = outbox.get(key)
    assert isinstance(row, OutboxTask)
    assert (row.key, row.name, row.problem, own) == (key, "pay", None, "two")
    assert queue.get(key) is None
    assert outbox.relay() == 2
    assert outbox.relay() == 0
    task = outbox.get(key)
    assert isinstance(task, eventq.Task)
    assert (task.tags, task.name, task.priority) == ({"order": 1}, "pay", 3)
    assert [each.key for each in queue.tasks()] == [key, "two"]


def test_a_rolled_back_row_is_never_made(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """It goes with the transaction."""
    with pytest.raises(ZeroDivisionError), app.begin() as on:  # noqa: PT012 - the block is what ends
        outbox.new({"order": 1}, on=on)
        raise ZeroDivisionError

    assert outbox.relay() == 0
    assert queue.tasks() == []


def test_rows_come_in_the_order_of_transactions(
    queue: eventq.Queue, app: App, outbox: Outbox
) -> None:
    """One that committed before another began comes first, and rows of one stay in order."""
    for transaction in range(5):
        with app.begin() as on:
            for row in range(3):
                outbox.new({"order": 3 * transaction + row}, on=on)

    assert outbox.relay() == 15
    assert [task.tags["order"] for task in queue.tasks()] == list(range(15))


def test_the_processs_own_relay_follows_the_commit(queue: eventq.Queue, app: App) -> None:
    """It needs no other: the task is there soon after the commit."""
    with Outbox(queue, app.at) as outbox:
        outbox.create()
        with app.begin() as on:
            key = outbox.new({"order": 1}, on=on)
        with appended(queue) as there:
            assert queue.get(key) or there(key)


def test_several_relays_make_each_once(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """They take turns; each row is one task, in order."""
    for order in range(60):
        with app.begin() as on:
            outbox.new({"order": order}, on=on)

    others = [Outbox(queue, app.at, relay=False) for _ in range(3)]
    threads = [threading.Thread(target=other.relay) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outbox.relay()

    assert [task.tags["order"] for task in queue.tasks()] == list(range(60))


def test_a_run_relays_what_is_committed(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """Until idle: also what its own attempts commit meanwhile."""
    queue.task("pay")(lambda order: order)
    with app.begin() as on:
        outbox.new({"order": 1}, on=on, name="pay")

    @queue.task("order")
    def order() -> None:
        with app.begin() as on:
            outbox.new({"order": 2}, on=on, name="pay")

    order.new()
    report = queue.run(until="idle", signals=False, outboxes=[outbox])

    assert report.completed == 3
    assert report.left == 0


@contextmanager
def appended(queue: eventq.Queue) -> Iterator[Callable[[str], bool]]:
    """Waits until a key is there, woken by each append; at most 20 s."""
    news = threading.Event()
    watch = queue.log.watch(news.set)

    def there(key: str) -> bool:
        for _ in range(200):
            if queue.get(key) is not None:
                return True
            news.wait(0.1)
            news.clear()
        return False

    try:
        yield there
    finally:
        watch.close()


@pytest.mark.parametrize("driver", ["aiosqlite", "asyncpg", "psycopg"])
def test_sessions_for_asyncio(
    queue: eventq.Queue, request: pytest.FixtureRequest, tmp_path: Path, driver: str
) -> None:
    """`new` is not awaited on an AsyncSession; on a connection it goes by `run_sync`."""
    kind = "sqlite" if driver == "aiosqlite" else "postgresql"
    url = f"sqlite:///{tmp_path}/shop.db" if kind == "sqlite" else postgres_app(request)

    async def main() -> list[str]:
        engine = create_async_engine(url.replace(kind, f"{kind}+{driver}", 1))
        with Outbox(queue, engine, relay=False) as outbox:
            await asyncio.to_thread(outbox.create)
            async with AsyncSession(engine) as session:
                keys = [outbox.new({"order": 1}, on=session)]
                await session.commit()
                outbox.new({"order": 2}, on=session)
                await session.rollback()
            async with engine.begin() as connection:
                keys.append(
                    await connection.run_sync(lambda each: outbox.new({"order": 3}, on=each))
                )
            assert await asyncio.to_thread(outbox.relay) == 2
        await engine.dispose()
        return keys

    keys = asyncio.run(main())

    assert [task.key for task in queue.tasks()] == keys


def test_a_missing_table_is_said(queue: eventq.Queue, app: App) -> None:
    """With the command that makes it; where a collection needs no making, the row is there."""
    outbox = Outbox(queue, app.at, relay=False)
    if isinstance(app.at, pymongo.database.Database):
        with app.begin() as on:
            outbox.new({"order": 1}, on=on)
        assert outbox.relay() == 1
        return

    with pytest.raises(eventq.OutboxError, match="eventq outbox create"), app.begin() as on:
        outbox.new({"order": 1}, on=on)
    with pytest.raises(eventq.OutboxError, match="eventq outbox create"):
        outbox.relay()


def test_what_cannot_be_made_is_set_aside(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """A damaged row, or one whose key is another's, blocks nothing, is told, and can be retried."""
    queue.new({"order": 0}, key="taken")
    with app.begin() as on:
        outbox.new({"order": 1}, on=on, key="taken")
        outbox.new({"order": 2}, on=on, key="after-none", after=["no such task"])
        outbox.new({"order": 3}, on=on, key="well")
    with app.begin() as on:
        outbox.new({"order": 4}, on=on, key="damaged")
    damage(app, "damaged")

    assert outbox.relay() == 4
    assert queue.get("well") is not None
    problems = {each.key: each.problem or "" for each in outbox.aside()}
    assert "KeyConflictError" in problems["taken"]
    assert "TaskNotFoundError" in problems["after-none"]
    assert "damaged" in problems["damaged"]
    assert outbox.relay() == 0
    queue.new({"order": 5}, key="no such task")
    assert outbox.retry("after-none") == 1
    assert outbox.relay() == 1
    assert queue.get("after-none") is not None
    assert outbox.retry() == 2


def damage(app: App, key: str) -> None:
    """Writes into a row what is no order."""
    statement = f"UPDATE eventq_outbox SET body = 'not JSON' WHERE key = '{key}'"  # noqa: S608
    if isinstance(app.at, pymongo.database.Database):
        app.at["eventq_outbox"].update_one({"key": key}, {"$set": {"body": "not JSON"}})
        return
    with app.begin() as on:
        on.execute(text(statement) if hasattr(on, "scalars") else statement)


def test_rows_older_than_the_log_are_set_aside(
    queue: eventq.Queue, app: App, outbox: Outbox, tmp_path: Path
) -> None:
    """A database that was restored brings rows back whose tasks may be forgotten."""
    with app.begin() as on:
        outbox.new({"order": 1}, on=on, key="old")
    queue.task("pay")(lambda: None)
    queue.new(name="pay")
    queue.run(until="idle", signals=False)
    now = queue.log.head().at + 1
    until = find_end(queue.log, find_point(queue.log, "end", now=now))
    archive_events(queue.log, tmp_path / "archive", until=until)
    delete_archived(queue.log, tmp_path / "archive", until=until, now=now)

    outbox.relay()

    assert [each.key for each in outbox.aside()] == ["old"]
    assert outbox.retry("old") == 1
    outbox.relay()
    assert queue.get("old") is not None


def test_a_delay_counts_from_the_transaction(queue: eventq.Queue, app: App, outbox: Outbox) -> None:
    """Not from the relay, so that each delivery is the same task."""
    with app.begin() as on:
        key = outbox.new({"order": 1}, on=on, delay="1h")
    row = outbox.get(key)
    outbox.relay()

    task = queue.get(key)
    assert isinstance(row, OutboxTask)
    assert task is not None
    assert task.scheduled_at is not None
    assert (task.scheduled_at - row.made_at).total_seconds() == pytest.approx(3600)


def test_without_a_transaction_it_is_refused(
    queue: eventq.Queue, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """There would be nothing for the row to be in: autocommit, or what is no session at all."""
    url = postgres_app(request)
    outbox = Outbox(queue, url, relay=False)
    outbox.create()
    engine = create_engine(
        url.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    plain = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    with closing(plain), psycopg.connect(url, autocommit=True) as connection:
        with Session(engine) as session:
            for on in (object(), None, "session", connection, session, plain, engine):
                with pytest.raises(eventq.ArgumentError, match="on:"):
                    outbox.new({"order": 1}, on=on)
        with connection.transaction():
            outbox.new({"order": 2}, on=connection)
    engine.dispose()

    assert outbox.relay() == 1


def test_eventqs_own_file_is_refused(queue: eventq.Queue, tmp_path: Path) -> None:
    """There `queue.transaction()` is what does it."""
    own = tmp_path / "tasks.db"
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(eventq.ArgumentError, match="transaction"):
            Outbox(queue, f"sqlite:///{own}")
        with pytest.raises(eventq.ArgumentError, match="at"):
            Outbox(queue, "nonsense")

    assert "sqlite3" in FORMS


def test_the_commands(queue: eventq.Queue, tmp_path: Path) -> None:
    """`outbox create`, `relay --once`, `outbox ls` and `retry` do what the methods do."""
    at = f"sqlite:///{tmp_path}/shop.db"

    def call(*words: str) -> str:
        command = [sys.executable, "-m", "eventq", *words, "--url", queue.url, "--json"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    call("outbox", "create", at)
    outbox = Outbox(queue, at, relay=False)
    queue.new({"order": 0}, key="taken")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        outbox.new({"order": 1}, on=connection)
        outbox.new({"order": 2}, on=connection, key="taken")

    assert '"relayed":2' in call("relay", at, "--once")
    assert '"key":"taken"' in call("outbox", "ls", at)
    assert '"retried":1' in call("outbox", "retry", at)
    assert len(queue.tasks()) == 2
