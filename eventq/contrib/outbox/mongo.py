"""Outboxes in MongoDB, in transactions of pymongo's sessions.

Rows are ordered by the cluster's own time: a transaction that begins after another one has
committed writes at a later time. One relay at a time, by a lease in a document of its own.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

import pymongo
import pymongo.errors
from pymongo.client_session import ClientSession
from pymongo.database import Database

from eventq.contrib.outbox.row import TABLE, OutboxRow, OutboxTask, shown_row
from eventq.contrib.outbox.store import OutboxStore, Settled, Watching
from eventq.errors import ArgumentError, OutboxError
from eventq.host.logger import SafeLogger

R = TypeVar("R")
Document = dict[str, Any]

logger = SafeLogger("eventq.contrib.outbox")

POLL_S = 5.0
# A relay that has said nothing for so long is taken for dead; seconds.
LEASE_S = 30.0
RELAYS = f"{TABLE}_relays"
# Seconds that a change stream waits for news, and the pause after it failed.
STREAM_MS = 500
AGAIN_S = 1.0
ORDER = [("at", pymongo.ASCENDING), ("n", pymongo.ASCENDING), ("_id", pymongo.ASCENDING)]
# Until the server's clock has been asked.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = ("namespace", "key", "version", "made_at", "body")
ASIDE = {"problem": {"$ne": None}}


class MongoStore:
    """The OutboxStore in a database of MongoDB's."""

    def __init__(self, database: Database[Document], namespace: str) -> None:
        self._rows = database.get_collection(
            TABLE,
            read_concern=pymongo.read_concern.ReadConcern("majority"),
            write_concern=pymongo.WriteConcern("majority"),
        )
        self._relays = database.get_collection(
            RELAYS, write_concern=pymongo.WriteConcern("majority")
        )
        self._namespace = namespace
        self._me = secrets.token_hex(8)

    def check(self) -> None:
        """See OutboxStore.check: a collection needs no making, and a row says its own version."""

    def create(self) -> None:
        """See OutboxStore.create."""
        self._rows.create_index([("namespace", 1), ("problem", 1), *ORDER])
        self._rows.create_index([("namespace", 1), ("key", 1)])

    def relay(self, limit: int, append: Callable[[list[OutboxRow]], Settled]) -> int:
        """See OutboxStore.relay."""
        if not self._lead():
            return 0
        found = self._rows.find({"namespace": self._namespace, "problem": None})
        rows = [_row(each) for each in found.sort(ORDER).limit(limit)]
        if not rows:
            return 0
        settled = append(rows)
        if settled.done:
            self._rows.delete_many({"_id": {"$in": settled.done}})
        for row_id, problem in settled.aside:
            self._rows.update_one({"_id": row_id}, {"$set": {"problem": problem}})
        return len(rows)

    def find(self, key: str) -> OutboxTask | None:
        """See OutboxStore.find."""
        found = self._rows.find_one({"namespace": self._namespace, "key": key})
        return None if found is None else _shown(found)

    def aside(self) -> list[OutboxTask]:
        """See OutboxStore.aside."""
        return [_shown(each) for each in self._aside()]

    def retry(self, key: str | None, *, now: int) -> int:
        """See OutboxStore.retry."""
        found = [each for each in self._aside() if key in {None, each["key"]}]
        for each in found:
            fresh = {"$set": {"problem": None, "made_at": now}}
            self._rows.update_one({"_id": each["_id"]}, fresh)
        return len(found)

    def leave(self) -> None:
        """Lets another relay begin at once."""
        self._relays.delete_one({"_id": self._namespace, "by": self._me})

    def _aside(self) -> list[Document]:
        return list(self._rows.find({"namespace": self._namespace, **ASIDE}).sort(ORDER))

    def _lead(self) -> bool:
        """Whether this is the one relay now; by the server's clock."""
        until = {"$add": ["$$NOW", int(LEASE_S * 1000)]}
        free = {"$or": [{"by": self._me}, {"$expr": {"$lt": ["$until", "$$NOW"]}}]}
        mine: list[Document] = [{"$set": {"by": self._me, "until": until}}]
        leads = self._relays.update_one({"_id": self._namespace, **free}, mine).matched_count > 0
        if not leads and self._relays.find_one({"_id": self._namespace}) is None:
            with suppress(pymongo.errors.DuplicateKeyError):
                self._relays.insert_one({"_id": self._namespace, "by": self._me, "until": NEVER})
                return (
                    self._relays.update_one(
                        {"_id": self._namespace, "by": self._me}, mine
                    ).matched_count
                    > 0
                )
        return leads


