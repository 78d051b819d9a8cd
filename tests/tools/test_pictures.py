"""Pictures of the docs are made small, and stay what they were."""

from __future__ import annotations

import struct
import zlib

import pytest

from tools.pictures.png import MAGIC, smaller

RED, WHITE = b"\xc0\x10\x10", b"\xff\xff\xff"


def png(rows: list[bytes], *, bits: int = 8) -> bytes:
    """A PNG of three channels; each row begins with the number of its filter."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + bytes(4)

    header = struct.pack(">IIBBBBB", (len(rows[0]) - 1) // 3, len(rows), bits, 2, 0, 0, 0)
    data = zlib.compress(b"".join(rows))
    return MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_a_picture_keeps_its_colours() -> None:
    """Whatever filter a row was written with: none, by the left, by above, by both, by guess."""
    zero = bytes(3)
    rows = [
        b"\0" + RED + WHITE,
        b"\1" + RED + bytes((b - a) % 256 for a, b in zip(RED, WHITE, strict=True)),
        b"\2" + zero + zero,
        b"\3"
        + bytes((a - a // 2) % 256 for a in RED)
        + bytes((b - (a + b) // 2) % 256 for a, b in zip(RED, WHITE, strict=True)),
        b"\4" + zero + zero,
    ]
    small = smaller(png(rows))
    palette = small.partition(b"PLTE")[2][:6]
    packed = zlib.decompress(small.partition(b"IDAT")[2])
    colours = [palette[:3], palette[3:]]

    assert sorted(colours) == sorted([RED, WHITE])
    for place in range(len(rows)):
        row = packed[3 * place : 3 * place + 3]
        assert [colours[row[1]], colours[row[2]]] == [RED, WHITE], place


@pytest.mark.parametrize("data", [b"GIF89a", png([b"\0" + RED], bits=16)])
def test_what_no_browser_writes_is_refused(data: bytes) -> None:
    """Rather than made into something else."""
    with pytest.raises(ValueError, match="PNG"):
        smaller(data)
