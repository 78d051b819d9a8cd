"""Bare apsw doing eventq's own inserts: the same rows in the same schema, and nothing else.

The schema and the rows are copied from a log that the measured eventq has just made. This must
never name a column that only one version has: positions are what grows from row to row.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

import apsw

from eventq import Queue
from tools.bench.bench import Bench
from tools.bench.work import three_tags

_SCHEMA = """
SELECT sql
FROM sqlite_schema
WHERE type IN ('table', 'index') AND sql IS NOT NULL AND name NOT LIKE 'sqlite_%'
ORDER BY type = 'index'
"""
_COLUMNS = "SELECT name FROM pragma_table_xinfo('events') WHERE hidden = 0 ORDER BY cid"
# How long the committer waits for one more request.
LINGER_S = 0.001


class BareTable:
    """Commits of `created` event rows, each of one statement, as durable as eventq's."""

    def __init__(self, connection: apsw.Connection, model: Path) -> None:
        """``model`` is a log with a lone event, and then a commit of two."""
        self._connection = connection
        self._seq = 0
        connection.pragma("journal_mode", "wal")
        connection.execute("PRAGMA synchronous = FULL")
        with closing(apsw.Connection(str(model))) as made:
            for (sql,) in made.execute(_SCHEMA):
                connection.execute(sql)
            self._columns = tuple(name for (name,) in made.execute(_COLUMNS))
            query = f"SELECT {', '.join(self._columns)} FROM events ORDER BY task"  # noqa: S608 - ours
            self._lone, self._inner, self._last = made.execute(query)
        rows = zip(self._lone, self._inner, self._last, strict=True)
        self._positions = [
            (index, first - 1)
            for index, (first, second, third) in enumerate(rows)
            if isinstance(first, int) and (second, third) == (first + 1, first + 2)
        ]

    def commit(self, count: int = 1) -> None:
        """One commit of so many rows."""
        values: list[apsw.SQLiteValue] = []
        for left in range(count, 0, -1):
            row = list(self._inner if left > 1 else self._lone if count == 1 else self._last)
            self._seq += 1
            for index, zero in self._positions:
                row[index] = zero + self._seq
            values += row
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(_insert(self._columns, count), values)
        execute("COMMIT")


@contextmanager
def bare_table(bench: Bench) -> Iterator[BareTable]:
    """A new table in the schema of the eventq that is measured."""
    model = bench.path()
    with Queue(f"sqlite:///{model}") as queue:
        queue.new(three_tags(1))
        queue.new_many([three_tags(2), three_tags(3)])
    with closing(apsw.Connection(str(bench.path()))) as connection:
        yield BareTable(connection, model)


class RawCommitter:
    """One thread that commits what others hand to it: all that wait, in one commit.

    It waits a moment for as many as the last time, since those it has just served come again;
    without that it is up to a third slower, and a worse reference.
    """

    def __init__(self, table: BareTable) -> None:
        self._table = table
        self._waiting: SimpleQueue[threading.Lock | None] = SimpleQueue()
        self._own = threading.local()
        self._thread = threading.Thread(target=self._commit_all)

    def request(self) -> None:
        """Returns once a row of the caller's is committed."""
        done = getattr(self._own, "done", None)
        if done is None:
            done = self._own.done = threading.Lock()
            done.acquire()
        self._waiting.put(done)
        done.acquire()

    def _commit_all(self) -> None:
        count = 0
        while (first := self._waiting.get()) is not None:
            batch = [first]
            with suppress(Empty):
                while another := self._waiting.get(timeout=LINGER_S if len(batch) < count else 0):
                    batch.append(another)
            count = len(batch)
            self._table.commit(count)
            for done in batch:
                done.release()

    def __enter__(self) -> Self:
        """Starts it."""
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Ends it; nobody may wait any more."""
        self._waiting.put(None)
        self._thread.join()


@cache
def _insert(columns: tuple[str, ...], rows: int) -> str:
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO events ({', '.join(columns)})\nVALUES\n{', '.join([row] * rows)}"
