"""The questions of the SQLite log, each one statement on a connection that the caller guards.

Each function lets apsw.Error through and raises LogCorruptError for rows that do not fit together;
``namespace_id`` None is a namespace without commits, in which nothing is found.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import apsw
import msgspec

from eventq.core.commits import Commit
from eventq.core.seal import SEAL_BYTES, genesis
from eventq.errors import LogArchivedError, LogCorruptError
from eventq.eventlog.contract import Head, StoredEvent, is_storable
from eventq.eventlog.sqlite import schema
from eventq.eventlog.sqlite.archived import find_kept_keys, find_start, keys_decoder

# What decoding raises when stored text is damaged.
UNREADABLE = (UnicodeDecodeError, ValueError, msgspec.DecodeError)


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


# Last position, count, id, prev, seal.
_Header = tuple[int, int, str, bytes, bytes]


def read_block(
    connection: apsw.Connection, namespace_id: int | None, *, name: str, after: int, limit: int
) -> list[Commit]:
    """The commits from the one that holds ``after + 1`` until there are ``limit`` events.

    The statements need no transaction: what has been committed never changes, and a cut that
    comes between them raises LogArchivedError.
    """
    rows = query(connection, schema.FIND_END, (namespace_id, after))
    # Without a commit before it, the log begins here, or was cut.
    before, prev = rows[0] if rows else _start_before(connection, name, namespace_id, after)
    least = max(limit, after + 1 - before)
    ends_row = query(connection, schema.READ_ENDS, (namespace_id, before, least))[0]
    if ends_row[0] is None:
        return []
    ends = list(map(int, ends_row[0].split(",")))
    row = query(connection, schema.READ_EVENTS, (namespace_id, before, ends[-1]))[0]
    headers = _headers(ends, ends_row[1:], before, prev)
    commits = _commits(headers, row, before) if headers and row[0] == ends[-1] - before else None
    if commits is None:
        _start_before(connection, name, namespace_id, after)
        raise _damage(connection, namespace_id, before, ends[-1])
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


def histories(
    connection: apsw.Connection, namespace_id: int | None, tasks: list[int]
) -> dict[int, list[StoredEvent]]:
    """See EventLog.histories."""
    found: dict[int, list[StoredEvent]] = {}
    for seq, at, task, body in query(connection, schema.HISTORIES, (namespace_id, _listed(tasks))):
        found.setdefault(task, []).append(StoredEvent(seq, at, task, body))
    return found


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


def caused_by(
    connection: apsw.Connection, namespace_id: int | None, tasks: list[int]
) -> dict[int, list[int]]:
    """See EventLog.caused_by."""
    found: dict[int, list[int]] = {}
    for cause, task in query(connection, schema.CAUSED_BY, (namespace_id, _listed(tasks))):
        found.setdefault(cause, []).append(task)
    return found


def _listed(tasks: list[int]) -> str:
    """Numbers as the text of a JSON array: however many they are, the statement is one."""
    return msgspec.json.encode(tasks).decode()


def namespaces(connection: apsw.Connection) -> list[str]:
    """See EventLog.namespaces."""
    return sorted(name for (name,) in query(connection, schema.LIST_NAMESPACES, ()))


def has_commit(connection: apsw.Connection, name: str, commit: Commit) -> bool:
    """Whether it is this commit that stands at its position."""
    rows = query(connection, schema.FIND_COMMIT_ID, (name, commit.last))
    return rows == [(commit.id,)]


def _start_before(
    connection: apsw.Connection, name: str, namespace_id: int | None, after: int
) -> tuple[int, bytes]:
    """The position and seal behind which the log starts. Raises LogArchivedError before that."""
    start = find_start(connection, namespace_id) or Head(0, 0, genesis(name))
    if after < start.seq:
        raise LogArchivedError(after + 1, start.seq)
    return start.seq, start.seal


def _headers(
    ends: list[int], columns: tuple[str, str, str, int], before: int, prev: bytes
) -> list[_Header] | None:
    """The headers of the commits that end there; None if they do not tile the positions."""
    counts_text, ids_text, seals_text, odd_count = columns
    if odd_count:
        return None
    counts, ids = list(map(int, counts_text.split(","))), ids_text.split("\n")
    joined = bytes.fromhex(seals_text)
    seals = [joined[start : start + SEAL_BYTES] for start in range(0, len(joined), SEAL_BYTES)]
    if len(seals) != len(ends) or len(seals[-1]) != SEAL_BYTES:
        return None
    if [before, *ends] != [*accumulate(counts, initial=before)]:
        return None
    return list(zip(ends, counts, ids, [prev, *seals], seals, strict=False))


def _commits(
    headers: list[_Header], row: tuple[int, str, str, str, str | None], before: int
) -> list[Commit] | None:
    """The commits from their headers and events; None if these do not fit together."""
    count, instants_text, tasks_text, bodies_text, keys_text = row
    instants, bodies = instants_text.split(","), bodies_text.split("\n")
    if len(bodies) != count:
        return None
    tasks = list(map(int, tasks_text.split(",")))
    keys = keys_decoder.decode(keys_text) if keys_text else []
    keys_taken = begin = 0
    commits = []
    for end, size, commit_id, prev, seal in headers:
        stop, at = end - before, instants[begin]
        if instants[begin:stop] != [at] * size:
            return None
        own_keys = {}
        while keys_taken < len(keys) and keys[keys_taken][1] <= end:
            key, seq = keys[keys_taken]
            own_keys[key] = seq
            keys_taken += 1
        first, own_tasks, own_bodies = before + begin + 1, tasks[begin:stop], bodies[begin:stop]
        commits.append(
            Commit(commit_id, first, int(at), prev, seal, own_tasks, own_keys, own_bodies)
        )
        begin = stop
    return commits


def _damage(
    connection: apsw.Connection, namespace_id: int | None, before: int, last: int
) -> LogCorruptError:
    """The error for a block that does not fit together, which names the first position amiss."""
    rows = query(connection, schema.FIND_DAMAGE, (namespace_id, before, last))
    begin, commit_at = before + 1, None
    for expected, (seq, at, is_end, count) in enumerate(rows, before + 1):
        commit_at = at if commit_at is None else commit_at
        if seq != expected:
            return LogCorruptError(expected, "the event is missing")
        if at != commit_at:
            return LogCorruptError(seq, "its instant is not its commit's")
        if is_end and count != seq - begin + 1:
            problem = f"a commit of {count} events ends here, but it has {seq - begin + 1}"
            return LogCorruptError(begin, problem)
        if is_end:
            begin, commit_at = seq + 1, None
    problem = f"an id, a seal or a body up to position {last} is damaged"
    return LogCorruptError(before + 1, problem)
