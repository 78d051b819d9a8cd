"""Appending to MongoDB: one insert, followed up until it is known whether it was made.

An insert is repeated after an error: its id makes that harmless, and whichever of the two arrived,
the position then holds this commit or another for good.
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

from eventq.core.events import Commit
from eventq.errors import (
    EventqError,
    LogConflictError,
    LogOutcomeUnknownError,
    LogUnavailableError,
    QueueClosedError,
)
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.connection import WRITE_TIMEOUT_MS, MongoLink
from eventq.eventlog.mongo.documents import Document
from eventq.eventlog.mongo.driver import is_passing, is_standalone, translate
from eventq.eventlog.mongo.retention import find_start

# How long an append whose outcome is unknown is followed up before its caller is told so.
RESOLVE_S = 30.0
RESOLVE_PAUSE_S = 0.05


class Insertion:
    """One commit on its way into the log."""

    def __init__(self, link: MongoLink, namespace: str, commit: Commit) -> None:
        self._link = link
        self._namespace = namespace
        self._commit = commit
        self._began_s = time.monotonic()
        # Whether a server may have taken it.
        self._sent = False

    def make(self) -> None:
        """Inserts it; when this returns, a majority has it on disk.

        Raises LogConflictError when its place is taken, or was taken back with what it follows;
        LogOutcomeUnknownError when it stays unknown for `RESOLVE_S` whether it was made, and
        LogUnavailableError when it surely was not.
        """
        document = documents.to_document(self._namespace, self._commit)
        try:
            self._make(document)
        except EventqError:
            raise
        except BaseException:
            # An interrupt: the server may be at it still. Sent once more, it landed or never will.
            with suppress(PyMongoError, QueueClosedError):
                self._link.commits().insert_one(document)
            raise

    def check_not_cut(self) -> None:
        """Raises LogConflictError, and takes it back, if its place had been cut.

        The start is written before anything is deleted, so whoever got into a deleted commit's
        place finds it. Readers of what is behind the start never see the intruder, and the next
        cut deletes it. Raises LogOutcomeUnknownError where the start cannot be read.
        """
        self._sent = True
        if self._following_up(self._is_cut):
            with suppress(PyMongoError, QueueClosedError):
                self._link.commits().delete_one({"_id": self._commit.id})
            raise LogConflictError(self._commit.first)

    @property
    def took_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began_s

    def _make(self, document: Document) -> None:
        while True:
            try:
                self._link.commits().insert_one(document)
            except DuplicateKeyError as error:
                if self._sent and self._following_up(self._is_ours):
                    return
                raise LogConflictError(self._commit.first) from error
            except QueueClosedError as error:
                self._give_up(str(error), error)
            except PyMongoError as error:
                # A write concern that is not met says nothing against the write itself.
                if not (is_passing(error) or isinstance(error, WriteConcernError)):
                    self._give_up(translate(error, self._link.url), error)
                self._sent = self._sent or not isinstance(error, ServerSelectionTimeoutError)
                self._pause(error)
                if not self._following_up(self._fits):
                    raise LogConflictError(self._commit.first) from error
            else:
                return

    def _following_up(self, question: Callable[[], bool]) -> bool:
        """The answer to a question, asked again until a primary gives one."""
        while True:
            try:
                return question()
            except QueueClosedError as error:
                self._give_up(str(error), error)
            except PyMongoError as error:
                if not is_passing(error):
                    self._give_up(translate(error, self._link.url), error)
                self._pause(error)

    def _is_ours(self) -> bool:
        """Whether the position holds this commit, for good: what a later primary cannot undo."""
        alone = is_standalone(self._link.client())
        concern = ReadConcern("majority" if alone else "linearizable")
        found = (
            self._link.commits()
            .with_options(read_concern=concern)
            .find_one(
                {"ns": self._namespace, "first": self._commit.first},
                {"_id": 1},
                max_time_ms=WRITE_TIMEOUT_MS,
            )
        )
        return found is not None and found["_id"] == self._commit.id

    def _is_cut(self) -> bool:
        return self._commit.first <= find_start(self._link, self._namespace).seq

    def _fits(self) -> bool:
        """Whether the commit may be sent again: a new primary may hold less than the old one did.

        Then the unique index would not refuse it, and it would follow what is no longer there.
        """
        commit = self._commit
        before = self._link.commits().find_one(
            {"ns": self._namespace, "first": {"$lte": commit.first}},
            {"first": 1, "n": 1, "seal": 1},
            sort=[("first", DESCENDING)],
        )
        if before is None:
            start = find_start(self._link, self._namespace)
            return (commit.first, commit.prev) == (start.seq + 1, start.seal)
        if before["first"] == commit.first:
            return True  # The index will refuse it, and then it is looked at whose it is.
        following = int(before["first"] + before["n"])
        return (following, bytes(before["seal"])) == (commit.first, commit.prev)

    def _pause(self, error: PyMongoError) -> None:
        """Waits a little before the next try, or gives up."""
        if self.took_s > RESOLVE_S:
            self._give_up(translate(error, self._link.url), error)
        time.sleep(RESOLVE_PAUSE_S)

    def _give_up(self, problem: object, cause: Exception) -> NoReturn:
        if self._sent:
            raise LogOutcomeUnknownError(f"{problem}; its outcome is unknown") from cause
        if isinstance(cause, QueueClosedError):
            raise cause
        raise LogUnavailableError(f"{problem}; nothing was appended") from cause
