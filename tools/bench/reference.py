"""What the bare driver can do: the rates that eventq's are compared with. No eventq code runs.

Tables and indexes are those of schema version 1 for good, whatever eventq's are by now, so that R
stays comparable; there are no triggers, no rows in ``commits``, no seals. Rows are ready-made, and
each value is bound plainly.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

ROWS_A_STATEMENT = 250
STATEMENTS_A_COMMIT = 4
# The stored text of a `created` event with three short tags, as the benchmarks make them.
BODY = (
    '{"kind":"created","policy":{"backoff":"linear","backoff_us":10000000},'
    '"tags":{"path":"images/00042.png","width":"640","user":"u-17"}}'
)

_TABLES = """
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE commits (
    ns INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    at INTEGER NOT NULL,
    id TEXT NOT NULL,
    seal BLOB NOT NULL,
    PRIMARY KEY (ns, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    ns INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    task INTEGER NOT NULL,
    key TEXT,
    body TEXT NOT NULL,
    PRIMARY KEY (ns, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_task ON events (ns, task);
CREATE UNIQUE INDEX events_by_key ON events (ns, key) WHERE key IS NOT NULL;
"""

_INSERT = """
INSERT INTO events (ns, seq, at, task, key, body)
VALUES (?, ?, ?, ?, ?, ?)"""
_INSERT_MANY = _INSERT + ", (?, ?, ?, ?, ?, ?)" * (ROWS_A_STATEMENT - 1)


@contextmanager
def raw_table(path: Path) -> Iterator[apsw.Connection]:
    """A new database with those tables and indexes, as durable as eventq's."""
    connection = apsw.Connection(str(path))
    try:
        connection.pragma("journal_mode", "wal")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_TABLES)
        yield connection
    finally:
        connection.close()


def raw_rows_a_second(path: Path, rows: int) -> float:
    """R: event rows a second, 250 a statement and 1,000 a commit, into a new table."""
    statements = _ready_made(rows)
    with raw_table(path) as connection:
        began_s = time.perf_counter()
        for start in range(0, len(statements), STATEMENTS_A_COMMIT):
            connection.execute("BEGIN IMMEDIATE")
            for values in statements[start : start + STATEMENTS_A_COMMIT]:
                connection.execute(_INSERT_MANY, values)
            connection.execute("COMMIT")
        took_s = time.perf_counter() - began_s
    return len(statements) * ROWS_A_STATEMENT / took_s


class RawLoneCommits:
    """Commits of one event row and nothing else, one after the other."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._seq = 0

    def commit(self) -> None:
        """One commit of one row."""
        self._seq += 1
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(_INSERT, (1, self._seq, 1_800_000_000_000_000, self._seq, None, BODY))
        execute("COMMIT")


def _ready_made(rows: int) -> list[list[object]]:
    """The bound values of each statement."""
    statements: list[list[object]] = []
    for start in range(1, rows + 1, ROWS_A_STATEMENT):
        values: list[object] = []
        for seq in range(start, start + ROWS_A_STATEMENT):
            values += (1, seq, 1_800_000_000_000_000, seq, None, BODY)
        statements.append(values)
    return statements
