"""Snapshots in the SQLite database of their log, in a table made for the first of them.

Databases made before there were snapshots go on working, and older versions of eventq read and
write a database with this table, which they ignore. It is not append-only.
"""

from __future__ import annotations

from functools import partial

import apsw

from eventq.eventlog.contract import SnapshotEntry
from eventq.eventlog.sqlite import read, schema
from eventq.eventlog.sqlite.connection import SqliteConnection

# The content stands last, so that listing the snapshots never reads its pages.
TABLE = """
CREATE TABLE IF NOT EXISTS snapshots (
    ns INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    seal BLOB NOT NULL,
    taken_at INTEGER NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (ns, seq)
) STRICT
"""

FIND_TABLE = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'snapshots'"

LIST = """
SELECT seq, at, seal, taken_at, length(content)
FROM snapshots
WHERE ns = ?1
ORDER BY seq
"""

GET = "SELECT content FROM snapshots WHERE ns = ?1 AND seq = ?2"

PUT = """
INSERT OR REPLACE INTO snapshots (ns, seq, at, seal, taken_at, content)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
"""

DELETE = "DELETE FROM snapshots WHERE ns = ?1 AND seq = ?2"


class SqliteSnapshots:
    """The Snapshots of one namespace, through its log's connection."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return self._connection.ask(_entries)

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        if not 0 <= seq <= schema.LAST_POSITION:
            return None
        return self._connection.ask(partial(_get, seq=seq))

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put; one transaction, in a slot like that of any other writer."""
        self._connection.change(partial(_put, entry=entry, data=data))

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        if all(entry.seq != seq for entry in self.entries()):
            return False
        return self._connection.change(partial(_delete, seq=seq))


def _entries(connection: apsw.Connection, namespace_id: int | None) -> list[SnapshotEntry]:
    if not _has_table(connection):
        return []
    return [SnapshotEntry(*row) for row in read.query(connection, LIST, (namespace_id,))]


def _get(connection: apsw.Connection, namespace_id: int | None, seq: int) -> bytes | None:
    if not _has_table(connection):
        return None
    rows = read.query(connection, GET, (namespace_id, seq))
    return bytes(rows[0][0]) if rows else None


def _put(
    connection: apsw.Connection, namespace_id: int | None, entry: SnapshotEntry, data: bytes
) -> None:
    connection.execute(TABLE)
    connection.execute(PUT, (namespace_id, entry.seq, entry.at, entry.seal, entry.taken_at, data))


def _delete(connection: apsw.Connection, namespace_id: int | None, seq: int) -> bool:
    connection.execute(DELETE, (namespace_id, seq))
    return bool(connection.changes())


def _has_table(connection: apsw.Connection) -> bool:
    return bool(read.query(connection, FIND_TABLE, ()))
