"""PNG files made small: to a palette of at most 256 colours, which pages hardly exceed."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_COLOURS = 256
# Each channel to so many steps first: letters have many shades that no eye tells apart.
STEP = 8
COLOUR_BYTES = {2: 3, 6: 4}

Colour = tuple[int, int, int]


def smaller(data: bytes) -> bytes:
    """The same picture by a palette. Takes what browsers write: 8 bits a channel, not interlaced.

    Raises ValueError for another PNG.
    """
    width, height, rows = _rows(data)
    pixels = [row[place : place + 3] for row, size in rows for place in range(0, len(row), size)]
    counts = Counter(pixels)
    rough = Counter[Colour]()
    for pixel, count in counts.items():
        rough[_rounded(pixel)] += count
    palette = [colour for colour, _ in rough.most_common(MOST_COLOURS)]
    # The commonest are kept as they are, so that grounds do not change.
    exact = {_rounded(pixel): tuple(pixel) for pixel, _ in reversed(counts.most_common())}
    shown = [exact[colour] for colour in palette]
    place_of = {pixel: _nearest(_rounded(pixel), palette) for pixel in counts}
    packed = bytearray()
    for start in range(0, width * height, width):
        packed.append(0)
        packed += bytes([place_of[pixel] for pixel in pixels[start : start + width]])
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return MAGIC + b"".join(
        [
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", b"".join(map(bytes, shown))),
            _chunk(b"IDAT", zlib.compress(bytes(packed), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def _rows(data: bytes) -> tuple[int, int, Iterator[tuple[bytes, int]]]:
    """Width, height, and each row with the bytes of a pixel."""
    if not data.startswith(MAGIC):
        raise ValueError("no PNG")
    chunks = list(_chunks(data))
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if bits != 8 or kind not in COLOUR_BYTES or interlaced:
        raise ValueError("a PNG of another kind than browsers write")
    size = COLOUR_BYTES[kind]
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    return width, height, ((row, size) for row in _unfiltered(raw, width * size, size))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(MAGIC)
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += length + 12


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unfiltered(raw: bytes, length: int, size: int) -> Iterator[bytes]:
    """Each row, without what the PNG filter made of it."""
    before = bytearray(length)
    for start in range(0, len(raw), length + 1):
        kind, row = raw[start], bytearray(raw[start + 1 : start + 1 + length])
        if kind == 1:
            for place in range(size, length):
                row[place] = (row[place] + row[place - size]) & 255
        elif kind == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, before, strict=True))
        elif kind:
            for place in range(length):
                left = row[place - size] if place >= size else 0
                corner = before[place - size] if place >= size else 0
                row[place] = (row[place] + _guess(kind, left, before[place], corner)) & 255
        yield bytes(row)
        before = row


def _guess(kind: int, left: int, above: int, corner: int) -> int:
    """What a filter supposes of a byte: see the PNG specification, 9.2."""
    if kind == 3:
        return (left + above) // 2
    estimate = left + above - corner
    return min((left, above, corner), key=lambda each: abs(estimate - each))


def _rounded(pixel: bytes) -> Colour:
    red, green, blue = (value // STEP for value in pixel)
    return red, green, blue


def _nearest(colour: Colour, palette: list[Colour]) -> int:
    def far(place: int) -> int:
        return sum((a - b) ** 2 for a, b in zip(colour, palette[place], strict=True))

    return min(range(len(palette)), key=far)
