"""The socket between a child and its supervisor; its closing is a message too.

When the supervisor ends, for any reason, its children end gracefully, so none is left behind.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

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
        """Starts to pass on the supervisor's requests; its end is a request to stop."""

        def listen() -> None:
            for word in words(self._socket):
                if word == STOP:
                    ask()
                elif word == FORCE:
                    force()
            ask()

        threading.Thread(target=listen, name="eventq-lifeline", daemon=True).start()

    def tell(self, word: bytes) -> None:
        """Sends READY once the queue is open, and at the end the run's report as JSON."""
        # `watch` notices a supervisor that has ended.
        tell(self._socket, word)


def tell(end: socket.socket, word: bytes) -> None:
    """Sends a line to the other end, which may have gone."""
    with suppress(OSError):
        end.sendall(word + b"\n")


def words(end: socket.socket) -> Iterator[bytes]:
    """The lines received from a socket, until it is closed."""
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
