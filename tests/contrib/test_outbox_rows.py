"""Rows of an outbox that somebody has altered: set aside and told, never in the log."""

from __future__ import annotations

import base64
import functools
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

import eventq
from eventq.contrib import Outbox
from eventq.contrib.outbox.alchemy import metadata
from eventq.verify import verify
from tests.contrib.killed import connect
from tests.contrib.postgres import Postgres
from tests.support import wait_until


@pytest.fixture
def outbox(queue: eventq.Queue, tmp_path: Path) -> Iterator[Outbox]:
    """An outbox with its table, that relays when it is told to."""
    with Outbox(queue, f"sqlite:///{tmp_path}/shop.db", relay=False) as opened:
        opened.create()
        yield opened


@pytest.fixture
def session(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The application's connection."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        yield connection


def altered(body: str, **changes: object) -> str:
    """The body with other fields in its order."""
    found = json.loads(body)
    return json.dumps({**found, "order": {**found["order"], **changes}})


def tags(text: bytes) -> str:
    """Tags as a row has them."""
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    "changes",
    [
        {"tags_json": tags(b'{"order":2}')},
        {"tags_json": tags(b"[1, 2]")},
        {"tags_json": tags(b'{"order":')},
        {"tags_json": tags(b"\xff\xfe{}")},
        {"priority": 2**70},
        {"scheduled_at": -5},
        {"trace": "nonsense"},
        {"policy": {"max_retries": -1}},
        {"key": "another"},
        {"route": {"name": "\0"}},
    ],
)
def test_a_body_that_was_altered_is_set_aside(
    queue: eventq.Queue, outbox: Outbox, session: sqlite3.Connection, changes: dict[str, Any]
) -> None:
    """Also where it would do as an order: what stands in it was checked by nobody."""
    key = outbox.new({"order": 1}, on=session)
    [(body,)] = session.execute("SELECT body FROM eventq_outbox")
    session.execute("UPDATE eventq_outbox SET body = ?", [altered(body, **changes)])
    behind = outbox.new({"order": 3}, on=session)
    session.commit()

    assert outbox.relay() == 2
    assert queue.get(key) is None
    assert queue.get(behind) is not None
    assert "damaged" in (outbox.aside()[0].problem or "")
    assert verify(queue.log).ok


@pytest.mark.parametrize(
    "column, value",
    [
        ("key", "another"),
        ("key", b"\xff"),
        ("version", 2),
        ("version", "one"),
        ("made_at", "yesterday"),
        ("body", b"\xff"),
        ("body", "{}"),
        ("body", "null"),
    ],
)
def test_a_column_that_was_altered_sets_its_row_aside(
    queue: eventq.Queue, outbox: Outbox, session: sqlite3.Connection, column: str, value: object
) -> None:
    """A column of SQLite's may hold anything; the rows behind it go on."""
    outbox.new({"order": 1}, on=session)
    session.execute(f"UPDATE eventq_outbox SET {column} = ?", [value])  # noqa: S608 - ours
    behind = outbox.new({"order": 3}, on=session)
    session.commit()

    assert outbox.relay() == 2
    assert [task.key for task in queue.tasks()] == [behind]
    assert [bool(each.problem) for each in outbox.aside()] == [True]


def test_a_row_of_another_namespace_is_not_ours(
    queue: eventq.Queue, outbox: Outbox, session: sqlite3.Connection
) -> None:
    """Moved there by hand, it is set aside there."""
    outbox.new({"order": 1}, on=session)
    session.execute("UPDATE eventq_outbox SET namespace = 'other'")
    session.commit()
    with eventq.Queue(queue.url, namespace="other") as other:
        moved = Outbox(other, outbox.place.shown, relay=False)

        assert outbox.relay() == 0
        assert moved.relay() == 1
        assert other.tasks() == []
        assert len(moved.aside()) == 1


def test_autocommit_is_refused_as_python_312_has_it(outbox: Outbox, tmp_path: Path) -> None:
    """There it beats the isolation level, by which earlier ones begin a transaction."""

    class Committing(sqlite3.Connection):
        autocommit = True

    with closing(sqlite3.connect(tmp_path / "shop.db", factory=Committing)) as connection:
        with pytest.raises(eventq.ArgumentError, match="autocommit"):
            outbox.new({"order": 1}, on=connection)
        connection.execute("BEGIN")
        outbox.new({"order": 2}, on=connection)
        connection.execute("COMMIT")

    assert outbox.relay() == 1


def test_a_session_wakes_each_of_its_outboxes_once(queue: eventq.Queue, tmp_path: Path) -> None:
    """However often either of them is used with it."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop.db")
    metadata.create_all(engine)
    with eventq.Queue(queue.url, namespace="other") as other, Session(engine) as session:
        boxes = [Outbox(queue, engine), Outbox(other, engine)]
        for turn in range(6):
            boxes[turn % 2].new({"turn": turn}, on=session)
        listeners = len(session.dispatch.after_commit)
        session.commit()
        for box in boxes:
            box.close()

        assert listeners == 2
        for box in boxes:
            box.relay()
        assert len(queue.tasks()) == len(other.tasks()) == 3
    engine.dispose()


def test_a_table_that_the_application_makes_tells_of_commits(postgres: Postgres) -> None:
    """By its own migrations, too, PostgreSQL wakes relays."""
    engine = create_engine(postgres.new_url().replace("postgresql", "postgresql+psycopg"))
    metadata.create_all(engine)

    with sessionmaker(engine)() as session:
        found = session.scalar(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"))

    assert found == "eventq_outbox_told"
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_table_of_another_version_is_said(
    queue: eventq.Queue, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """With the command that makes ours, wherever it is met: writing, relaying, looking."""
    url = f"sqlite:///{tmp_path}/shop.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").new_url()
    engine = create_engine(url.replace("postgresql", "postgresql+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE eventq_outbox (id INTEGER, payload TEXT)"))
    outbox = Outbox(queue, url, relay=False)

    with connect(url) as on:
        new = functools.partial(outbox.new, {"order": 1}, on=on)
        for act in (new, outbox.create, outbox.check, outbox.relay):
            with pytest.raises(
                eventq.OutboxError, match=r"of this version: .*eventq outbox create"
            ):
                act()
    engine.dispose()


def test_a_task_whose_handler_is_gone_waits_and_is_told(
    queue: eventq.Queue,
    outbox: Outbox,
    session: sqlite3.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its row becomes a task like any other, which no run takes."""
    key = outbox.new(eventq.TaskSpec(name="gone"), on=session)
    session.commit()
    queue.task("there")(lambda: None)
    report = queue.run(until="idle", signals=False, outboxes=[outbox])

    task = queue.get(key)
    assert task is not None
    assert (task.state, task.attempt, report.left) == ("ready", 0, 1)
    assert "no running node handles gone" in caplog.text


def test_a_missing_table_is_told_by_a_relay_that_goes_on(
    queue: eventq.Queue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It looks again about once a second, and relays once the table is there."""
    outbox = Outbox(queue, f"sqlite:///{tmp_path}/shop.db", relay=False)
    with outbox.relaying():
        wait_until(lambda: "eventq outbox create" in caplog.text, "the warning")
        outbox.create()
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            key = outbox.new({"order": 1}, on=connection)
            connection.commit()
        wait_until(lambda: queue.get(key) is not None, "the task")

    assert outbox.aside() == []
