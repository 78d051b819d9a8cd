"""Read-only SQL over a log's file, for people's questions. Nothing here can change the file.

It runs on the log's own connection: a second SQLite library on the same file, such as Python's
sqlite3 module, would drop this process's locks when it closes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

from eventq.errors import ArgumentError, shown
from eventq.eventlog.contract import Rows

# Errors of the statement, as opposed to errors of the file.
REFUSALS = (
    apsw.SQLError,
    apsw.AuthError,
    apsw.ReadOnlyError,
    apsw.BindingsError,
    apsw.MismatchError,
    apsw.TooBigError,
    TypeError,
    # Text with lone surrogates is none that a database can read.
    UnicodeEncodeError,
)
ONE = "one statement, not several"
READING = frozenset(
    {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
)


def run_query(connection: apsw.Connection, text: str, values: Sequence[Any]) -> Rows:
    """Returns the rows of one statement.

    Raises ArgumentError for what is not a read-only statement that SQLite understands.
    """
    connection.authorizer = _judge
    try:
        return run_one(connection, text, values)
    except REFUSALS as error:
        # What SQLite says quotes the statement, with whatever is in it.
        words = str(error) if str(error).isprintable() else shown(str(error))
        raise ArgumentError("query", text, f"one read-only SQL statement ({words})") from error
    finally:
        connection.authorizer = None


def run_one(connection: apsw.Connection, text: str, values: Sequence[Any]) -> Rows:
    """Returns the rows of one statement, and leaves no cursor open.

    Raises apsw.Error, and ArgumentError for several statements.
    """
    columns: list[str] = []
    begun = 0

    def begin(cursor: apsw.Cursor, _text: str, _values: object) -> bool:
        # Called before each statement: the one moment when columns are known without rows.
        nonlocal begun
        begun += 1
        if begun > 1:
            raise ArgumentError("query", text, ONE)
        columns[:] = [column[0] for column in cursor.get_description()]
        return True

    cursor = connection.cursor()
    cursor.exec_trace = begin
    try:
        rows = cursor.execute(text, tuple(values)).fetchall()
    finally:
        cursor.close(force=True)
    return Rows(columns, rows)


def run_many(connection: apsw.Connection, text: str, rows: Iterable[Sequence[Any]]) -> None:
    """Runs one statement for each row of values. Raises as `run_one`."""
    handed = begun = 0

    def hand_out() -> Iterator[Sequence[Any]]:
        nonlocal handed
        for row in rows:
            handed += 1
            yield row

    def begin(_cursor: apsw.Cursor, _text: str, _values: object) -> bool:
        nonlocal begun
        begun += 1
        if begun > handed:
            raise ArgumentError("query", text, ONE)
        return True

    cursor = connection.cursor()
    cursor.exec_trace = begin
    try:
        cursor.executemany(text, hand_out())
    finally:
        cursor.close(force=True)


def _judge(action: int, *_: str | None) -> int:
    return apsw.SQLITE_OK if action in READING else apsw.SQLITE_DENY
