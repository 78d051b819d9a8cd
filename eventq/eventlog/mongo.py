"""The log in MongoDB: one document a commit, for many hosts.

MongoDB does the distribution, the durability and the failover; nothing home-made stands below it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from pymongo import ASCENDING, DESCENDING, MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.errors import (
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventq.errors import (
    ArgumentError,
    EventqError,
    LogConflictError,
    LogCorruptError,
    LogForeignError,
    LogTooNewError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog import mongo_documents as documents
from eventq.eventlog.base import READ_EVENTS, Head, Rows, StoredEvent, Watch, check_commit
from eventq.eventlog.contention import Contention, draw
from eventq.eventlog.mongo_client import (
    brief,
    election_of,
    is_passing,
    is_standalone,
    measure_offset_us,
    open_client,
    parse,
    translate,
)
from eventq.eventlog.mongo_documents import Document
from eventq.eventlog.mongo_watch import MongoWatch
from eventq.events import Commit
from eventq.seal import genesis

logger = logging.getLogger(__name__)

WRITE_TIMEOUT_MS = 4_000
# How long an append whose outcome is unknown is followed up before its caller is told so.
RESOLVE_S = 30.0
RESOLVE_PAUSE_S = 0.05
# How long a measured difference between this host's clock and the primary's is used.
OFFSET_S = 30.0
# The largest position and task number the database can hold.
MAX_INTEGER = 2**63 - 1
# The server's code for a collection or view that is there already.
NAMESPACE_EXISTS = 48
# Documents in one reply; each holds up to 1,000 events.
BATCH_DOCUMENTS = 50


class MongoLog:
    """An EventLog in one collection of a MongoDB database."""

    def __init__(self, url: str, *, namespace: str, create: bool) -> None:
        self.namespace = namespace
        self._url = url
        self.url, self._database = parse(url)
        self._create = create
        self._closed = False
        self._offset_us = 0
        self._measured_s = -OFFSET_S
        self._watches: list[MongoWatch] = []
        # Where the log was last seen to end, and in which election: another primary may hold less.
        self._known: tuple[Head, object] | None = None
        self._contention = Contention(time.monotonic, draw)
        # The last position appended here.
        self._own_seq = 0
        self._client: MongoClient[Document] | None = None
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def head(self) -> Head:
        """See EventLog.head."""
        with self._translating():
            election = election_of(self._get_client())
            found = self._read_collection().find_one(
                {"ns": self.namespace},
                {"first": 1, "n": 1, "at": 1, "seal": 1},
                sort=[("first", DESCENDING)],
            )
        if found is None:
            head = Head(0, 0, genesis(self.namespace))
        else:
            last = int(found["first"] + found["n"] - 1)
            head = Head(last, int(found["at"]), bytes(found["seal"]))
        self._known = (head, election)
        return head

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        if not 0 <= after < MAX_INTEGER:
            return []
        found: list[Commit] = []
        expected = after + 1
        with self._translating():
            election = election_of(self._get_client())
            query = {"ns": self.namespace, "first": {"$gt": after}}
            cursor = self._read_collection().find(
                query, sort=[("first", ASCENDING)], batch_size=BATCH_DOCUMENTS
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
                        raise LogCorruptError(expected, "no commit holds this position")
                    found.append(commit)
                    expected = commit.last + 1
            if not found and not self._ends_at(after):
                found = self._holding(after + 1)
        if found:
            self._known = (Head(found[-1].last, found[-1].at, found[-1].seal), election)
            if found[-1].last > self._own_seq:
                self._contention.met()
        return found

    @contextmanager
    def turn(self, *, guess: Head | None = None) -> Iterator[Head]:
        """See EventLog.turn: everybody is let through, but a recent winner waits a moment."""
        self._check_open()
        wait_s = self._contention.wait_s()
        if wait_s > 0:
            time.sleep(wait_s)
        yield guess or self.head()

    def append(self, commit: Commit) -> None:
        """See EventLog.append.

        An insert whose outcome is unknown is repeated: its id makes that harmless, and whichever
        of the two arrived, the position then holds this commit or another for good.
        """
        election = election_of(self._get_client())
        check_commit(commit, self._head_before(commit, election))
        document = documents.to_document(self.namespace, commit)
        began_s = time.monotonic()
        try:
            self._insert(commit, document, began_s)
        except EventqError:
            raise
        except BaseException:
            # An interrupt: the server may be at it still. Sent once more, it landed or never will.
            with suppress(PyMongoError, QueueClosedError):
                self._write_collection().insert_one(document)
            raise
        self._known = (Head(commit.last, commit.at, commit.seal), election)
        self._own_seq = commit.last
        self._contention.appended(time.monotonic() - began_s)

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        stored: list[StoredEvent] = []
        if not 0 <= task <= MAX_INTEGER:
            return stored
        pipeline = documents.history_pipeline(self.namespace, task)
        with self._translating():
            for document in self._read_collection().aggregate(pipeline):
                for index, number, body in document["found"]:
                    seq = int(document["first"]) + index
                    stored.append(StoredEvent(seq, int(document["at"]), int(number), body))
        return stored

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        wanted = {key for key in keys if key.isascii() or documents.is_storable(key)}
        found: dict[str, int] = {}
        query = {"ns": self.namespace, "keys": {"$in": sorted(wanted)}}
        with self._translating():
            for document in self._read_collection().find(query, {"keys": 1, "key_seqs": 1}):
                for key, seq in zip(document["keys"], document["key_seqs"], strict=True):
                    if key in wanted:
                        found[key] = int(seq)
        return found

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: there is a view for MongoDB's own shell instead."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        with self._translating():
            return sorted(self._read_collection().distinct("ns"))

    def watch(self, wake: Callable[[], None]) -> Watch:
        """See EventLog.watch: a change stream, or a look now and then on a standalone server."""
        self._check_open()
        watch = MongoWatch(
            self._collection(), self.namespace, wake, position=lambda: self.head().seq
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
                self._offset_us = measure_offset_us(self._get_client())
            except (PyMongoError, QueueClosedError) as error:
                logger.info("the primary's clock cannot be read", extra={"error": brief(error)})
        return self._offset_us

    def after_fork(self) -> None:
        """See EventLog.after_fork: a client's sockets and threads are its parent's."""
        _abandoned.append(self._client)
        self._client = None
        self._watches = []
        self._contention = Contention(time.monotonic, draw)

    def close(self) -> None:
        """See EventLog.close."""
        self._closed = True
        for watch in self._watches:
            watch.close()
        if self._client is not None:
            self._client.close()
            self._client = None

    # Connecting.

    def _connect(self) -> None:
        """Checks what the database holds, and makes what is missing."""
        with self._translating():
            database = self._get_client()[self._database]
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

    def _make(self, database: Any) -> None:  # noqa: ANN401 - generic in the driver
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

    def _get_client(self) -> MongoClient[Document]:
        self._check_open()
        if self._client is None:
            self._client = open_client(self._url)
        return self._client

    def _collection(self) -> Collection[Document]:
        return self._get_client()[self._database].get_collection(
            documents.COMMITS, read_preference=ReadPreference.PRIMARY
        )

    def _read_collection(self) -> Collection[Document]:
        return self._collection().with_options(read_concern=ReadConcern("majority"))

    def _write_collection(self) -> Collection[Document]:
        concern = WriteConcern("majority", wtimeout=WRITE_TIMEOUT_MS, j=True)
        return self._collection().with_options(write_concern=concern)

    def _head_before(self, commit: Commit, election: object) -> Head:
        """Where the log ends; asked anew unless that is what the commit follows."""
        known = self._known
        if known is not None and known[1] == election:
            head = known[0]
            if (head.seq + 1, head.seal) == (commit.first, commit.prev):
                return head
        return self.head()

    def _ends_at(self, position: int) -> bool:
        """Whether a commit is known to have ended there, so that none holds the next as well."""
        return self._known is not None and self._known[0].seq == position

    # Unknown outcomes.

    def _insert(self, commit: Commit, document: Document, began_s: float) -> None:
        sent = False
        while True:
            try:
                self._write_collection().insert_one(document)
            except DuplicateKeyError as error:
                took_s = time.monotonic() - began_s
                if sent and self._is_ours(commit):
                    return
                self._contention.conflicted(took_s)
                self._known = None
                raise LogConflictError(commit.first) from error
            except PyMongoError as error:
                # A write concern that is not met says nothing against the write itself.
                if not (is_passing(error) or isinstance(error, WriteConcernError)):
                    self._give_up(error, sent=sent)
                sent = sent or not isinstance(error, ServerSelectionTimeoutError)
                self._follow_up(error, began_s, sent=sent)
            else:
                return

    def _holding(self, position: int) -> list[Commit]:
        """The commit that holds the position, if any."""
        document = self._read_collection().find_one(
            {"ns": self.namespace, "first": {"$lte": position}}, sort=[("first", DESCENDING)]
        )
        if document is None:
            return []
        commit = documents.to_commit(document)
        return [commit] if commit.last >= position else []

    def _is_ours(self, commit: Commit) -> bool:
        """Whether the position holds this commit, for good: what a later primary cannot undo."""
        query = {"ns": self.namespace, "first": commit.first}
        began_s = time.monotonic()
        while True:
            try:
                alone = is_standalone(self._get_client())
                concern = ReadConcern("majority" if alone else "linearizable")
                collection = self._collection().with_options(read_concern=concern)
                found = collection.find_one(query, {"_id": 1}, max_time_ms=WRITE_TIMEOUT_MS)
            except PyMongoError as error:
                if not is_passing(error):
                    self._give_up(error, sent=True)
                self._follow_up(error, began_s, sent=True)
            else:
                return found is not None and found["_id"] == commit.id

    def _follow_up(self, error: PyMongoError, began_s: float, *, sent: bool) -> None:
        """Pauses before the next try, or gives up."""
        if time.monotonic() - began_s > RESOLVE_S:
            self._give_up(error, sent=sent)
        time.sleep(RESOLVE_PAUSE_S)

    def _give_up(self, error: PyMongoError, *, sent: bool) -> NoReturn:
        known = "its outcome is unknown" if sent else "nothing was appended"
        raise LogUnavailableError(f"{translate(error, self.url)}; {known}") from error

    # Errors.

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except PyMongoError as error:
            raise translate(error, self.url) from error


# Clients of a parent process: closing them would talk over its sockets.
_abandoned: list[object] = []
