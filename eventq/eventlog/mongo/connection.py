"""One process's connection to the database of a MongoDB log, with the concerns every call needs.

Preferences and concerns in the URL never count: a log read or written with less than these could
lose what it acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventq.errors import LogForeignError, LogTooNewError, LogUnavailableError, QueueClosedError
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.documents import COMMITS, EVENTS_VIEW, MARKS, Document
from eventq.eventlog.mongo.driver import brief, measure_offset_us, open_client, parse, translate
from eventq.host.logger import SafeLogger

WRITE_TIMEOUT_MS = 4_000
# How long a measured difference between this host's clock and the primary's is used.
OFFSET_S = 30.0
# The server's code for a collection or view that exists already.
NAMESPACE_EXISTS = 48

logger = SafeLogger(__name__)


class MongoConnection:
    """Opens its client when it is first needed. All methods may be called from any thread."""

    def __init__(self, url: str) -> None:
        self.url, self._name = parse(url)
        """The URL without its password."""
        self.read_concern = ReadConcern("majority")
        self._secret_url = url
        self._closed = False
        self._client: MongoClient[Document] | None = None
        # Of this client: making it anew costs a twentieth of an insert.
        self._commits: Collection[Document] | None = None
        self._offset_us = 0
        self._measured_s = -OFFSET_S

    def prepare(self, *, create: bool) -> None:
        """Checks what the database holds, and makes what is missing if ``create``.

        Raises LogForeignError, LogTooNewError, or LogUnavailableError where there is no log.
        """
        with self.translating():
            database = self.database()
            # In this order: another process may be making it, and marks it before a commit.
            is_empty = database[COMMITS].find_one({}, {"_id": 1}) is None
            mark = database[MARKS].find_one({"_id": COMMITS})
            if mark is None:
                if not is_empty:
                    self._refuse(COMMITS)
                if not create:
                    raise LogUnavailableError(f"{self.url}: there is no eventq log")
                self._make(database)
            else:
                self._check_schema(mark.get("schema"))

    def client(self) -> MongoClient[Document]:
        """The driver's client. Raises QueueClosedError."""
        self.check_open()
        if self._client is None:
            self._client = open_client(self._secret_url)
        return self._client

    def database(self) -> Database[Document]:
        """The database, read from the primary and a majority, written to a majority's disks."""
        return self.client().get_database(
            self._name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=self.read_concern,
            write_concern=WriteConcern("majority", wtimeout=WRITE_TIMEOUT_MS, j=True),
        )

    def commits(self) -> Collection[Document]:
        """The collection of commits. Raises QueueClosedError."""
        self.check_open()
        commits = self._commits
        if commits is None:
            commits = self._commits = self.collection(COMMITS)
        return commits

    def collection(self, name: str) -> Collection[Document]:
        """Any collection beside it."""
        return self.database()[name]

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us: the primary's clock against this host's."""
        now_s = time.monotonic()
        if now_s - self._measured_s > OFFSET_S:
            # Also when it fails: an absent server is not asked again for each command.
            self._measured_s = now_s
            try:
                self._offset_us = measure_offset_us(self.client())
            except (PyMongoError, QueueClosedError) as error:
                logger.info("the primary's clock cannot be read", extra={"error": brief(error)})
        return self._offset_us

    def check_open(self) -> None:
        """Raises QueueClosedError after `close`."""
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")

    @contextmanager
    def translating(self) -> Iterator[None]:
        """The driver's errors leave the block as ours."""
        try:
            yield
        except PyMongoError as error:
            raise translate(error, self.url) from error

    def after_fork(self) -> None:
        """A client's sockets and threads are its parent's: a forked child opens its own."""
        _abandoned.append(self._client)
        self._client = self._commits = None

    def close(self) -> None:
        """Gives the client up; may be called twice."""
        self._closed = True
        if self._client is not None:
            self._client.close()
            self._client = self._commits = None

    def _check_schema(self, schema: object) -> None:
        """Raises LogTooNewError, or LogForeignError for one that no release of eventq reads."""
        known = documents.SCHEMA_VERSION
        if isinstance(schema, int) and schema > known:
            raise LogTooNewError(
                f"{self.url}: has schema {schema}, this eventq knows up to {known}; upgrade eventq"
            )
        if schema != known:
            raise LogForeignError(
                f"{self.url}: has schema {schema!r}, written before the first release by an eventq "
                f"that this one cannot read, which has {known}: name another database in the URL"
            )

    def _make(self, database: Database[Document]) -> None:
        for found in database.list_collections(filter={"name": EVENTS_VIEW}):
            if found["options"].get("viewOn") != COMMITS:
                self._refuse(EVENTS_VIEW)
        try:
            database.create_collection(
                EVENTS_VIEW, check_exists=False, viewOn=COMMITS, pipeline=documents.VIEW_PIPELINE
            )
        except OperationFailure as error:
            if error.code != NAMESPACE_EXISTS:
                raise
        database[COMMITS].create_indexes(documents.INDEXES)
        mark = {"schema": documents.SCHEMA_VERSION}
        database[MARKS].update_one({"_id": COMMITS}, {"$setOnInsert": mark}, upsert=True)

    def _refuse(self, collection: str) -> NoReturn:
        raise LogForeignError(
            f"{self.url}: the collection {collection} holds something that is not an eventq log; "
            "name another database in the URL"
        )


# Clients of a parent process: closing them would talk over its sockets.
_abandoned: list[object] = []
