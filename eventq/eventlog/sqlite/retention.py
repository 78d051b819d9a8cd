"""Cutting the beginning off a SQLite log, once it is archived; nothing else deletes an event."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import apsw
import msgspec

from eventq.core.events import Commit
from eventq.core.seal import genesis
from eventq.eventlog.contract import Head, Kept, check_cut
from eventq.eventlog.sqlite import base, schema

T = TypeVar("T")
# What is asked by a connection about the namespace with this id, None before its first commit.
Question = Callable[[apsw.Connection, int | None], T]

# How many events one transaction deletes: others wait for their turn as long as it takes.
CUT_EVENTS = 5_000
# How many tasks one transaction keeps; each is a few hundred bytes, or as large as its tags.
KEEP_ROWS = 1_000


class SqliteCutting:
    """The part of a SqliteLog that begins, keeps and cuts."""

    namespace: str
    url: str

    def start(self) -> Head:
        """See EventLog.start."""
        return self.ask(base.find_base) or Head(0, 0, genesis(self.namespace))

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        return self.ask(base.find_stray)

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        return self.ask(partial(base.find_kept, tasks=tasks))

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        for start in range(0, len(rows), KEEP_ROWS):
            some = [[r.task, r.seq, r.key, r.state] for r in rows[start : start + KEEP_ROWS]]
            self._change(partial(_keep, rows_json=msgspec.json.encode(some).decode()))

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        last = self._change(partial(_set_base, until=until, url=self.url))
        while self._cut_some(last):
            pass

    def _cut_some(self, last: int) -> bool:
        """Deletes the oldest events up to ``last``; tells whether there were any."""
        return self._change(partial(_delete_some, last=last))

    def _change(self, step: Question[T]) -> T:
        """One transaction in this log's turn, with the tables of a cut."""

        def change(connection: apsw.Connection, namespace_id: int | None) -> T:
            connection.execute(base.TABLES)
            return step(connection, namespace_id)

        with self.turn():
            return self.transact(change)

    # What the log itself has.

    def turn(self, *, guess: Head | None = None) -> AbstractContextManager[Head]:
        """See EventLog.turn."""
        raise NotImplementedError

    def ask(self, question: Question[T], position: int = 0) -> T:
        """See SqliteLog.ask."""
        raise NotImplementedError

    def transact(self, step: Question[T], commit: Commit | None = None) -> T:
        """See SqliteLog.transact."""
        raise NotImplementedError


def _keep(connection: apsw.Connection, namespace_id: int | None, rows_json: str) -> None:
    connection.execute(base.KEEP, (namespace_id, rows_json))


def _set_base(connection: apsw.Connection, namespace_id: int | None, until: Head, url: str) -> int:
    """Has the log start behind ``until``, unless it starts later already; gives the last to go."""
    known = base.find_base(connection, namespace_id)
    if known is not None and known.seq >= until.seq:
        return known.seq
    found = connection.execute(base.LAST_COMMIT, (namespace_id, until.seq)).fetchone()
    last, seal = found or (0, b"")
    check_cut(until, last, seal, url)
    connection.execute(base.SET_BASE, (namespace_id, until.seq, until.at, until.seal))
    connection.execute(base.FORGET_KEPT, (namespace_id, until.seq))
    return until.seq


def _delete_some(connection: apsw.Connection, namespace_id: int | None, last: int) -> bool:
    row = connection.execute(base.OLDEST_END, (namespace_id, last, CUT_EVENTS)).fetchone()
    if row is None or row[0] is None:
        return False
    # Inside of the transaction, so that nobody ever sees the log unguarded.
    connection.execute(schema.DROP_DELETE_GUARDS)
    connection.execute(base.DELETE_EVENTS, (namespace_id, row[0]))
    connection.execute(base.DELETE_COMMITS, (namespace_id, row[0]))
    connection.execute(schema.DELETE_GUARDS)
    return True
