"""Where a SQLite log starts after a cut, and what it keeps of archived tasks: reading, and its SQL.

The first cut makes the two tables, so a log that was never cut pays next to nothing.
"""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from eventq.eventlog.contract import Head, Kept

TABLES = """
-- One row a namespace that was cut: the last event that was archived, and its commit's seal.
CREATE TABLE IF NOT EXISTS starts (
    ns INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    seal BLOB NOT NULL
) STRICT;

-- One row a task whose events, or the first of them, were archived: its state after `seq`.
CREATE TABLE IF NOT EXISTS kept (
    ns INTEGER NOT NULL,
    task INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    key TEXT,
    state TEXT NOT NULL,
    PRIMARY KEY (ns, task)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX IF NOT EXISTS kept_by_key ON kept (ns, key) WHERE key IS NOT NULL;
"""

HAS_TABLES = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'starts'"

FIND_START = "SELECT seq, at, seal FROM starts WHERE ns = ?1"

# ?1 namespace, ?2 the numbers as a JSON array.
FIND_KEPT = """
SELECT json_group_array(json_array(task, seq, key, state))
FROM kept
WHERE ns = ?1 AND task IN (SELECT value FROM json_each(?2))
"""

# ?1 namespace, ?2 the keys as a JSON array.
FIND_KEPT_KEYS = """
SELECT json_group_array(json_array(key, task))
FROM kept
WHERE ns = ?1 AND key IS NOT NULL AND key IN (SELECT value FROM json_each(?2))
"""

# What is stored outside of all commits: readers of commits never see it, but look-ups by index do.
# Nothing is before position 0: a lower number is a place of another namespace.
FIND_STRAY = """
SELECT min(place) - (?1 << 40)
FROM (
    SELECT place FROM events WHERE place = (?1 << 40)
    UNION ALL
    SELECT min(place)
    FROM events
    WHERE place < ((?1 + 1) << 40) AND place > coalesce(
        (
            SELECT place
            FROM events
            WHERE place > (?1 << 40) AND place < ((?1 + 1) << 40) AND seal IS NOT NULL
            ORDER BY place DESC
            LIMIT 1
        ),
        (?1 << 40)
    )
)
"""

# Made durable before a row is deleted, so that whoever finds events missing below it knows why.
SET_START = """
INSERT INTO starts (ns, seq, at, seal)
VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (ns) DO UPDATE SET seq = excluded.seq, at = excluded.at, seal = excluded.seal
"""

# ?1 namespace, ?2 the rows as a JSON array of [task, seq, key, state]. Another archiving, into
# another folder, may have kept rows as of a later position: those stay.
KEEP = """
INSERT OR REPLACE INTO kept (ns, task, seq, key, state)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3
FROM json_each(?2)
WHERE value ->> 1 >= coalesce((SELECT seq FROM starts WHERE ns = ?1), 0)
ON CONFLICT (ns, task) DO UPDATE
SET seq = excluded.seq, key = excluded.key, state = excluded.state
WHERE excluded.seq >= kept.seq
"""

# What is kept of tasks without a key is of use only as of the start.
FORGET_KEPT = "DELETE FROM kept WHERE ns = ?1 AND key IS NULL AND seq < ?2"

# ?1 namespace, ?2 the start, ?3 how many events: where the oldest so many of them end.
OLDEST_END = """
SELECT place - (?1 << 40)
FROM events
WHERE place > (?1 << 40)
    AND place <= (?1 << 40) + ?2
    AND place >= min((?1 << 40) + ?2, ?3 + (SELECT min(place) FROM events WHERE place > (?1 << 40)))
    AND seal IS NOT NULL
ORDER BY place
LIMIT 1
"""

DELETE_EVENTS = "DELETE FROM events WHERE place > (?1 << 40) AND place <= (?1 << 40) + ?2"

# Pairs of a key and a number, as `json_group_array` makes them.
keys_decoder: msgspec.json.Decoder[list[tuple[str, int]]] = msgspec.json.Decoder(
    list[tuple[str, int]]
)
_rows: msgspec.json.Decoder[list[tuple[int, int, str | None, str]]] = msgspec.json.Decoder(
    list[tuple[int, int, str | None, str]]
)


def find_start(connection: apsw.Connection, namespace_id: int | None) -> Head | None:
    """Returns where the namespace was cut; None when it never was."""
    rows = _query(connection, FIND_START, (namespace_id,)) if _is_cut(connection) else []
    return Head(*rows[0]) if rows else None


def find_stray(connection: apsw.Connection, namespace_id: int | None) -> int | None:
    """See EventLog.find_stray."""
    found: int | None = _query(connection, FIND_STRAY, (namespace_id,))[0][0]
    return found


def find_kept(
    connection: apsw.Connection, namespace_id: int | None, tasks: list[int]
) -> dict[int, Kept]:
    """See EventLog.find_kept."""
    if not _is_cut(connection):
        return {}
    text = msgspec.json.encode(tasks).decode()
    rows = _query(connection, FIND_KEPT, (namespace_id, text))
    return {row[0]: Kept(*row) for row in _rows.decode(rows[0][0])}


def find_kept_keys(
    connection: apsw.Connection, namespace_id: int | None, keys: list[str]
) -> dict[str, int]:
    """Returns the archived tasks that have one of the keys."""
    if not keys or not _is_cut(connection):
        return {}
    text = msgspec.json.encode(keys).decode()
    rows = _query(connection, FIND_KEPT_KEYS, (namespace_id, text))
    return dict(keys_decoder.decode(rows[0][0]))


def _is_cut(connection: apsw.Connection) -> bool:
    return bool(_query(connection, HAS_TABLES, ()))


def _query(
    connection: apsw.Connection, statement: str, values: tuple[str | int | None, ...]
) -> list[tuple[Any, ...]]:
    return connection.execute(statement, values).fetchall()
