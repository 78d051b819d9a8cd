"""A TCP proxy before one mongod that cuts connections around chosen requests, at chosen moments."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

# Where a connection can be cut. What the server made of the request differs, what its sender sees
# does not.
MOMENTS = ("before the request", "within the request", "after the request", "before the reply")
# Each message begins with its length in bytes, its number, and the number it answers.
HEADER = struct.Struct("<iii")
# Where the first name of a command stands: after the header, the flags, the kind of the section,
# the length of the document and the type of the value.
COMMAND_BYTE = 26

Decide = Callable[[], str | None]


class Proxy:
    """Stands before a server; asks ``decide`` about each request that begins with ``command``.

    It answers with a moment to cut the connection at, or None to let the request pass.
    """

    def __init__(self, port: int, *, command: str, decide: Decide) -> None:
        self._target = ("127.0.0.1", port)
        self._command = command.encode() + b"\0"
        self._decide = decide
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []

    def url(self, database: str) -> str:
        """The URL of a database behind the proxy; the driver looks for no other way to it."""
        port = self._listener.getsockname()[1]
        return f"mongodb://127.0.0.1:{port}/{database}?directConnection=true"

    def __enter__(self) -> Self:
        """Begins to let connections through."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Cuts all connections."""
        _cut(self._listener, *self._sockets)

    def _accept(self) -> None:
        # The listener is closed at the end, which ends the thread.
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Passes requests on, and all that is answered, until one side or the proxy hangs up."""
        awaited = _Awaited()
        back = threading.Thread(target=_return, args=(server, client, awaited), daemon=True)
        back.start()
        with suppress(OSError, EOFError):
            while True:
                message = _receive(client)
                moment = None
                if message[COMMAND_BYTE:].startswith(self._command):
                    moment = self._decide()
                if moment == "before the request":
                    break
                if moment == "within the request":
                    server.sendall(message[: len(message) // 2])
                    break
                if moment == "before the reply":
                    awaited.number = HEADER.unpack_from(message)[1]
                server.sendall(message)
                if moment == "after the request":
                    break
        if awaited.number is not None:
            back.join()
        _cut(client, server)


class _Awaited:
    """The number of the request whose reply is not to be passed on."""

    number: int | None = None


def _return(server: socket.socket, client: socket.socket, awaited: _Awaited) -> None:
    with suppress(OSError, EOFError):
        while True:
            reply = _receive(server)
            if HEADER.unpack_from(reply)[2] == awaited.number:
                break
            client.sendall(reply)
    _cut(client, server)


def _receive(connection: socket.socket) -> bytes:
    """One whole message. Raises EOFError at the end."""
    head = _exactly(connection, HEADER.size)
    return head + _exactly(connection, HEADER.unpack(head)[0] - HEADER.size)


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(count)
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _cut(*connections: socket.socket) -> None:
    for connection in connections:
        # A thread that waits on it wakes only by the shutdown.
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
