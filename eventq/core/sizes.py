"""Sizes of memory: parsing what callers write and showing what logs hold.

Inside eventq every size is a whole number of bytes.
"""

from __future__ import annotations

import re

from eventq.core.plain import plain
from eventq.errors import ArgumentError

UNITS_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
EXPECTED = "a size with its unit, like '512MiB' or '1.5GiB'; or a number of bytes"
# More than any machine has: a mistake in the unit.
MOST_BYTES = 2**50

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(KiB|MiB|GiB|TiB)", re.ASCII)

Size = str | int


def parse_size(value: object, argument: str, *, least: int = 1) -> int:
    """The size in whole bytes. Raises ArgumentError.

    >>> parse_size("1.5GiB", "memory"), parse_size(4096, "memory")
    (1610612736, 4096)
    """
    value = plain(value)
    if type(value) is str:
        found = _SIZE.fullmatch(value)
        if found is None:
            raise ArgumentError(argument, value, EXPECTED)
        size = int(float(found[1]) * UNITS_BYTES[found[2]])
    elif type(value) is int:
        size = value
    else:
        raise ArgumentError(argument, value, EXPECTED)
    if not least <= size <= MOST_BYTES:
        raise ArgumentError(
            argument, value, f"a size from {show_size(least)} to {show_size(MOST_BYTES)}"
        )
    return size


def show_size(size_bytes: int) -> str:
    """A size for people, in its largest unit, to a tenth.

    >>> show_size(1_610_612_736), show_size(2**31), show_size(700)
    ('1.5 GiB', '2 GiB', '700 B')
    """
    for unit, length in reversed(UNITS_BYTES.items()):
        if size_bytes >= length:
            return f"{size_bytes / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{size_bytes} B"
