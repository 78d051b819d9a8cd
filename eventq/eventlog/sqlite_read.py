"""What the SQLite log reads, each by one statement on a connection that the caller guards.

Each function lets apsw.Error through and raises LogCorruptError for rows that do not fit together;
``namespace_id`` None is a namespace without commits, in which nothing is found.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import apsw
import msgspec

from eventq.errors import LogCorruptError
from eventq.eventlog import sqlite_schema as schema
from eventq.eventlog.base import Head, StoredEvent
from eventq.events import Commit
from eventq.seal import genesis

# The largest position and task number SQLite can hold.
MAX_INTEGER = 2**63 - 1

# What decoding raises when stored text is damaged.
UNREADABLE = (UnicodeDecodeError, ValueError, msgspec.DecodeError)

_NO_COMMIT = "no commit holds this position"

# First position, count, instant, id, seal in hexadecimal.
_Header = tuple[int, int, int, str, str]
_headers_decoder: msgspec.json.Decoder[list[_Header]] = msgspec.json.Decoder(list[_Header])
_keys_decoder: msgspec.json.Decoder[list[tuple[str, int]]] = msgspec.json.Decoder(
    list[tuple[str, int]]
)


def query(
    connection: apsw.Connection, statement: str, values: tuple[str | int | None, ...]
) -> list[tuple[Any, ...]]:
    """All rows of a statement; the tables are STRICT, so the caller knows the types in them."""
    return connection.execute(statement, values).fetchall()


def find_namespace(connection: apsw.Connection, name: str) -> int | None:
    """The namespace's id; None before its first commit."""
    rows = query(connection, schema.FIND_NAMESPACE, (name,))
    return int(rows[0][0]) if rows else None


def head(connection: apsw.Connection, name: str, namespace_id: int | None) -> Head:
    """See EventLog.head."""
    rows = query(connection, schema.HEAD, (namespace_id,))
    return Head(*rows[0]) if rows else Head(0, 0, genesis(name))


def read_block(
    connection: apsw.Connection, name: str, namespace_id: int | None, *, after: int, limit: int
) -> list[Commit]:
    """The commits from the one that holds ``after + 1`` until there are ``limit`` events.

    No transaction is around the two statements: what has been committed never changes.
    """
    asked = (namespace_id, after, limit)
    row = query(connection, schema.READ_COMMITS, asked)[0]
    headers, prev = _checked_headers(*row, name=name, after=after)
    if not headers:
        return []
    span = (namespace_id, headers[0][0], headers[-1][0])
    row = query(connection, schema.READ_EVENTS, span)[0]
    commits = _commits(headers, prev, row)
    if commits is None:
        raise _damage(connection, namespace_id, headers)
    return commits


def history(connection: apsw.Connection, namespace_id: int | None, task: int) -> list[StoredEvent]:
    """See EventLog.history."""
    rows = query(connection, schema.HISTORY, (namespace_id, task))
    count, seqs, instants, bodies = rows[0]
    if not count:
        return []
    texts = bodies.split("\n")
    if len(texts) != count:
        raise LogCorruptError(task, "a body of this task's events holds a line break")
    columns = zip(seqs.split(","), instants.split(","), texts, strict=True)
    return [StoredEvent(int(seq), int(at), task, text) for seq, at, text in columns]


def find_keys(
    connection: apsw.Connection, namespace_id: int | None, keys: list[str]
) -> dict[str, int]:
    """See EventLog.find_keys."""
    found: dict[str, int] = {}
    # What UTF-8 cannot hold was never stored.
    storable = [key for key in keys if key.isascii() or _is_storable(key)]
    for start in range(0, len(storable), schema.LOOKUP_KEYS):
        chunk = storable[start : start + schema.LOOKUP_KEYS]
        # Two prepared texts serve all: one for a lone key, one filled up with NULL.
        size = 1 if len(chunk) == 1 else schema.LOOKUP_KEYS
        values = (namespace_id, *chunk, *[None] * (size - len(chunk)))
        rows = query(connection, schema.find_keys(size), values)
        found.update(_keys_decoder.decode(rows[0][0]))
    return found


def namespaces(connection: apsw.Connection) -> list[str]:
    """See EventLog.namespaces."""
    return sorted(name for (name,) in query(connection, schema.LIST_NAMESPACES, ()))


def has_commit(connection: apsw.Connection, name: str, commit: Commit) -> bool:
    """Whether it is this commit that stands at its position."""
    rows = query(connection, schema.FIND_COMMIT_ID, (name, commit.first))
    return rows == [(commit.id,)]


def _checked_headers(
    encoded: str, start: int, following: int | None, *, name: str, after: int
) -> tuple[list[_Header], bytes]:
    """The headers of the commits to read, known to tile, and the seal before them.

    ``start`` is where the last commit begins that does not begin after ``after + 1`` (0: there
    is none), ``following`` the first one that begins after ``after``.
    """
    headers = _headers_decoder.decode(encoded)
    for one, other in pairwise(headers):
        if one[0] + one[1] != other[0]:
            raise LogCorruptError(one[0] + one[1], _NO_COMMIT)
    before = headers.pop(0) if headers and headers[0][0] < start else None
    if before is None and start > 1:
        raise LogCorruptError(start - 1, _NO_COMMIT)
    if headers and headers[0][0] == start and start + headers[0][1] <= after + 1:
        # The last commit of all, and read already.
        before = headers.pop(0)
    if (headers[0][0] > after + 1) if headers else (following is not None):
        raise LogCorruptError(after + 1, _NO_COMMIT)
    return headers, bytes.fromhex(before[4]) if before else genesis(name)


def _commits(
    headers: list[_Header],
    prev: bytes,
    row: tuple[int, int, str, str, str | None],
) -> list[Commit] | None:
    """The commits from their headers and events; None if these do not fit together."""
    count, misdated, tasks_text, bodies_text, keys_text = row
    start = headers[0][0]
    if count != headers[-1][0] + headers[-1][1] - start or misdated:
        return None
    tasks = list(map(int, tasks_text.split(",")))
    bodies = bodies_text.split("\n")
    if not len(tasks) == len(bodies) == count:
        return None
    keys = _keys_decoder.decode(keys_text) if keys_text else []
    keys_taken = 0
    commits = []
    for first, size, at, commit_id, seal_text in headers:
        begin, end = first - start, first - start + size
        own_keys = {}
        while keys_taken < len(keys) and keys[keys_taken][1] < first + size:
            key, seq = keys[keys_taken]
            own_keys[key] = seq
            keys_taken += 1
        seal = bytes.fromhex(seal_text)
        commits.append(
            Commit(commit_id, first, at, prev, seal, tasks[begin:end], own_keys, bodies[begin:end])
        )
        prev = seal
    return commits


def _damage(
    connection: apsw.Connection, namespace_id: int | None, headers: list[_Header]
) -> LogCorruptError:
    first, last = headers[0][0], headers[-1][0] + headers[-1][1] - 1
    asked = (namespace_id, first, last)
    for seq, missing in query(connection, schema.FIND_DAMAGE, asked):
        problem = "the event is missing" if missing else "its instant is not its commit's"
        return LogCorruptError(seq, problem)
    return LogCorruptError(first, f"a body up to position {last} holds a line break")


def _is_storable(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True
