"""Reads what a WAL holds behind its last commit, to find out whether a broken commit may come back.

The format is SQLite's own, https://sqlite.org/walformat.html; nothing here writes.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

import apsw

HEADER_BYTES = 32
FRAME_HEADER_BYTES = 24
# The last bit of the first number says in which order of bytes the checksums take their numbers.
BIG_ENDIAN_BIT = 1


def holds_more(connection: apsw.Connection, path: str) -> bool:
    """Whether the WAL holds a whole commit that the connection does not see.

    A recovery after a crash would restore it; it ignores half a commit. Raises apsw.Error, OSError.
    True may be wrong right after the WAL was started anew; False never is.
    """
    frames, _ = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
    try:
        # SQLite has no locks on this file that closing it could drop.
        with open(f"{path}-wal", "rb", buffering=0) as wal:  # noqa: PTH123 - plain strings
            return _commit_follows(wal, frames)
    except FileNotFoundError:
        return False


def _commit_follows(wal: BinaryIO, frames: int) -> bool:
    """Whether frames up to the end of a commit follow the first so many, each with its checksum."""
    header = wal.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return False
    magic, _, page_bytes, _, salts, sums = struct.unpack(">IIII8s8s", header)
    order = ">" if magic & BIG_ENDIAN_BIT else "<"
    frame_bytes = FRAME_HEADER_BYTES + page_bytes
    if frames:
        wal.seek(HEADER_BYTES + (frames - 1) * frame_bytes)
        sums = wal.read(FRAME_HEADER_BYTES)[16:]
    while True:
        wal.seek(HEADER_BYTES + frames * frame_bytes)
        frame = wal.read(frame_bytes)
        if len(frame) < frame_bytes or frame[8:16] != salts:
            return False
        sums = _checksum(order, sums, frame[:8] + frame[FRAME_HEADER_BYTES:])
        if frame[16:FRAME_HEADER_BYTES] != sums:
            return False
        if frame[4:8] != bytes(4):  # The size of the database: only a commit's last frame has it.
            return True
        frames += 1


def _checksum(order: str, before: bytes, data: bytes) -> bytes:
    """The two running sums after the data, from those before it."""
    first, second = struct.unpack(">II", before)
    numbers = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second)
