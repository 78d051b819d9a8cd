"""Being woken by PostgreSQL's NOTIFY: a thread with a connection of its own; a wake is a hint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.contrib.outbox")

# How long one wait for notifications takes at the most, and the pause after a failure; seconds.
TURN_S = 0.5
AGAIN_S = 1.0
LISTEN = "LISTEN eventq_outbox"


class Listener:
    """Calls ``wake`` for each notification, and once it listens, until it is closed."""

    def __init__(self, parameters: Mapping[str, Any], wake: Callable[[], None]) -> None:
        self._parameters = parameters
        self._wake = wake
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eventq-listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it, and waits until it has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        while not self._stopped.is_set():
            try:
                with psycopg.connect(**self._parameters, autocommit=True) as connection:
                    connection.execute(LISTEN)
                    self._hear(connection)
            except psycopg.Error as error:
                values = {"error": str(error)}
                logger.warning("the outbox is not told of commits: %(error)s", values, extra=values)
                self._stopped.wait(AGAIN_S)

    def _hear(self, connection: Any) -> None:  # noqa: ANN401 - psycopg's
        # What came before it listened is there already.
        self._wake()
        while not self._stopped.is_set():
            for _ in connection.notifies(timeout=TURN_S, stop_after=1):
                with suppress(RuntimeError):
                    self._wake()
