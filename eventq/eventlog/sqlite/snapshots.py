"""Snapshots in the SQLite database of their log, in a table made for the first of them.

Databases made before there were snapshots go on working, and older versions of eventq read and
write a database with this table: it is none of theirs. It is not append-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from eventq.eventlog.snapshots import SnapshotEntry
from eventq.eventlog.sqlite import read as sqlite_read
from eventq.eventlog.sqlite import schema

if TYPE_CHECKING:
    from eventq.eventlog.sqlite.log import SqliteLog

# The content stands last, so that a list of them never reads its pages.
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


# ruff: noqa: SLF001 - this is a part of SqliteLog, in a file of its own
class SqliteSnapshots:
    """The Snapshots of one namespace, through its log's connections."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        with self._log._reading() as connection:
            if not _has_table(connection):
                return []
            namespace_id = self._log._find_namespace(connection)
            rows = sqlite_read.query(connection, LIST, (namespace_id,))
        return [SnapshotEntry(*row) for row in rows]

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        if not 0 <= seq <= sqlite_read.MAX_INTEGER:
            return None
        with self._log._reading() as connection:
            if not _has_table(connection):
                return None
            namespace_id = self._log._find_namespace(connection)
            rows = sqlite_read.query(connection, GET, (namespace_id, seq))
        return bytes(rows[0][0]) if rows else None

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put; one transaction, in a turn like that of any other writer."""
        with self._writing() as connection:
            connection.execute(TABLE)
            namespace_id = self._log._find_namespace(connection)
            connection.execute(
                PUT, (namespace_id, entry.seq, entry.at, entry.seal, entry.taken_at, data)
            )

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        if all(entry.seq != seq for entry in self.entries()):
            return False
        with self._writing() as connection:
            connection.execute(DELETE, (self._log._find_namespace(connection), seq))
            return bool(connection.changes())

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        log = self._log
        with log.turn(), log._write_lock:
            connection = log._writing()
            try:
                connection.execute(schema.BEGIN)
                yield connection
                connection.execute(schema.COMMIT)
            except BaseException as error:
                if connection.in_transaction:
                    connection.execute(schema.ROLLBACK)
                if isinstance(error, apsw.Error):
                    raise log._translated(error, 0) from error
                raise


def _has_table(connection: apsw.Connection) -> bool:
    return bool(sqlite_read.query(connection, FIND_TABLE, ()))
