"""Durations: parsing what callers write and showing what logs hold; no clock is read here.

Inside eventq every duration is a whole number of microseconds.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta

from eventq.core.plain import plain
from eventq.errors import ArgumentError

TEXT_EXPECTED = "a duration with its unit, like '500ms', '90s', '2h30m' or '7d'"
EXPECTED = f"{TEXT_EXPECTED}; or a number of seconds, or a timedelta"

SECOND_US = 1_000_000
UNITS_US = {
    "d": 86_400 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "m": 60 * SECOND_US,
    "s": SECOND_US,
    "ms": 1_000,
    "us": 1,
}
# A hundred years: anything longer is a mistake in the unit, and sums stay far inside 64 bits.
LONGEST_US = 36_525 * UNITS_US["d"]

# To what a length below each unit is rounded; what is longer, to the last.
ROUNDED = ((1_000, "s"), (SECOND_US // 10, "m"), (SECOND_US, "h"), (60 * SECOND_US, "d"))
HOUR_US = UNITS_US["h"]

_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|ms|m|us|s)", re.ASCII)

Duration = str | float | int | timedelta


def parse_duration(value: object, argument: str = "duration") -> int:
    """The duration in whole microseconds.

    Takes a ``timedelta``, a number of seconds, or text whose parts go from the largest unit to
    the smallest; of their subclasses and of numpy's scalars the value. Raises ArgumentError for
    anything else, also NaN, bool and negative values.

    >>> parse_duration("2h30m"), parse_duration(1.5), parse_duration("500ms")
    (9000000000, 1500000, 500000)
    """
    value = plain(value)
    if type(value) is timedelta:
        duration_us = value // timedelta(microseconds=1)
    elif type(value) is str:
        duration_us = _parse_text(value, argument)
    elif type(value) is not int and type(value) is not float:
        raise ArgumentError(argument, value, EXPECTED)
    elif type(value) is float and not math.isfinite(value):
        raise ArgumentError(argument, value, "a finite number of seconds")
    elif abs(value) > LONGEST_US / SECOND_US:
        raise ArgumentError(argument, value, "a duration of at most 100 years")
    elif value < 0:
        # Told here: a tiny negative number would round to zero.
        duration_us = -1
    else:
        duration_us = round(value * SECOND_US)
    if duration_us < 0:
        raise ArgumentError(argument, value, "a duration that is not negative")
    if duration_us > LONGEST_US:
        raise ArgumentError(argument, value, "a duration of at most 100 years")
    return duration_us


def show_duration(duration_us: int) -> str:
    """The shortest exact text that ``parse_duration`` reads back.

    >>> show_duration(9_000_000_000), show_duration(1_500_000), show_duration(0)
    ('2h30m', '1s500ms', '0s')
    """
    parts = []
    rest = abs(duration_us)
    for unit, size in UNITS_US.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    sign = "-" if duration_us < 0 else ""
    return sign + ("".join(parts) or "0s")


def brief_duration(duration_us: int) -> str:
    """A measured time for people: one unit below a minute, the two largest from there on.

    Rounded, a half up. What is negative shows as its length.

    >>> [brief_duration(us) for us in (842, 16_499, 3_250_000, 30_000_000, 9_000_000_001)]
    ['842us', '16ms', '3.3s', '30s', '2h30m']
    >>> [brief_duration(us) for us in (999_600, 59_960_000, 7_199_500_000)]
    ['1s', '1m', '2h']
    """
    length_us = abs(duration_us)
    if length_us < UNITS_US["ms"]:
        return show_duration(length_us)
    for step_us, below in ROUNDED:
        rounded_us = (length_us + step_us // 2) // step_us * step_us
        if rounded_us < UNITS_US[below]:
            break
    else:
        rounded_us = (length_us + HOUR_US // 2) // HOUR_US * HOUR_US
    if below == "m" and rounded_us >= SECOND_US:
        tenths = rounded_us // (SECOND_US // 10)
        return f"{tenths // 10}.{tenths % 10}s".replace(".0s", "s")
    return show_duration(rounded_us)


def _parse_text(text: str, argument: str) -> int:
    position = 0
    total_us = 0.0
    smallest = math.inf
    while position < len(text):
        part = _PART.match(text, position)
        if part is None or UNITS_US[part[2]] >= smallest:
            raise ArgumentError(argument, text, TEXT_EXPECTED)
        smallest = UNITS_US[part[2]]
        total_us += float(part[1]) * smallest if "." in part[1] else _whole(part[1]) * smallest
        position = part.end()
    if not text:
        raise ArgumentError(argument, text, TEXT_EXPECTED)
    if total_us > LONGEST_US:
        raise ArgumentError(argument, text, "a duration of at most 100 years")
    return round(total_us)


def _whole(digits: str) -> int:
    """The number, or one that is surely too long: int() of endless digits is slow."""
    return int(digits) if len(digits) < 20 else LONGEST_US * 2  # noqa: PLR2004 - 64 bits
