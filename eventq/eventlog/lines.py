"""The lines of a log in a file: the first one, and one a commit. Knows bytes, opens nothing."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from eventq.core.commits import Commit
from eventq.errors import LogCorruptError

FORMAT = 1
# The first line is far shorter.
HEADER_BYTES = 4096


class FileHeader(Struct, frozen=True, omit_defaults=True):
    """The first line."""

    eventq: int
    namespace: str
    redacted: bool = False


class Line(Struct, frozen=True):
    """A commit as a line of the file."""

    id: str
    first: int
    at: int
    prev: str
    seal: str
    tasks: list[int]
    keys: dict[str, int]
    events: list[str]


_encoder = msgspec.json.Encoder()
_header_decoder = msgspec.json.Decoder(FileHeader)
_line_decoder = msgspec.json.Decoder(Line)


def header(namespace: str, *, redacted: bool = False) -> bytes:
    """The first line of a namespace's file."""
    return _encoder.encode(FileHeader(FORMAT, namespace, redacted)) + b"\n"


def parse_header(line: bytes) -> FileHeader | None:
    """What the first line says; None when it is not one of eventq."""
    try:
        found = _header_decoder.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return found if line.endswith(b"\n") and found.eventq >= FORMAT else None


def to_line(commit: Commit) -> bytes:
    """The line that holds the commit."""
    fields = Line(
        commit.id,
        commit.first,
        commit.at,
        commit.prev.hex(),
        commit.seal.hex(),
        commit.tasks,
        commit.keys,
        commit.bodies,
    )
    return _encoder.encode(fields) + b"\n"


def to_commit(line: bytes, position: int) -> Commit:
    """The commit of a line. Raises LogCorruptError, naming the position where it should begin."""
    try:
        fields = _line_decoder.decode(line)
        prev, seal = bytes.fromhex(fields.prev), bytes.fromhex(fields.seal)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LogCorruptError(position, f"a line is damaged: {error}") from error
    if not len(fields.tasks) == len(fields.events) > 0:
        raise LogCorruptError(position, "tasks and events of a line differ in number")
    return Commit(
        id=fields.id,
        first=fields.first,
        at=fields.at,
        prev=prev,
        seal=seal,
        tasks=fields.tasks,
        keys=fields.keys,
        bodies=fields.events,
    )
