"""Appending to MongoDB: one insert, followed up until it is known whether it was made.

An insert is repeated after an error. Its id makes that harmless: whichever of the two arrives, the
position then holds this commit or another for good.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from pymongo import DESCENDING
from pymongo.errors import (
    DuplicateKeyError,
    PyMongoError,
    ServerSelectionTimeoutError,
    WriteConcernError,
)
from pymongo.read_concern import ReadConcern

from eventq.core.commits import Commit
from eventq.errors import (
    EventqError,
    LogConflictError,
    LogOutcomeUnknownError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.connection import WRITE_TIMEOUT_MS, MongoConnection
from eventq.eventlog.mongo.documents import Document
from eventq.eventlog.mongo.driver import is_passing, is_standalone, translate
from eventq.eventlog.mongo.retention import find_start
from eventq.host.interrupts import interrupt_in, raise_interrupt

# How long to follow up an append of unknown outcome before raising LogOutcomeUnknownError.
RESOLVE_S = 30.0
RESOLVE_PAUSE_S = 0.05


class Insertion:
    """One commit on its way into the log."""

    def __init__(self, connection: MongoConnection, namespace: str, commit: Commit) -> None:
        self._connection = connection
        self._namespace = namespace
        self._commit = commit
        self._began_s = time.monotonic()
        # Whether a server may have taken it.
        self._sent = False

    def make(self) -> None:
        """Inserts the commit; when this returns, a majority has it on disk.

        Raises LogConflictError when the position is taken, or the commit before it is no longer
        there; LogOutcomeUnknownError when after `RESOLVE_S` it is still unknown whether it was
        made; and LogUnavailableError when it certainly was not.
        """
        document = documents.to_document(self._namespace, self._commit)
        try:
            self._make(document)
        except BaseException as error:
            if isinstance(error, EventqError) and interrupt_in(error) is None:
                raise
            # An interrupt: the server may still be working on it. A second insert ends behind the
            # first, so that afterwards the position shows for good whether it was made.
            with suppress(PyMongoError, QueueClosedError):
                self._connection.commits().insert_one(document)
            raise

    def check_not_cut(self) -> None:
        """Raises LogConflictError, and deletes the commit, if its position had been cut.

        A cut writes the start before it deletes anything, so a commit that got into the place of a
        deleted one finds it here. Readers behind the start never see the intruder, and the next
        cut deletes it. Raises LogOutcomeUnknownError where the start cannot be read.
        """
        self._sent = True
        if self._following_up(self._is_cut):
            with suppress(PyMongoError, QueueClosedError):
                self._connection.commits().delete_one({"_id": self._commit.id})
            raise LogConflictError(self._commit.first)

    @property
    def took_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def _make(self, document: Document) -> None:
        while True:
            try:
                self._connection.commits().insert_one(document)
            except DuplicateKeyError as error:
                if self._sent and self._following_up(self._is_ours):
                    return
                raise LogConflictError(self._commit.first) from error
            except QueueClosedError as error:
                self._give_up(str(error), error)
            except PyMongoError as error:
                # The driver takes a handler's TimeoutError for one of the network.
                raise_interrupt(error)
                # A write concern that is not met says nothing against the write itself.
                if not (is_passing(error) or isinstance(error, WriteConcernError)):
                    self._give_up(translate(error, self._connection.url), error)
                self._sent = self._sent or not isinstance(error, ServerSelectionTimeoutError)
                self._pause(error)
                if not self._following_up(self._fits):
                    raise LogConflictError(self._commit.first) from error
            else:
                return

    def _following_up(self, question: Callable[[], bool]) -> bool:
        """Returns the answer to a question, asked again until a primary gives one."""
        while True:
            try:
                return question()
            except QueueClosedError as error:
                self._give_up(str(error), error)
            except PyMongoError as error:
                raise_interrupt(error)
                if not is_passing(error):
                    self._give_up(translate(error, self._connection.url), error)
                self._pause(error)

    def _is_ours(self) -> bool:
        """Whether the position holds this commit, for good: what a later primary cannot undo."""
        alone = is_standalone(self._connection.client())
        concern = ReadConcern("majority" if alone else "linearizable")
        found = (
            self._connection.commits()
            .with_options(read_concern=concern)
            .find_one(
                {"ns": self._namespace, "first": self._commit.first},
                {"_id": 1},
                max_time_ms=WRITE_TIMEOUT_MS,
            )
        )
        return found is not None and found["_id"] == self._commit.id

    def _is_cut(self) -> bool:
        return self._commit.first <= find_start(self._connection, self._namespace).seq

    def _fits(self) -> bool:
        """Whether the commit may be sent again: a new primary may hold less than the old one did.

        Then the unique index would not refuse it, and it would follow what is no longer there.
        """
        commit = self._commit
        before = self._connection.commits().find_one(
            {"ns": self._namespace, "first": {"$lte": commit.first}},
            {"first": 1, "n": 1, "seal": 1},
            sort=[("first", DESCENDING)],
        )
        if before is None:
            start = find_start(self._connection, self._namespace)
            return (commit.first, commit.prev) == (start.seq + 1, start.seal)
        if before["first"] == commit.first:
            return True  # The index will refuse it, and then `_is_ours` finds out whose it is.
        following = int(before["first"] + before["n"])
        return (following, bytes(before["seal"])) == (commit.first, commit.prev)

    def _pause(self, error: PyMongoError) -> None:
        """Waits a little before the next try, or gives up."""
        if self.took_s > RESOLVE_S:
            self._give_up(translate(error, self._connection.url), error)
        time.sleep(RESOLVE_PAUSE_S)

    def _give_up(self, problem: object, cause: Exception) -> NoReturn:
        if self._sent:
            raise LogOutcomeUnknownError(f"{problem}; its outcome is unknown") from cause
        if isinstance(cause, QueueClosedError):
            raise cause
        raise LogUnavailableError(f"{problem}; nothing was appended") from cause
