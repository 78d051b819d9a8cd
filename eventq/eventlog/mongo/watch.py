"""Wake-ups from MongoDB: by a change stream where there is one, else by looking at the position.

A wake only says that something may have been appended; positions always come from the log itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure, PyMongoError

from eventq.errors import LogError, QueueClosedError
from eventq.host.logger import SafeLogger

# How long the server holds an unanswered question for news: well within the socket's timeout.
AWAIT_MS = 1_000
# Looks without a change stream: quick after news, slower while nothing comes.
QUICKEST_S = 0.005
SLOWEST_S = 0.5
SLOWER = 1.5
# How long an unheard wake holds back the next at most, and when to look first whether it was heard.
UNHEARD_S = 0.25
HEARD_SOON_S = 0.0005
# Pause after the server could not be reached.
RETRY_S = 0.5
# "The $changeStream stage is only supported on replica sets".
NOT_REPLICATED = 40573

logger = SafeLogger(__name__)


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

        The server may still hold a question, and nothing can make it answer sooner; its answer
        then wakes nobody.
        """
        self._closing.set()
        # A call of `wake` that has begun ends first.
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
            except (PyMongoError, LogError, OSError) as error:
                # Plain errors of the system as well: there may be no free descriptor for a moment.
                self._pause(error)

    def _listen(self) -> None:
        match = {"$match": {"operationType": "insert", "fullDocument.ns": self._namespace}}
        stream = self._collection.watch(
            [match, {"$project": {"_id": 1}}], max_await_time_ms=AWAIT_MS
        )
        with stream:
            # Commits between the last look and the stream's beginning are not in the stream.
            self._wake_if_moved()
            while not self._closing.is_set():
                if stream.try_next() is not None:
                    self._call_wake()
                    self._hold_back()

    def _hold_back(self) -> None:
        """Waits, for a while, until the last wake has been heard.

        A node that is at work reads the log by itself; each answer would cost it and the server
        as much as reading a commit.
        """
        ends_s, pause_s = time.monotonic() + UNHEARD_S, HEARD_SOON_S
        while not self._heard() and time.monotonic() < ends_s:
            if self._closing.wait(pause_s):
                return
            # A waiting node hears at once; one that is at work is asked less and less often.
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
