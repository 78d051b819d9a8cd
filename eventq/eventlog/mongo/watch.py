"""Wakes from MongoDB: a change stream where there is one, else a look at the position.

A wake says only that something may have come; positions always come from the log itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from eventq.errors import LogError, QueueClosedError

# How long the server holds an unanswered question for news: well within the socket's timeout.
AWAIT_MS = 1_000
# Looks without a change stream: quick after news, slower while nothing comes.
QUICKEST_S = 0.005
SLOWEST_S = 0.5
SLOWER = 1.5
# Longest time for which a wake that nobody heard holds the next back, and the first look whether
# it was.
UNHEARD_S = 0.25
HEARD_SOON_S = 0.0005
# Pause after the server could not be reached.
RETRY_S = 0.5
# "The $changeStream stage is only supported on replica sets".
NOT_REPLICATED = 40573

logger = logging.getLogger(__name__)


class MongoWatch:
    """See Watch."""

    def __init__(
        self,
        collection: Collection[dict[str, Any]],
        namespace: str,
        wake: Callable[[], None],
        *,
        heard: Callable[[], bool],
        position: Callable[[], int],
    ) -> None:
        self._collection = collection
        self._namespace = namespace
        self._wake = wake
        self._heard = heard
        self._position = position
        self._seen = position()
        self._closing = threading.Event()
        # Held while the function is called; also by a call that closes its own watch.
        self._waking = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="eventq-watch", daemon=True)

    @property
    def closed(self) -> bool:
        """Whether it has been closed."""
        return self._closing.is_set()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """See Watch.close.

        The question that the server still holds ends later by itself, and its answer wakes nobody:
        nothing can make the server answer it sooner.
        """
        self._closing.set()
        # A call that has begun ends first.
        with self._waking:
            pass

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._listen()
            except OperationFailure as error:
                if error.code == NOT_REPLICATED:
                    logger.info("a standalone server has no change streams; looking for news")
                    self._look()
                    return
                self._pause(error)
            except QueueClosedError:
                return
            except (PyMongoError, LogError) as error:
                self._pause(error)

    def _listen(self) -> None:
        match = {"$match": {"operationType": "insert", "fullDocument.ns": self._namespace}}
        stream = self._collection.watch(
            [match, {"$project": {"_id": 1}}], max_await_time_ms=AWAIT_MS
        )
        with stream:
            # What came between the last look and the stream's beginning is not in the stream.
            self._wake_if_moved()
            while not self._closing.is_set():
                if stream.try_next() is not None:
                    self._call_wake()
                    self._hold_back()

    def _hold_back(self) -> None:
        """Asks for no more news while nobody has heard of the last.

        A node that is at work reads the log by itself; each answer would cost it and the server
        as much as reading a commit.
        """
        ends_s, pause_s = time.monotonic() + UNHEARD_S, HEARD_SOON_S
        while not self._heard() and time.monotonic() < ends_s:
            if self._closing.wait(pause_s):
                return
            # Who waits for news hears at once; who is at work is asked less and less often.
            pause_s *= 2

    def _look(self) -> None:
        pause_s = QUICKEST_S
        while not self._closing.wait(pause_s):
            try:
                moved = self._wake_if_moved()
            except QueueClosedError:
                return
            except LogError as error:
                self._pause(error)
            else:
                pause_s = QUICKEST_S if moved else min(SLOWEST_S, pause_s * SLOWER)

    def _wake_if_moved(self) -> bool:
        position = self._position()
        moved = position != self._seen
        self._seen = position
        if moved:
            self._call_wake()
        return moved

    def _pause(self, error: Exception) -> None:
        if not self._closing.is_set():
            logger.info("the log cannot be watched", extra={"error": str(error)})
            self._closing.wait(RETRY_S)

    def _call_wake(self) -> None:
        with self._waking:
            if self._closing.is_set():
                return
            try:
                self._wake()
            except Exception:
                logger.exception("the function called after an append failed")
