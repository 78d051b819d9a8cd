"""The questions of the SQLite log, each one statement on a connection that the caller guards.

Each function lets apsw.Error through and raises LogCorruptError for rows that do not fit together;
``namespace_id`` None is a namespace without commits, in which nothing is found.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import apsw
import msgspec

from eventq.core.events import Commit
from eventq.core.seal import SEAL_BYTES, genesis
from eventq.errors import LogArchivedError, LogCorruptError
from eventq.eventlog.contract import Head, StoredEvent, is_storable
from eventq.eventlog.sqlite import schema
from eventq.eventlog.sqlite.archived import find_kept_keys, find_start, keys_decoder

# The largest position and task number SQLite can hold.
MAX_INTEGER = 2**63 - 1

# What decoding raises when stored text is damaged.
UNREADABLE = (UnicodeDecodeError, ValueError, msgspec.DecodeError)

_NO_COMMIT = "no commit holds this position"


def query(
    connection: apsw.Connection, statement: str, values: tuple[str | int | None, ...]
) -> list[tuple[Any, ...]]:
    """All rows of a statement; the tables are STRICT, so the caller knows the types in them."""
    return connection.execute(statement, values).fetchall()


def find_namespace(connection: apsw.Connection, name: str) -> int | None:
    """The namespace's id; None before its first commit."""
    rows = query(connection, schema.FIND_NAMESPACE, (name,))
    return int(rows[0][0]) if rows else None


def head(connection: apsw.Connection, namespace_id: int | None, name: str) -> Head:
    """See EventLog.head."""
    rows = query(connection, schema.HEAD, (namespace_id,))
    if rows:
        return Head(*rows[0])
    return find_start(connection, namespace_id) or Head(0, 0, genesis(name))


# First position, count, instant, id, prev, seal.
_Header = tuple[int, int, int, str, bytes, bytes]


def read_block(
    connection: apsw.Connection, namespace_id: int | None, *, name: str, after: int, limit: int
) -> list[Commit]:
    """The commits from the one that holds ``after + 1`` until there are ``limit`` events.

    The statements need no transaction: what has been committed never changes, and a cut that
    comes between them raises LogArchivedError.
    """
    first, prev = _find_first(connection, name, namespace_id, after)
    if not first:
        return []
    try:
        return _read_commits(connection, namespace_id, (first, first + limit), prev)
    except LogCorruptError:
        _start_before(connection, name, namespace_id, after)
        raise


def _read_commits(
    connection: apsw.Connection, namespace_id: int | None, span: tuple[int, int], prev: bytes
) -> list[Commit]:
    headers = _read_headers(connection, (namespace_id, *span), prev)
    end = headers[-1][0] + headers[-1][1]
    row = query(connection, schema.READ_EVENTS, (namespace_id, span[0], end))[0]
    commits = _commits(headers, row)
    if commits is None:
        raise _damage(connection, namespace_id, span[0], end - 1)
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
    storable = [key for key in keys if is_storable(key)]
    for start in range(0, len(storable), schema.LOOKUP_KEYS):
        chunk = storable[start : start + schema.LOOKUP_KEYS]
        # Two prepared texts serve all: one for a lone key, one filled up with NULL.
        size = 1 if len(chunk) == 1 else schema.LOOKUP_KEYS
        values = (namespace_id, *chunk, *[None] * (size - len(chunk)))
        rows = query(connection, schema.find_keys(size), values)
        found.update(keys_decoder.decode(rows[0][0]))
    # In this order: a key is kept before its event is deleted.
    missing = [key for key in storable if key not in found]
    return found | find_kept_keys(connection, namespace_id, missing)


def namespaces(connection: apsw.Connection) -> list[str]:
    """See EventLog.namespaces."""
    return sorted(name for (name,) in query(connection, schema.LIST_NAMESPACES, ()))


def has_commit(connection: apsw.Connection, name: str, commit: Commit) -> bool:
    """Whether it is this commit that stands at its position."""
    rows = query(connection, schema.FIND_COMMIT_ID, (name, commit.first))
    return rows == [(commit.id,)]


