"""The log in MongoDB: one document a commit, for many hosts.

MongoDB does the distribution, the durability and the failover, with nothing home-made below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING

from eventq.core.commits import Commit
from eventq.errors import ArgumentError, LogConflictError
from eventq.eventlog.contract import (
    READ_EVENTS,
    Decide,
    Head,
    Kept,
    Remote,
    Rows,
    StoredEvent,
    Watch,
    check_commit,
    is_storable,
)
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.append import Insertion
from eventq.eventlog.mongo.connection import MongoConnection
from eventq.eventlog.mongo.driver import election_of
from eventq.eventlog.mongo.pacing import Contention, draw
from eventq.eventlog.mongo.retention import TRUSTED_S, MongoRetention, boot_s
from eventq.eventlog.mongo.snapshots import MongoSnapshots
from eventq.eventlog.mongo.watch import MongoWatch

# The largest position and task number the database can hold.
MAX_INTEGER = 2**63 - 1
# Documents in one reply; each holds up to 1,000 events.
BATCH_DOCUMENTS = 50


class MongoLog:
    """An EventLog in one collection of a MongoDB database."""

    hosting = None

    def __init__(self, url: str, *, namespace: str, create: bool) -> None:
        self.namespace = namespace
        self.connection = MongoConnection(url)
        self.url = self.connection.url
        self.snapshots = MongoSnapshots(self.connection, namespace)
        self.retention = MongoRetention(self.connection, namespace)
        self._watches: list[MongoWatch] = []
        self._known: _Known | None = None
        self.contention = Contention(time.monotonic, draw)
        # The last position appended here.
        self._own_seq = 0
        try:
            self.connection.prepare(create=create)
        except BaseException:
            self.close()
            raise

    @property
    def remote(self) -> Remote:
        """See EventLog.remote."""
        return self

    def head(self) -> Head:
        """See EventLog.head."""
        began_s = boot_s()
        with self.connection.translating():
            election = election_of(self.connection.client())
            found = self.connection.commits().find_one(
                {"ns": self.namespace},
                {"first": 1, "n": 1, "at": 1, "seal": 1},
                sort=[("first", DESCENDING)],
            )
        if found is None:
            head = self.start()
        else:
            last = int(found["first"] + found["n"] - 1)
            head = Head(last, int(found["at"]), bytes(found["seal"]))
        self._known = _Known(head, election, began_s)
        return head

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        if not 0 <= after < MAX_INTEGER:
            return []
        found: list[Commit] = []
        expected = after + 1
        began_s = boot_s()
        with self.connection.translating():
            election = election_of(self.connection.client())
            query = {"ns": self.namespace, "first": {"$gt": after}}
            # Each holds at least one event, so the limit of events bounds the documents.
            cursor = self.connection.commits().find(
                query,
                sort=[("first", ASCENDING)],
                limit=limit,
                batch_size=min(limit, BATCH_DOCUMENTS),
            )
            with cursor:
                for document in cursor:
                    if not found and document["first"] != expected:
                        found += self.retention.find_holding(after + 1)
                        expected = found[-1].last + 1 if found else expected
                    if found and expected - found[0].first >= limit:
                        break
                    commit = documents.to_commit(document)
                    if commit.first != expected:
                        raise self.retention.missing(expected)
                    found.append(commit)
                    expected = commit.last + 1
            if not found and not self._ends_at(after):
                found = self.retention.find_holding(after + 1)
                if not found:
                    self._check_end(after, began_s)
        if found:
            head = Head(found[-1].last, found[-1].at, found[-1].seal)
            self._known = _Known(head, election, began_s)
            if found[-1].last > self._own_seq:
                self.contention.met()
        return found

    @property
    def append_s(self) -> float:
        """See Remote.append_s."""
        return self.contention.append_s

    def append_next(
        self, decide: Decide, *, guess: Head | None = None, waits: bool = True
    ) -> Commit | None:
        """See EventLog and Remote: lets every writer through, but a recent winner waits first."""
        self.connection.check_open()
        wait_s = self.contention.wait_s() if waits else 0.0
        if wait_s > 0:
            time.sleep(wait_s)
        commit = decide(guess or self.head())
        if commit is not None:
            self.append(commit)
        return commit

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        began_s = boot_s()
        election = election_of(self.connection.client())
        before = self._before(commit, election)
        check_commit(commit, before.head)
        insertion = Insertion(self.connection, self.namespace, commit)
        try:
            insertion.make()
            if boot_s() - before.asked_s > TRUSTED_S:
                insertion.check_not_cut()
        except LogConflictError:
            self.contention.conflicted(insertion.took_s)
            self._known = None
            raise
        head = Head(commit.last, commit.at, commit.seal)
        self._known = _Known(head, election, began_s)
        self._own_seq = commit.last
        self.contention.appended(insertion.took_s)

    def start(self) -> Head:
        """See EventLog.start."""
        return self.retention.start()

    def find_stray(self) -> int | None:
        """See EventLog.find_stray."""
        return self.retention.find_stray()

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        return self.retention.find_kept(tasks)

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        self.retention.keep(rows)

    def cut(self, until: Head) -> None:
        """See EventLog.cut."""
        self.retention.cut(until)

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        return self.histories([task]).get(task, [])

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """See EventLog.histories."""
        wanted = {task for task in tasks if 0 <= task <= MAX_INTEGER}
        stored: dict[int, list[StoredEvent]] = {}
        if not wanted:
            return stored
        pipeline = documents.histories_pipeline(self.namespace, sorted(wanted))
        with self.connection.translating():
            for document in self.connection.commits().aggregate(pipeline):
                for index, number, body in document["found"]:
                    if number in wanted:
                        seq, task = int(document["first"]) + index, int(number)
                        event = StoredEvent(seq, int(document["at"]), task, body)
                        stored.setdefault(task, []).append(event)
        return stored

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        wanted = {key for key in keys if is_storable(key)}
        found: dict[str, int] = {}
        query = {"ns": self.namespace, "keys": {"$in": sorted(wanted)}}
        with self.connection.translating():
            for document in self.connection.commits().find(query, {"keys": 1, "key_seqs": 1}):
                for key, seq in zip(document["keys"], document["key_seqs"], strict=True):
                    if key in wanted:
                        found[key] = int(seq)
            # In this order: a key is kept before its commit is deleted.
            missing = wanted - found.keys()
            return found | (self.retention.find_kept_keys(missing) if missing else {})

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by."""
        wanted = {task for task in tasks if 0 < task <= MAX_INTEGER}
        query = {"ns": self.namespace, "causes": {"$in": sorted(wanted)}}
        found: dict[int, dict[int, None]] = {}
        with self.connection.translating():
            for document in self.connection.commits().find(query, {"causes": 1, "caused": 1}):
                for cause, number in zip(document["causes"], document["caused"], strict=True):
                    if cause in wanted:
                        found.setdefault(int(cause), {})[int(number)] = None
        return {cause: list(caused) for cause, caused in found.items()}

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: there is a view for MongoDB's own shell instead."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        with self.connection.translating():
            return sorted(
                {*self.connection.commits().distinct("ns"), *self.retention.cut_namespaces()}
            )

    def watch(self, wake: Callable[[], None], *, heard: Callable[[], bool] = lambda: True) -> Watch:
        """See EventLog and Remote: a change stream, or looks now and then on a standalone."""
        self.connection.check_open()
        watch = MongoWatch(
            self.connection.commits(),
            self.namespace,
            wake,
            heard=heard,
            position=lambda: self.head().seq,
        )
        self._watches = [other for other in self._watches if not other.closed]
        self._watches.append(watch)
        watch.start()
        return watch

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return self.connection.clock_offset_us()

    def after_fork(self) -> None:
        """See EventLog.after_fork."""
        self.connection.after_fork()
        self._watches = []
        self.contention = Contention(time.monotonic, draw)

    def close(self) -> None:
        """See EventLog.close."""
        for watch in self._watches:
            watch.close()
        self.connection.close()

    def _before(self, commit: Commit, election: object) -> _Known:
        """Returns where the log ends; asks anew unless the commit follows what is known."""
        known = self._known
        if known is not None and known.election == election:
            head = known.head
            if (head.seq + 1, head.seal) == (commit.first, commit.prev):
                return known
        asked_s = boot_s()
        return _Known(self.head(), election, asked_s)

    def _check_end(self, after: int, asked_s: float) -> None:
        """For a read that found nothing: raises LogArchivedError where something was cut."""
        known = self._known
        if after < self.start().seq:
            raise self.retention.missing(after + 1)
        if known is not None and known.head.seq == after:
            self._known = _Known(known.head, known.election, asked_s)

    def _ends_at(self, position: int) -> bool:
        """Whether a commit is known to have ended there, so that none holds the next as well."""
        known = self._known
        if known is None or boot_s() - known.asked_s > TRUSTED_S:
            return False
        return known.head.seq == position


class _Known(Struct, frozen=True, gc=False):
    """Where the log last ended. Threads share it, so it is replaced, never changed."""

    head: Head
    election: object
    """The election it was read in: another primary may hold less."""
    asked_s: float
    """When it was read, in seconds by a clock that goes on while the host sleeps."""
