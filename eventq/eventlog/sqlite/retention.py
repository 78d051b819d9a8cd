"""Cutting the beginning off a SQLite log, once it is archived; nothing else deletes an event."""

from __future__ import annotations

from functools import partial

import apsw
import msgspec

from eventq.eventlog.contract import Head, Kept, check_cut
from eventq.eventlog.sqlite import archived, schema
from eventq.eventlog.sqlite.connection import Question, SqliteConnection, T

# How many events one transaction deletes: other writers wait as long as it takes.
CUT_EVENTS = 5_000
# How many tasks one transaction keeps; each is a few hundred bytes, or as large as its tags.
KEEP_ROWS = 1_000


class SqliteRetention:
    """What keeps and cuts for a SqliteLog, through its connection."""

    def __init__(self, connection: SqliteConnection) -> None:
        self._connection = connection

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        for start in range(0, len(rows), KEEP_ROWS):
            some = [[r.task, r.seq, r.key, r.state] for r in rows[start : start + KEEP_ROWS]]
            self._change(partial(_keep, rows_json=msgspec.json.encode(some).decode()))

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        last = self._change(partial(_set_start, until=until, url=self._connection.url))
        while self.delete_some(last):
            pass

    def delete_some(self, last: int) -> bool:
        """Deletes the oldest events up to ``last``; returns whether there were any."""
        return self._change(partial(_delete_some, last=last))

    def _change(self, step: Question[T]) -> T:
        """Runs the step once the tables of a cut are there."""

        def change(connection: apsw.Connection, namespace_id: int | None) -> T:
            connection.execute(archived.TABLES)
            return step(connection, namespace_id)

        return self._connection.change(change)


def _keep(connection: apsw.Connection, namespace_id: int | None, rows_json: str) -> None:
    connection.execute(archived.KEEP, (namespace_id, rows_json))


def _set_start(connection: apsw.Connection, namespace_id: int | None, until: Head, url: str) -> int:
    """Has the log start behind ``until`` or where it does, if later; returns the last to delete."""
    known = archived.find_start(connection, namespace_id)
    if known is not None and known.seq >= until.seq:
        return known.seq
    found = connection.execute(schema.FIND_END, (namespace_id, until.seq)).fetchone()
    last, seal = found or (0, b"")
    check_cut(until, last, seal, url)
    connection.execute(archived.SET_START, (namespace_id, until.seq, until.at, until.seal))
    connection.execute(archived.FORGET_KEPT, (namespace_id, until.seq))
    return until.seq


def _delete_some(connection: apsw.Connection, namespace_id: int | None, last: int) -> bool:
    row = connection.execute(archived.OLDEST_END, (namespace_id, last, CUT_EVENTS)).fetchone()
    if row is None:
        return False
    # Inside the transaction, so that no other connection ever sees the log unguarded.
    connection.execute(schema.DROP_DELETE_GUARD)
    connection.execute(archived.DELETE_EVENTS, (namespace_id, row[0]))
    connection.execute(schema.DELETE_GUARD)
    return True
