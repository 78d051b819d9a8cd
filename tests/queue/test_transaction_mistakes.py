"""What a transaction of the user's says of mistakes in its block."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import eventq


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[eventq.Queue]:
    """A queue with a table of the user's beside the log's."""
    with eventq.Queue(f"sqlite:///{tmp_path}/own.db") as opened:
        with opened.transaction() as tx:
            tx.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        yield opened


def names(queue: eventq.Queue) -> list[str]:
    """The orders that are stored."""
    return [name for (name,) in queue.sql("SELECT name FROM orders ORDER BY id").rows]


@pytest.mark.parametrize(
    "statement, values, words",
    [
        ("INSERT INTO mistaken VALUES (1)", [], "no such table: mistaken"),
        ("SELECT ?", [], "value for each question mark"),
        ("not SQL", [], "syntax error"),
        ("SELECT ?", [2**63], "64 bits"),
    ],
)
def test_a_mistake_is_told_as_what_it_is(
    queue: eventq.Queue, statement: str, values: list[int], words: str
) -> None:
    """What is wrong has nothing to do with the log's tables, and the block may go on."""
    with queue.transaction() as tx:
        with pytest.raises(eventq.ArgumentError, match=words) as caught:
            tx.execute(statement, values)
        tx.execute("INSERT INTO orders (name) VALUES (?)", [-(2**63)])

    assert "not on the log's" not in str(caught.value)
    assert names(queue) == [str(-(2**63))]


def test_many_rows_are_for_one_statement(queue: eventq.Queue) -> None:
    """Several are refused, also where they share out the values, and nothing is stored."""
    insert = "INSERT INTO orders (name) VALUES (?)"
    with pytest.raises(eventq.ArgumentError, match="one statement"), queue.transaction() as tx:
        tx.execute_many(f"{insert}; {insert}", [["a", "b"], ["c", "d"]])

    assert names(queue) == []


def test_no_table_takes_a_name_that_is_kept(queue: eventq.Queue) -> None:
    """Nothing could be done with it any more; SQLite asks nobody, so that the end is refused."""
    with pytest.raises(eventq.ArgumentError, match="Eventq_orders"), queue.transaction() as tx:
        tx.execute("ALTER TABLE orders RENAME TO Eventq_orders")

    assert names(queue) == []


def test_the_queue_is_not_closed_inside(queue: eventq.Queue) -> None:
    """That would wait for the block's own end; the block goes on, and so does the queue."""
    with queue.transaction() as tx:
        with pytest.raises(eventq.TransactionError):
            queue.close()
        with pytest.raises(eventq.TransactionError):
            asyncio.run(queue.aio.close())
        tx.execute("INSERT INTO orders (name) VALUES ('a')")

    assert names(queue) == ["a"]
