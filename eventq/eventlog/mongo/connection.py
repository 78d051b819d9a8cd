"""One process's connection to the database of a MongoDB log, with the concerns every call needs.

What the URL says of preferences and concerns never counts: a log read or written with less than
these could lose what it acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymongo import MongoClient, ReadPreference
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from eventq.errors import QueueClosedError
from eventq.eventlog.mongo.documents import COMMITS, Document
from eventq.eventlog.mongo.driver import open_client, parse, translate

WRITE_TIMEOUT_MS = 4_000


class MongoLink:
    """Opens its client when it is first needed. All methods may be called from any thread."""

    def __init__(self, url: str) -> None:
        self.url, self._name = parse(url)
        """The URL without its password."""
        self.read_concern = ReadConcern("majority")
        self._secret_url = url
        self._closed = False
        self._client: MongoClient[Document] | None = None

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
        """The collection of commits."""
        return self.database()[COMMITS]

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
        self._client = None

    def close(self) -> None:
        """Gives the client up; may come twice."""
        self._closed = True
        if self._client is not None:
            self._client.close()
            self._client = None


# Clients of a parent process: closing them would talk over its sockets.
_abandoned: list[object] = []
