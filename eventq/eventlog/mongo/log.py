"""The log in MongoDB: one document a commit, for many hosts.

MongoDB does the distribution, the durability and the failover; nothing home-made stands below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from msgspec import Struct
from pymongo import ASCENDING, DESCENDING
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from eventq.core.events import Commit
from eventq.errors import (
    ArgumentError,
    LogConflictError,
    LogForeignError,
    LogTooNewError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.contract import READ_EVENTS, Head, Rows, StoredEvent, Watch, check_commit
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.append import Insertion
from eventq.eventlog.mongo.connection import MongoLink
from eventq.eventlog.mongo.documents import Document
from eventq.eventlog.mongo.driver import brief, election_of, measure_offset_us
from eventq.eventlog.mongo.pacing import Contention, draw
from eventq.eventlog.mongo.retention import TRUSTED_S, MongoCutting, boot_s
from eventq.eventlog.mongo.snapshots import MongoSnapshots
from eventq.eventlog.mongo.watch import MongoWatch
from eventq.host.logger import SafeLogger

logger = SafeLogger(__name__)

# How long a measured difference between this host's clock and the primary's is used.
OFFSET_S = 30.0
# The largest position and task number the database can hold.
MAX_INTEGER = 2**63 - 1
# The server's code for a collection or view that is there already.
NAMESPACE_EXISTS = 48
# Documents in one reply; each holds up to 1,000 events.
BATCH_DOCUMENTS = 50


class MongoLog(MongoCutting):
    """An EventLog in one collection of a MongoDB database."""

    def __init__(self, url: str, *, namespace: str, create: bool) -> None:
        self.namespace = namespace
        self._link = MongoLink(url)
        self.url = self._link.url
        self.takes_guesses = True
        self.snapshots = MongoSnapshots(self._link, namespace)
        self._create = create
        self._offset_us = 0
        self._measured_s = -OFFSET_S
        self._watches: list[MongoWatch] = []
        self._known: _Known | None = None
        self._contention = Contention(time.monotonic, draw)
        # The last position appended here.
        self._own_seq = 0
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def head(self) -> Head:
        """See EventLog.head."""
        began_s = boot_s()
        with self._link.translating():
            election = election_of(self._link.client())
            found = self._link.commits().find_one(
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
        with self._link.translating():
            election = election_of(self._link.client())
            query = {"ns": self.namespace, "first": {"$gt": after}}
            # Each holds one event at least, so no more than the limit are ever wanted.
            cursor = self._link.commits().find(
                query,
                sort=[("first", ASCENDING)],
                limit=limit,
                batch_size=min(limit, BATCH_DOCUMENTS),
            )
            with cursor:
                for document in cursor:
                    if not found and document["first"] != expected:
                        found += self._holding(after + 1)
                        expected = found[-1].last + 1 if found else expected
                    if found and expected - found[0].first >= limit:
                        break
                    commit = documents.to_commit(document)
                    if commit.first != expected:
                        raise self._missing(expected)
                    found.append(commit)
                    expected = commit.last + 1
            if not found and not self._ends_at(after):
                found = self._holding(after + 1)
                if not found:
                    self._check_end(after, began_s)
        if found:
            head = Head(found[-1].last, found[-1].at, found[-1].seal)
            self._known = _Known(head, election, began_s)
            if found[-1].last > self._own_seq:
                self._contention.met()
        return found

    @contextmanager
    def turn(self, *, guess: Head | None = None) -> Iterator[Head]:
        """See EventLog.turn: everybody is let through, but a recent winner waits a moment."""
        self._link.check_open()
        wait_s = self._contention.wait_s()
        if wait_s > 0:
            time.sleep(wait_s)
        yield guess or self.head()

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        began_s = boot_s()
        election = election_of(self._link.client())
        before = self._before(commit, election)
        check_commit(commit, before.head)
        insertion = Insertion(self._link, self.namespace, commit)
        try:
            insertion.make()
            if boot_s() - before.asked_s > TRUSTED_S:
                insertion.check_not_cut()
        except LogConflictError:
            self._contention.conflicted(insertion.took_s)
            self._known = None
            raise
        head = Head(commit.last, commit.at, commit.seal)
        self._known = _Known(head, election, began_s)
        self._own_seq = commit.last
        self._contention.appended(insertion.took_s)

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        stored: list[StoredEvent] = []
        if not 0 <= task <= MAX_INTEGER:
            return stored
        pipeline = documents.history_pipeline(self.namespace, task)
        with self._link.translating():
            for document in self._link.commits().aggregate(pipeline):
                for index, number, body in document["found"]:
                    seq = int(document["first"]) + index
                    stored.append(StoredEvent(seq, int(document["at"]), int(number), body))
        return stored

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        wanted = {key for key in keys if key.isascii() or documents.is_storable(key)}
        found: dict[str, int] = {}
        query = {"ns": self.namespace, "keys": {"$in": sorted(wanted)}}
        with self._link.translating():
            for document in self._link.commits().find(query, {"keys": 1, "key_seqs": 1}):
                for key, seq in zip(document["keys"], document["key_seqs"], strict=True):
                    if key in wanted:
                        found[key] = int(seq)
            # In this order: a key is kept before its commit is deleted.
            missing = wanted - found.keys()
            return found | (self._find_kept_keys(missing) if missing else {})

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: there is a view for MongoDB's own shell instead."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        with self._link.translating():
            return sorted({*self._link.commits().distinct("ns"), *self._cut_namespaces()})

    def watch(self, wake: Callable[[], None], *, heard: Callable[[], bool] = lambda: True) -> Watch:
        """See EventLog.watch: a change stream, or a look now and then on a standalone server."""
        self._link.check_open()
        watch = MongoWatch(
            self._link.commits(),
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
        """See EventLog.clock_offset_us: the primary's clock against this host's."""
        now_s = time.monotonic()
        if now_s - self._measured_s > OFFSET_S:
            # Also when it fails: a server that is away is not asked again for each command.
            self._measured_s = now_s
            try:
                self._offset_us = measure_offset_us(self._link.client())
            except (PyMongoError, QueueClosedError) as error:
                logger.info("the primary's clock cannot be read", extra={"error": brief(error)})
        return self._offset_us

    def after_fork(self) -> None:
        """See EventLog.after_fork."""
        self._link.after_fork()
        self._watches = []
        self._contention = Contention(time.monotonic, draw)

    def close(self) -> None:
        """See EventLog.close."""
        for watch in self._watches:
            watch.close()
        self._link.close()

    # Connecting.

    def _connect(self) -> None:
        """Checks what the database holds, and makes what is missing."""
        with self._link.translating():
            database = self._link.database()
            # In this order: somebody may be making it, and marks it before the first commit.
            is_empty = database[documents.COMMITS].find_one({}, {"_id": 1}) is None
            mark = database[documents.MARKS].find_one({"_id": documents.COMMITS})
            if mark is None:
                if not is_empty:
                    self._refuse(documents.COMMITS)
                if not self._create:
                    raise LogUnavailableError(f"{self.url}: there is no eventq log")
                self._make(database)
            elif mark.get("schema") != documents.SCHEMA_VERSION:
                raise LogTooNewError(
                    f"{self.url}: schema {mark.get('schema')!r} is of a newer eventq: upgrade"
                )

    def _make(self, database: Database[Document]) -> None:
        for there in database.list_collections(filter={"name": documents.EVENTS_VIEW}):
            if there["options"].get("viewOn") != documents.COMMITS:
                self._refuse(documents.EVENTS_VIEW)
        try:
            database.create_collection(
                documents.EVENTS_VIEW,
                check_exists=False,
                viewOn=documents.COMMITS,
                pipeline=documents.VIEW_PIPELINE,
            )
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
        database[documents.COMMITS].create_indexes(documents.INDEXES)
        mark = {"schema": documents.SCHEMA_VERSION}
        database[documents.MARKS].update_one(
            {"_id": documents.COMMITS}, {"$setOnInsert": mark}, upsert=True
        )

    def _refuse(self, collection: str) -> NoReturn:
        raise LogForeignError(
            f"{self.url}: the collection {collection} holds something that is not an eventq log; "
            "name another database in the URL"
        )

    def _before(self, commit: Commit, election: object) -> _Known:
        """Where the log ends; asked anew unless that is what the commit follows."""
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
            raise self._missing(after + 1)
        if known is not None and known.head.seq == after:
            self._known = _Known(known.head, known.election, asked_s)

    def _ends_at(self, position: int) -> bool:
        """Whether a commit is known to have ended there, so that none holds the next as well."""
        known = self._known
        if known is None or boot_s() - known.asked_s > TRUSTED_S:
            return False
        return known.head.seq == position


class _Known(Struct, frozen=True, gc=False):
    """Where the log was last seen to end. Threads share it, so it changes as a whole."""

    head: Head
    election: object
    """In which that was: another primary may hold less."""
    asked_s: float
    """When it was asked, in seconds by a clock that goes on while the host sleeps."""
