"""The bytes of a segment: gzip members, one a block, which any gzip reads as one stream.

A member can be read by itself, so that a history does not unpack a whole segment.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

# No name, no time, no system: equal content gives equal bytes, and a changed byte is seen.
HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
LEVEL = 6
# A member holds a block of lines, which ends behind the commit that makes it BLOCK_BYTES long; the
# line of the largest commit is far shorter than this limit.
MEMBER_BYTES = 64 * 1024**2

# Raw deflate, without zlib's own header; gzip, with its checksum tested.
_RAW = -15
_GZIP = 31


class MemberError(Exception):
    """A member that is damaged; the message says how."""


def pack(data: bytes) -> bytes:
    """The data as one gzip member."""
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    body = compressor.compress(data) + compressor.flush()
    return HEADER + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def unpack(raw: bytes | memoryview) -> tuple[bytes, int]:
    """The data of the member that stands first, and where it ends. Raises MemberError."""
    if bytes(raw[: len(HEADER)]) != HEADER:
        raise MemberError("no part of a segment begins here")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        data = unpacker.decompress(raw, MEMBER_BYTES)
    except zlib.error as error:
        raise MemberError(f"it does not unpack: {error}") from error
    if not unpacker.eof:
        raise MemberError("it is cut off, or unpacks to more than any part may hold")
    return data, len(raw) - len(unpacker.unused_data)


def members(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """All members: where each begins, how long it is, and its data. Raises MemberError."""
    view, offset = memoryview(raw), 0
    while offset < len(raw):
        data, size = unpack(view[offset:])
        yield offset, size, data
        offset += size
