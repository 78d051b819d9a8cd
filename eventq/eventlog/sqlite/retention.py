"""Cutting the beginning off a SQLite log, once it is archived; nothing else deletes an event."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

import apsw
import msgspec

from eventq.core.seal import genesis
from eventq.eventlog.contract import Head, Kept, check_cut
from eventq.eventlog.sqlite import base, schema

# How many events one transaction deletes: others wait for their turn as long as it takes.
CUT_EVENTS = 5_000
# How many tasks one transaction keeps; each is a few hundred bytes, or as large as its tags.
KEEP_ROWS = 1_000


class SqliteCutting:
    """The part of a SqliteLog that begins, keeps and cuts."""

    namespace: str
    url: str
    _write_lock: threading.Lock

    def start(self) -> Head:
        """See EventLog.start."""
        with self._reading() as connection:
            found = base.find_base(connection, self._find_namespace(connection))
        return found or Head(0, 0, genesis(self.namespace))

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        with self._reading() as connection:
            return base.find_stray(connection, self._find_namespace(connection))

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        with self._reading() as connection:
            return base.find_kept(connection, self._find_namespace(connection), tasks)

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        for start in range(0, len(rows), KEEP_ROWS):
            some = [[r.task, r.seq, r.key, r.state] for r in rows[start : start + KEEP_ROWS]]
            with self._changing() as (connection, namespace_id):
                connection.execute(base.KEEP, (namespace_id, msgspec.json.encode(some).decode()))

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        with self._changing() as (connection, namespace_id):
            known = base.find_base(connection, namespace_id)
            if known is None or known.seq < until.seq:
                found = connection.execute(base.LAST_COMMIT, (namespace_id, until.seq)).fetchone()
                last, seal = found or (0, b"")
                check_cut(until, last, seal, self.url)
                connection.execute(base.SET_BASE, (namespace_id, until.seq, until.at, until.seal))
                connection.execute(base.FORGET_KEPT, (namespace_id, until.seq))
                known = until
        while self._cut_some(known.seq):
            pass

    def _cut_some(self, last: int) -> bool:
        """Deletes the oldest events up to ``last``; tells whether there were any."""
        with self._changing() as (connection, namespace_id):
            row = connection.execute(base.OLDEST_END, (namespace_id, last, CUT_EVENTS)).fetchone()
            if row is None or row[0] is None:
                return False
            # Inside of the transaction, so that nobody ever sees the log unguarded.
            connection.execute(schema.DROP_DELETE_GUARDS)
            connection.execute(base.DELETE_EVENTS, (namespace_id, row[0]))
            connection.execute(base.DELETE_COMMITS, (namespace_id, row[0]))
            connection.execute(schema.DELETE_GUARDS)
        return True

    @contextmanager
    def _changing(self) -> Iterator[tuple[apsw.Connection, int | None]]:
        """One transaction in this log's turn, with the tables of a cut."""
        with self.turn(), self._write_lock:
            connection = self._writing()
            try:
                connection.execute(schema.BEGIN)
                connection.execute(base.TABLES)
                yield connection, self._find_namespace(connection)
                connection.execute(schema.COMMIT)
            except apsw.Error as error:
                roll_back(connection)
                raise self._translated(error, 0) from error
            except BaseException:
                roll_back(connection)
                raise

    # What the log itself has.

    def turn(self, *, guess: Head | None = None) -> AbstractContextManager[Head]:
        """See EventLog.turn."""
        raise NotImplementedError

    def _reading(self, position: int = 0) -> AbstractContextManager[apsw.Connection]:
        raise NotImplementedError

    def _writing(self) -> apsw.Connection:
        raise NotImplementedError

    def _find_namespace(self, connection: apsw.Connection) -> int | None:
        raise NotImplementedError

    def _translated(self, error: Exception, position: int) -> Exception:
        raise NotImplementedError


def roll_back(connection: apsw.Connection) -> None:
    """Ends the connection's transaction, if it is in one, without effect."""
    # Some errors roll back by themselves, and after others the connection is given up anyway.
    with suppress(apsw.Error):
        if connection.in_transaction:
            connection.execute(schema.ROLLBACK)
