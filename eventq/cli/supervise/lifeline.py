"""The two ends of what ties a child to its supervisor: a socket whose closing is a message too.

A child whose supervisor is gone, however it ended, ends gracefully; so nothing is left behind.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec

from eventq.runner import RunReport

READY = b"ready"
STOP = b"stop"
FORCE = b"force"
READ_BYTES = 4_096


class Lifeline:
    """The child's end."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        # The worker's own children must not hold it open.
        self._socket.set_inheritable(False)

    def watch(self, *, ask: Callable[[], None], force: Callable[[], None]) -> None:
        """From now on hands the supervisor's wishes on; its end is a wish to stop."""

        def listen() -> None:
            for word in words(self._socket):
                if word == STOP:
                    ask()
                elif word == FORCE:
                    force()
            ask()

        threading.Thread(target=listen, name="eventq-lifeline", daemon=True).start()

    def tell_ready(self) -> None:
        """The worker is imported and the queue open."""
        self._tell(READY)

    def tell_report(self, report: RunReport) -> None:
        """What this child did."""
        self._tell(msgspec.json.encode(report))

    def _tell(self, word: bytes) -> None:
        # A supervisor that is gone is told of by `watch`.
        with suppress(OSError):
            self._socket.sendall(word + b"\n")


def words(end: socket.socket) -> Iterator[bytes]:
    """The lines that come through a socket, until it is closed."""
    rest = b""
    while True:
        try:
            data = end.recv(READ_BYTES)
        except OSError:
            return
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
