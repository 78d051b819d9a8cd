"""SQL over the log through the queue: it answers, and it never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

from eventq import ArgumentError, LogUnavailableError, Queue
from eventq.eventlog.sqlite.log import SqliteLog
from tests.support import Spawned, wait_until

WRITES = [
    "DELETE FROM events",
    "INSERT INTO namespaces (name) VALUES ('x')",
    "WITH one AS (SELECT 1) UPDATE events SET at = 0",
    "DROP TRIGGER events_no_delete",
    "CREATE TEMP TABLE x (a)",
    "ATTACH 'other.db' AS other",
    "PRAGMA user_version = 9",
    "BEGIN",
    "VACUUM",
]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """A queue with one task."""
    with Queue(f"sqlite:///{tmp_path}/log.db") as queue:
        queue.new({"path": "a.png"}, key="one")
        yield queue


def test_sql_gives_columns_and_rows(queue: Queue) -> None:
    """A question with a value is answered from the views."""
    found = queue.sql("SELECT key, kind FROM history WHERE key = ?", ["one"])

    assert found.columns == ["key", "kind"]
    assert found.rows == [("one", "created")]


def test_sql_without_rows_still_names_columns(queue: Queue) -> None:
    """Nothing found is an answer too."""
    found = queue.sql("SELECT key AS name FROM history WHERE 0")

    assert found.columns == ["name"]
    assert found.rows == []


@pytest.mark.parametrize("query", WRITES)
def test_sql_never_writes(queue: Queue, query: str) -> None:
    """A statement that would change anything is refused, and the queue goes on."""
    with pytest.raises(ArgumentError, match="query: expected one read-only SQL statement"):
        queue.sql(query)

    assert queue.new().number == 2
    assert queue.sql("SELECT count(*) FROM events").rows == [(2,)]


@pytest.mark.parametrize(
    "query", ["SELECT 1; SELECT 2", "SELEC", "SELECT * FROM nowhere", "SELECT ?", "", " ", None]
)
def test_sql_refuses_what_is_no_statement(queue: Queue, query: str) -> None:
    """The error names the argument and what SQLite says."""
    with pytest.raises(ArgumentError, match="query: expected"):
        queue.sql(query)

    assert queue.sql("SELECT 1").rows == [(1,)]


def test_sql_refuses_values_it_cannot_bind(queue: Queue) -> None:
    """A value that SQLite has no type for is an error of the call."""
    with pytest.raises(ArgumentError, match=r"values\[0\]"):
        queue.sql("SELECT ?", [object()])

    assert queue.sql("SELECT ?", [7]).rows == [(7,)]


def test_sql_is_for_logs_that_speak_it() -> None:
    """The log in memory says that it does not."""
    with Queue("memory://") as queue, pytest.raises(ArgumentError, match="speaks SQL") as caught:
        queue.sql("SELECT 1")

    assert caught.value.argument == "query"


def test_sql_from_asyncio(queue: Queue) -> None:
    """AsyncQueue has the same answer."""
    found = asyncio.run(queue.aio.sql("SELECT count(*) AS n FROM events"))

    assert (found.columns, found.rows) == (["n"], [(1,)])


def test_a_long_query_holds_up_no_run(queue: Queue) -> None:
    """Leases are renewed and outcomes recorded while a question is answered."""
    endless = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT 1 FROM n) SELECT sum(i) FROM n"
    log = queue.log
    assert isinstance(log, SqliteLog)

    asking = Spawned(queue.sql, endless)
    wait_until(lambda: log.connection.asker is not None)
    asker = log.connection.asker
    assert asker is not None
    report = Spawned(queue.run, lambda _ctx, _task: None, until="idle").result()
    assert asking.running

    def interrupted() -> bool:
        with suppress(apsw.ConnectionClosedError):
            asker.interrupt()
        return not asking.running

    wait_until(interrupted)
    assert report.completed == 1
    assert isinstance(asking.error, LogUnavailableError)