class MongoPlace:
    """A Site in a database of MongoDB's."""

    poll_s = POLL_S

    def __init__(self, database: Database[Document]) -> None:
        self.database = database
        # A session is of the client, and writes where the outbox is.
        self.home = None
        host, port = database.client.address or ("", "")
        self.shown = f"mongodb://{host}:{port}/{database.name}"

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """See Site.visit."""
        store = MongoStore(self.database, namespace)
        try:
            return work(store)
        finally:
            store.leave()

    def watch(self, wake: Callable[[], None]) -> Watching | None:
        """See Site.watch."""
        return MongoStream(self.database, wake)


class MongoStream:
    """Calls ``wake`` for each row that is committed, by a change stream, until it is closed."""

    def __init__(self, database: Database[Document], wake: Callable[[], None]) -> None:
        self._rows = database[TABLE]
        self._wake = wake
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventq-stream", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        wanted: list[Document] = [{"$match": {"operationType": "insert"}}, {"$project": {"_id": 1}}]
        while not self._stopped.is_set():
            try:
                with self._rows.watch(wanted, max_await_time_ms=STREAM_MS) as stream:
                    self._wake()
                    while not self._stopped.is_set():
                        if stream.try_next() is not None:
                            self._wake()
            except pymongo.errors.PyMongoError as error:
                values = {"error": str(error)}
                logger.warning("the outbox is not told of commits: %(error)s", values, extra=values)
                self._stopped.wait(AGAIN_S)


class EnrolledSession:
    """The transaction of a session, in the database that the outbox was given."""

    def __init__(self, session: ClientSession, place: MongoPlace) -> None:
        """Raises ArgumentError for a session without a transaction, or of another client."""
        if not session.in_transaction:
            raise ArgumentError("on", session, "a session with a transaction that has begun")
        if session.client is not place.database.client:
            raise ArgumentError("on", session, "a session of the client that `at` is a database of")
        self.place = place
        self._session = session

    def write(self, row: OutboxRow) -> None:
        """See Enrolled.write."""
        values: Document = {"namespace": row.namespace, "key": row.key, "version": row.version}
        values |= {"made_at": row.made_at, "body": row.body, "problem": None}
        # Rows of one transaction come in the order in which one process wrote them.
        values |= {"at": "$$CLUSTER_TIME", "n": time.monotonic_ns()}
        literal = {name: {"$literal": value} for name, value in values.items()}
        fields = {**literal, "at": "$$CLUSTER_TIME"}
        self.place.database[TABLE].update_one(
            {"_id": secrets.token_hex(16)}, [{"$set": fields}], upsert=True, session=self._session
        )

    def on_commit(self, wake: Callable[[], None]) -> bool:  # noqa: ARG002 - the stream tells
        """See Enrolled.on_commit."""
        return False


def enrolled(on: object, place: object) -> EnrolledSession:
    """The transaction of a session. Raises ArgumentError, and OutboxError without a database."""
    if not isinstance(on, ClientSession):
        raise ArgumentError("on", on, "a pymongo session: `with client.start_session()`")
    if not isinstance(place, MongoPlace):
        raise OutboxError("name the database that the rows go to: Outbox(queue, at=client.shop)")
    return EnrolledSession(on, place)


def _row(document: Document) -> OutboxRow:
    values: list[Any] = [document.get(name) for name in FIELDS]
    return OutboxRow(document["_id"], *values)


def _shown(document: Document) -> OutboxTask:
    return shown_row(_row(document), document.get("problem"))
