"""What an attempt's process and its parent say to each other: JSON behind its length, by a socket.

Nothing else crosses: no pickle, no code. Whoever adds a call of the context adds a method to
`calls.py`; it needs no message of its own.
"""

from __future__ import annotations

import socket
import struct
import threading

import msgspec
from msgspec import Raw, Struct

from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.values import ErrorInfo, Policy
from eventq.handlers.isolation import IsolatedCall
from eventq.handlers.tracing import Continuing
from eventq.runner.frames import StackLine

# No message of ours comes near it: what claims to be longer is none.
MESSAGE_BYTES = 16 * 2**20
# How much is read at a time.
PIECE_BYTES = 64 * 1024

_LENGTH = struct.Struct(">I")


class Hello(Struct, frozen=True, tag=True):
    """To the process, first: what its parent was begun with, and how it logs."""

    argv: list[str]
    main_name: str | None
    main_path: str | None
    memory_bytes: int | None
    levels: dict[str, int]
    """Of all loggers that have one of their own; "" is the root."""


class LoadHandler(Struct, frozen=True, tag=True):
    """To the process: find the handler, importing its module."""

    call: IsolatedCall


class Start(Struct, frozen=True, tag=True):
    """To the process: the next attempt, of a handler that it has loaded."""

    task: Task
    deadline_at: int | None
    remaining_us: int | None
    policy: Policy | None = None
    """The queue's, for the tasks that the attempt makes."""
    results: dict[str, Raw] = {}
    """Those of the tasks that it comes after."""
    trace: Continuing | None = None


class Stop(Struct, frozen=True, tag=True):
    """To the process: the attempt should end."""

    fence: int
    why: str
    is_late: bool
    """Its deadline has passed."""


class Answer(Struct, frozen=True, tag=True):
    """To the process: what a call of the context returned, or the problem that it had."""

    number: int
    value: Raw = Raw(b"null")
    problem: str | None = None


class AskStack(Struct, frozen=True, tag=True):
    """To the process: say where the handler stands now."""


class Loaded(Struct, frozen=True, tag=True):
    """To the parent: a handler is found. ``peak_bytes``: what a process has that did nothing."""

    peak_bytes: int


class Unloaded(Struct, frozen=True, tag=True):
    """To the parent: the handler cannot be found here, or its module cannot be imported."""

    error: ErrorInfo


class AttemptEnded(Struct, frozen=True, tag=True):
    """To the parent: the attempt has ended. ``stopped``: since it was told to.

    A process that is ``spent`` takes no other attempt.
    """

    outcome: Outcome
    stopped: bool
    spent: bool


class ContextCall(Struct, frozen=True, tag=True):
    """To the parent: call this method of the attempt's context; 0 as ``number``: do not answer."""

    number: int
    method: str
    arguments: Raw


class Logged(Struct, frozen=True, tag=True):
    """To the parent: a record of `logging`, with its attributes that JSON can hold."""

    name: str
    level: int
    message: str
    attributes: dict[str, str | int | float | bool | None]


class Stands(Struct, frozen=True, tag=True):
    """To the parent: the stack of the handler, its last call last; empty while none is called."""

    lines: list[StackLine]


ToProcess = Hello | LoadHandler | Start | Stop | Answer | AskStack
ToParent = Loaded | Unloaded | AttemptEnded | ContextCall | Logged | Stands


class Channel:
    """One end of the socket. Any thread may send; one receives."""

    def __init__(self, end: socket.socket, kinds: object) -> None:
        """``kinds`` are the messages that come in here: `ToProcess` or `ToParent`."""
        self._end = end
        self._sending = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(kinds)
        self._read = bytearray()

    def fileno(self) -> int:
        """For select."""
        return self._end.fileno()

    def send(self, message: ToProcess | ToParent) -> None:
        """Sends it whole. Raises OSError when the other end is gone."""
        text = self._encoder.encode(message)
        with self._sending:
            self._end.sendall(_LENGTH.pack(len(text)) + text)

    def take(self) -> object | None:
        """The next message of what has been read; None when none is whole.

        Raises msgspec.DecodeError for what is no message.
        """
        read = self._read
        if len(read) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(read)
        if length > MESSAGE_BYTES:
            raise msgspec.DecodeError(f"a message of {length} bytes")
        end = _LENGTH.size + length
        if len(read) < end:
            return None
        message: object = self._decoder.decode(bytes(read[_LENGTH.size : end]))
        del read[:end]
        return message

    def read(self) -> bool:
        """Reads what has come, or waits for it; False at the end. Raises OSError."""
        piece = self._end.recv(PIECE_BYTES)
        self._read += piece
        return bool(piece)

    def close(self) -> None:
        """The other end reads to the end of what was sent; may come twice."""
        self._end.close()
