"""The log in a SQLite file: one file for all namespaces and for many processes of one host.

Connections, locks and forks live in connection.py, SQL in schema.py, reading in read.py, cutting in
retention.py, questions about paths and files in files.py, and wake-ups in notify.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import apsw

from eventq.core.commits import Commit
from eventq.core.seal import genesis
from eventq.errors import LogConflictError, LogUnavailableError
from eventq.eventlog.causes import causes_of
from eventq.eventlog.contract import (
    READ_EVENTS,
    Decide,
    Head,
    Kept,
    Rows,
    StoredEvent,
    Watch,
    check_commit,
)
from eventq.eventlog.sqlite import archived, files, read, schema
from eventq.eventlog.sqlite.connection import SqliteConnection
from eventq.eventlog.sqlite.guest import SqliteHosting
from eventq.eventlog.sqlite.notify import Doorbell
from eventq.eventlog.sqlite.retention import SqliteRetention
from eventq.eventlog.sqlite.snapshots import SqliteSnapshots

# How many events three queries read: it bounds what is in memory twice, as text.
BLOCK_EVENTS = 2_000
INSERT_LONE = schema.insert_events(1, found=False, ends=True)


class SqliteLog:
    """An EventLog in a SQLite file."""

    remote = None

    def __init__(self, path: str, *, url: str, namespace: str, create: bool) -> None:
        files.check_library()
        self.url = url
        self.namespace = namespace
        resolved = files.resolve(path)
        self.doorbell = Doorbell(f"{resolved}-bell", position=lambda: self.head().seq)
        self.connection = SqliteConnection(
            resolved,
            url=url,
            namespace=namespace,
            create=create,
            on_fork=self.doorbell.after_fork,
        )
        self.retention = SqliteRetention(self.connection)
        self.snapshots = SqliteSnapshots(self.connection)
        self.hosting = SqliteHosting(self.connection)

    def head(self) -> Head:
        """See EventLog.head."""
        return self.connection.ask(self._find_head)

    def start(self) -> Head:
        """See EventLog.start."""
        return self.connection.ask(archived.find_start) or Head(0, 0, genesis(self.namespace))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read. Costs three statements for 2,000 events."""
        found: list[Commit] = []
        after = max(after, 0)
        while limit > 0 and after < schema.LAST_POSITION:
            block_limit = min(limit, BLOCK_EVENTS)
            question = partial(read.read_block, name=self.namespace, after=after, limit=block_limit)
            block = self.connection.ask(question, after + 1)
            found += block
            count = block[-1].last - block[0].first + 1 if block else 0
            if count < block_limit:
                break
            limit -= count
            after = block[-1].last
        return found

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        self.append_next(lambda _: commit)

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next."""
        appending = Appending(self.connection, decide)
        self.connection.note_namespace(self.connection.change(appending, appending.in_flight))
        if appending.commit is not None:
            self.doorbell.ring()
        return appending.commit

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        if not 0 <= task <= schema.LAST_POSITION:
            return []
        return self.connection.ask(partial(read.history, task=task), task)

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """See EventLog.histories."""
        wanted = [task for task in tasks if 0 <= task <= schema.LAST_POSITION]
        return self.connection.ask(partial(read.histories, tasks=wanted))

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        return self.connection.ask(partial(read.find_keys, keys=keys))

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by."""
        wanted = [task for task in tasks if 0 < task <= schema.LAST_POSITION]
        return self.connection.ask(partial(read.caused_by, tasks=wanted))

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        return self.connection.ask(archived.find_stray)

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        return self.connection.ask(partial(archived.find_kept, tasks=tasks))

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        self.retention.keep(rows)

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        self.retention.cut(until)

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """See EventLog.query."""
        return self.connection.query(text, values)

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        return self.connection.ask(lambda connection, _: read.namespaces(connection))

    def watch(self, wake: Callable[[], None]) -> Watch:
        """See EventLog.watch; a socket beside the file brings what other processes append."""
        self.connection.check_open()
        return self.doorbell.watch(wake)

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork; the hooks in fork.py have done everything already."""

    def close(self) -> None:
        """See EventLog.close; waits for the calls that are under way."""
        # In this order: from then on no watch can begin, and those that run find the log closed.
        self.connection.close()
        self.doorbell.close()

    def _find_head(self, connection: apsw.Connection, namespace_id: int | None) -> Head:
        return read.head(connection, namespace_id, self.namespace)


class Appending:
    """An append on its way: in its slot it decides, and inserts what was decided."""

    def __init__(self, place: SqliteConnection, decide: Decide) -> None:
        self.commit: Commit | None = None
        self._place = place
        self._decide = decide

    def in_flight(self) -> Commit | None:
        """The commit, once it is decided."""
        return self.commit

    def __call__(self, connection: apsw.Connection, namespace_id: int | None) -> int | None:
        """Inserts the commit inside a transaction; returns the namespace's number."""
        place = self._place
        head = place.head_left(connection) or read.head(connection, namespace_id, place.namespace)
        self.commit = commit = self._decide(head)
        if commit is None:
            return namespace_id
        if commit.last > schema.LAST_POSITION:
            raise LogUnavailableError(f"a namespace holds {schema.LAST_POSITION} events at most")
        assert "\n" not in commit.id, "line feeds part the ids when they are read"
        check_commit(commit, head)
        if commit.keys and archived.find_kept_keys(connection, namespace_id, list(commit.keys)):
            raise LogConflictError(commit.first)
        if namespace_id is None:
            rows = read.query(connection, schema.INSERT_NAMESPACE, (place.namespace,))
            namespace_id = int(rows[0][0])
        _insert(connection, namespace_id, commit)
        return namespace_id


def _insert(connection: apsw.Connection, namespace_id: int, commit: Commit) -> None:
    causes = causes_of(commit.bodies)
    start, count, is_found = 0, len(commit.bodies), bool(commit.keys or causes)
    if count == 1 and not is_found:
        # Most commits; what follows would do the same, and take longer to find out.
        lone = (namespace_id, commit.first, commit.at, *commit.tasks, *commit.bodies)
        connection.execute(INSERT_LONE, (*lone, 1, commit.id, commit.seal))
        return
    keys = schema.key_column(commit) if is_found else []
    caused = [causes.get(index) for index in range(count)] if is_found else []
    while start < count:
        rows_now = schema.statement_rows(count - start)
        end = start + rows_now
        values: list[object] = [namespace_id, commit.first + start, commit.at]
        values += commit.tasks[start:end]
        values += commit.bodies[start:end]
        values += keys[start:end]
        values += caused[start:end]
        if end == count:
            values += (count, commit.id, commit.seal)
        text = schema.insert_events(rows_now, found=is_found, ends=end == count)
        connection.execute(text, values)
        start = end
