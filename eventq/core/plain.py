"""Values of subclasses and of other libraries' scalars, brought to Python's plain types by value.

A subclass may answer every question in its own way (an enum's ``str``, a duration's ``//``), so it
is never asked: the base class reads the value. Nothing here raises for a value of a wrong type.
Text is brought to what every log can store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

# The kinds of numpy's types that are a bool, a number or text; times and bytes are not.
_SCALAR_KINDS = frozenset("biufU")
_DAYS, _SECONDS, _MICROSECONDS = (
    vars(timedelta)[name].__get__ for name in ("days", "seconds", "microseconds")
)


def plain(value: Any) -> object:  # noqa: ANN401 - it has any attribute, or none
    """The bool, int, float, str, datetime or timedelta that the value is; any other as it is.

    >>> import http
    >>> plain(http.HTTPStatus.OK), plain(http.HTTPMethod.GET)
    (200, 'GET')
    """
    kind = type(value)
    if kind in _PLAIN or value is None:
        return value
    for base, convert in _CONVERSIONS:
        if issubclass(kind, base):
            return convert(value)
    # Its type is asked for these names: a mock has them all.
    if hasattr(kind, "dtype") and hasattr(kind, "item"):
        with suppress(Exception):
            return _scalar(value)
    return value


def escaped_json(text: str, *, ascii_only: bool = False) -> str:
    r"""JSON with each unprintable character escaped; it reads back the same.

    >>> escaped_json('{"name": "\u202e\xe9\x9b\x7f"}')
    '{"name": "\\u202eé\\u009b\\u007f"}'
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    # Outside of strings JSON is printable ASCII, so whatever is not stands in a string.
    return "".join(
        char if char.isprintable() and (char.isascii() or not ascii_only) else _escape(char)
        for char in text
    )


def _escape(char: str) -> str:
    # What is beyond the first 65,536 takes two.
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def storable(text: str, most: int | None = None) -> str:
    r"""The text as every log can store it: no lone surrogates, no NUL; so many characters at most.

    >>> storable("a\0b")
    'a\\x00b'
    """
    return text[:most].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")[:most]


def sorted_json(value: object) -> bytes:
    """The value as JSON compares it: names in any order, True is not 1, and a tuple is a list."""
    return msgspec.json.encode(value, order="sorted")


def leaves_of(value: Any) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    """All that stands in a JSON value: names of fields, and what is neither an object nor a list.

    >>> list(leaves_of({"a": [1, {"b": None}]}))
    ['a', 1, 'b', None]
    """
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from leaves_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves_of(each)
    else:
        yield value


def _scalar(value: Any) -> object:  # noqa: ANN401 - as above
    """Of a scalar as numpy has them the value that Python has for it; of others themselves."""
    if value.ndim == 0 and value.dtype.kind in _SCALAR_KINDS:
        found = value.item()
        if type(found) in _PLAIN:
            return found
    return value


def _plain_datetime(value: datetime) -> datetime:
    return datetime.combine(datetime.date(value), datetime.timetz(value))


def _plain_timedelta(value: timedelta) -> timedelta:
    return timedelta(_DAYS(value), _SECONDS(value), _MICROSECONDS(value))


_CONVERSIONS: tuple[tuple[type, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (datetime, _plain_datetime),
    (timedelta, _plain_timedelta),
)
_PLAIN = frozenset({bool, *(base for base, _ in _CONVERSIONS)})
