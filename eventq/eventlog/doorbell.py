"""Wake-ups when something was appended: for now by looking at the position again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from eventq.errors import LogError, QueueClosedError

POLL_SECONDS = 0.05

logger = logging.getLogger(__name__)


class Doorbell:
    """The watches of one log."""

    def __init__(self, directory: str, *, position: Callable[[], int]) -> None:
        self._directory = directory
        self._position = position
        self._watches: list[PollingWatch] = []

    def ring(self) -> None:
        """Wakes every watch."""
        for watch in list(self._watches):
            watch.wake()

    def watch(self, wake: Callable[[], None]) -> PollingWatch:
        """Starts a watch."""
        watch = PollingWatch(self._position, wake)
        self._watches.append(watch)
        return watch

    def close(self) -> None:
        """Ends all watches."""
        while self._watches:
            self._watches.pop().close()

    def after_fork(self) -> None:
        """Forgets the parent's watches."""
        self._watches = []


class PollingWatch:
    """A thread that looks for a new position."""

    def __init__(self, position: Callable[[], int], wake: Callable[[], None]) -> None:
        self.wake = wake
        self._position = position
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventq-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See Watch.close."""
        self._stopping.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        seen = -1
        while not self._stopping.wait(POLL_SECONDS):
            try:
                position = self._position()
                if seen not in {position, -1}:
                    self.wake()
                seen = position
            except QueueClosedError:
                return
            except LogError:
                logger.warning("the log cannot be watched now", exc_info=True)