def _find_first(
    connection: apsw.Connection, name: str, namespace_id: int | None, after: int
) -> tuple[int, bytes]:
    """Where the commit that holds ``after + 1`` begins, and the seal before it; 0 without one."""
    rows = query(connection, schema.FIND_START, (namespace_id, after))
    if not rows:
        # The log is empty, or was cut, or has lost its beginning.
        start = _start_before(connection, name, namespace_id, after)
        if query(connection, schema.HEAD, (namespace_id,)):
            raise LogCorruptError(start.seq + 1, _NO_COMMIT)
        return 0, b""
    first, count, _, following = rows[0]
    if first + count <= after + 1:
        if following is not None:
            _start_before(connection, name, namespace_id, after)
            raise LogCorruptError(first + count, _NO_COMMIT)
        return 0, b""
    if len(rows) > 1 and rows[1][0] + rows[1][1] == first:
        return first, rows[1][2]
    start = _start_before(connection, name, namespace_id, after)
    if start.seq + 1 == first:
        return first, start.seal
    raise LogCorruptError(rows[1][0] + rows[1][1] if len(rows) > 1 else start.seq + 1, _NO_COMMIT)


def _start_before(
    connection: apsw.Connection, name: str, namespace_id: int | None, after: int
) -> Head:
    """Where the log starts. Raises LogArchivedError for a position before that."""
    start = find_start(connection, namespace_id) or Head(0, 0, genesis(name))
    if after < start.seq:
        raise LogArchivedError(after + 1, start.seq)
    return start


def _read_headers(
    connection: apsw.Connection, span: tuple[int | None, int, int], prev: bytes
) -> list[_Header]:
    """The headers of the commits that begin in the span. Raises LogCorruptError for gaps."""
    *numbers, ids_text, seals_text = query(connection, schema.READ_COMMITS, span)[0]
    if ids_text is None:
        raise LogCorruptError(span[1], _NO_COMMIT)
    firsts, counts, instants = (list(map(int, text.split(","))) for text in numbers)
    *expected, _ = accumulate(counts, initial=span[1])
    if firsts != expected:
        missing = next(
            wanted for wanted, first in zip(expected, firsts, strict=True) if wanted != first
        )
        raise LogCorruptError(missing, _NO_COMMIT)
    ids = ids_text.split("\n")
    joined = bytes.fromhex(seals_text)
    seals = [joined[start : start + SEAL_BYTES] for start in range(0, len(joined), SEAL_BYTES)]
    if not len(ids) == len(seals) == len(firsts) or len(seals[-1]) != SEAL_BYTES:
        raise LogCorruptError(span[1], "an id or a seal of a commit from here on is damaged")
    return list(zip(firsts, counts, instants, ids, [prev, *seals[:-1]], seals, strict=True))


def _commits(
    headers: list[_Header], row: tuple[int, str, str, str, str | None]
) -> list[Commit] | None:
    """The commits from their headers and events; None if these do not fit together."""
    count, instants, tasks_text, bodies_text, keys_text = row
    if not count:
        return None
    # Compared as text, which is quicker than as numbers; it shows missing events as well.
    if instants != "".join([f"{at}," * size for _, size, at, *_ in headers])[:-1]:
        return None
    tasks = list(map(int, tasks_text.split(",")))
    bodies = bodies_text.split("\n")
    if len(bodies) != count:
        return None
    keys = keys_decoder.decode(keys_text) if keys_text else []
    keys_taken, begin = 0, 0
    commits = []
    for first, size, at, commit_id, prev, seal in headers:
        end = begin + size
        own_keys = {}
        while keys_taken < len(keys) and keys[keys_taken][1] < first + size:
            key, seq = keys[keys_taken]
            own_keys[key] = seq
            keys_taken += 1
        commits.append(
            Commit(commit_id, first, at, prev, seal, tasks[begin:end], own_keys, bodies[begin:end])
        )
        begin = end
    return commits


def _damage(
    connection: apsw.Connection, namespace_id: int | None, first: int, last: int
) -> LogCorruptError:
    for seq, missing in query(connection, schema.FIND_DAMAGE, (namespace_id, first, last)):
        problem = "the event is missing" if missing else "its instant is not its commit's"
        return LogCorruptError(seq, problem)
    return LogCorruptError(first, f"a body up to position {last} holds a line break")
