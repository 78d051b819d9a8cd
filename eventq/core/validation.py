"""Checks of what callers hand in; each returns the value in eventq's own form or raises.

Every error is an ArgumentError that names the argument and the value; nothing is repaired. What is
given back is of Python's own types: of a subclass (an enum's, numpy's) only its value is let in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import is_not
from types import NoneType
from typing import Any, TypeVar, get_args

import msgspec

from eventq.core.durations import Duration, parse_duration
from eventq.core.plain import plain
from eventq.core.policy import Backoff
from eventq.core.task import EPOCH, FINAL, TaskState
from eventq.core.unique import ON_DUPLICATE
from eventq.core.values import COMMIT_BYTES, KEY_BYTES, TAGS_BYTES, IfFailed
from eventq.errors import ArgumentError

# Nesting beyond this is a mistake, and would make every later reader recurse as deep.
JSON_DEPTH = 32
PRIORITY_LIMIT = 2**31
TEXT_CHARACTERS = 1_000
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**64 - 1
NAMES_REMEMBERED = 10_000
# More than that is a slip.
MOST_LIMIT = 2**31

IF_FAILED = get_args(IfFailed)
OPEN = frozenset(set(TaskState) - FINAL - {TaskState.FAILED})

K = TypeVar("K")
States = TaskState | str | Iterable[TaskState | str]

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
# What is in no name means something in a pattern, or would have to be quoted.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}", re.ASCII)
_PATTERN = re.compile(r"[A-Za-z0-9_.:/*-]{1,128}", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

_encoder = msgspec.json.Encoder()
# Names that have passed the check. Only a cache: clearing it changes nothing.
_good_names: set[str] = set()
_TEXT = frozenset({str})


def check_tags(tags: object) -> bytes:
    """The tags as JSON text. Takes a mapping of names to JSON values, or None for no tags."""
    if tags is None:
        return b"{}"
    if type(tags) is not dict:
        if not isinstance(tags, Mapping):
            raise ArgumentError("tags", tags, "a mapping of names to JSON values")
        tags = dict(tags)
    # In C: most tags are texts under names that have been seen.
    if _TEXT.issuperset(map(type, chain(tags, tags.values()))) and _good_names.issuperset(tags):
        return _encode(tags, "tags", TAGS_BYTES)
    found = tags
    for name, value in tags.items():
        if type(name) is not str:
            return check_tags(_plain_names(tags))
        if name not in _good_names:
            check_tag_name(name)
        if type(value) is not str:
            json_value = _plain_json(value, f"tags[{name!r}]", 1)
            if json_value is not value:
                # What the caller holds stays as it is.
                found = dict(tags) if found is tags else found
                found[name] = json_value
    return encode_tags(found)


def encode_tags(tags: object, argument: str = "tags") -> bytes:
    """Tags whose names and values have been checked, or one value of theirs, as JSON text."""
    return _encode(tags, argument, TAGS_BYTES)


def check_json(value: object, argument: str, limit_bytes: int) -> bytes:
    """Any JSON value as JSON text, at most ``limit_bytes`` long."""
    return _encode(_plain_json(value, argument, 1), argument, limit_bytes)


def check_key(key: object) -> str | None:
    """A caller's own key: 1 to 255 bytes of printable text, not all digits; or None."""
    if key is None:
        return None
    key = check_lookup_key(key)
    if key.isdigit():
        raise ArgumentError("key", key, "a key that is not all digits (those are task numbers)")
    return key


def check_lookup_key(key: object) -> str:
    """A key to look up: a caller's, or a task's number as text."""
    text = plain(key)
    if type(text) is int:
        # One of thousands of digits has no text at all.
        example = f", '{text}'" if LEAST_INTEGER <= text <= MOST_INTEGER else ""
        raise ArgumentError("key", key, f"text; a task's number too is given as text{example}")
    if type(text) is not str or not text:
        raise ArgumentError("key", key, "text that is not empty")
    if not text.isprintable():
        raise ArgumentError("key", key, "printable text (no control characters or direction marks)")
    if len(text.encode()) > KEY_BYTES:
        raise ArgumentError("key", key, f"text of at most {KEY_BYTES} bytes")
    return text


def check_unique(unique: object) -> bool | str:
    """A unique value: text as a key may be, or whether it is made of name and arguments."""
    value = plain(unique)
    if type(value) is bool:
        return value
    if type(value) is not str:
        raise ArgumentError("unique", unique, "True, or text")
    try:
        return check_lookup_key(value)
    except ArgumentError as error:
        raise ArgumentError("unique", unique, error.expected) from error


def check_on_duplicate(choice: object) -> str:
    """What a call does whose unique value is taken."""
    text = plain(choice)
    if text not in ON_DUPLICATE:
        raise ArgumentError("on_duplicate", choice, f"one of {', '.join(ON_DUPLICATE)}")
    return str(text)


def check_if_failed(choice: object) -> str:
    """What becomes of a task if one that it comes after ends without success."""
    text = plain(choice)
    if text not in IF_FAILED:
        raise ArgumentError("if_failed", choice, f"one of {', '.join(IF_FAILED)}")
    return str(text)


def check_priority(priority: object) -> int:
    """A whole number of 32 bits; higher runs first."""
    number = plain(priority)
    if type(number) is not int or not -PRIORITY_LIMIT <= number < PRIORITY_LIMIT:
        raise ArgumentError("priority", priority, "a whole number from -2**31 to 2**31 - 1")
    return number


def check_namespace(namespace: object) -> str:
    """1 to 64 letters, digits, dots, hyphens and underscores."""
    text = plain(namespace)
    if type(text) is not str or not _NAMESPACE.fullmatch(text):
        raise ArgumentError(
            "namespace", namespace, "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a sign"
        )
    return text


def check_name(name: object, argument: str) -> str:
    """The name of a handler, or a lane: 1 to 128 letters, digits and ``_ . : / -``."""
    text = plain(name)
    if type(text) is not str or not _NAME.fullmatch(text):
        expected = "1 to 128 of A-Z a-z 0-9 _ . : / -, beginning with a letter, a digit or _"
        raise ArgumentError(argument, name, expected)
    return text


def check_pattern(pattern: object, argument: str) -> str:
    """A name, or a pattern of names with ``*`` for any text."""
    text = plain(pattern)
    if type(text) is not str or not _PATTERN.fullmatch(text):
        raise ArgumentError(argument, pattern, "a name, or a pattern like 'mail.*'")
    return text


def check_patterns(patterns: object, argument: str) -> tuple[str, ...]:
    """Names, or patterns of names with ``*`` for any text."""
    if isinstance(patterns, (str, bytes, Mapping)) or not isinstance(patterns, Iterable):
        raise ArgumentError(argument, patterns, "a list of names or patterns like 'mail.*'")
    found = tuple(check_pattern(pattern, argument) for pattern in patterns)
    if not found:
        raise ArgumentError(argument, found, "at least one name or pattern")
    return found


def check_count(value: object, argument: str, *, least: int, most: int = 2**31) -> int:
    """A whole number in a range; bool is not one."""
    number = plain(value)
    if type(number) is not int or not least <= number <= most:
        raise ArgumentError(argument, value, f"a whole number from {least} to {most}")
    return number


def check_limit(limit: object) -> int | None:
    """How many to give at the most; None for all."""
    number = plain(limit)
    if number is None:
        return None
    if type(number) is not int or not 1 <= number <= MOST_LIMIT:
        raise ArgumentError("limit", limit, "a whole number of at least 1, or None for no limit")
    return number


def check_flag(value: object, argument: str) -> bool:
    """True or False; what merely counts as one of them is a slip."""
    flag = plain(value)
    if type(flag) is not bool:
        raise ArgumentError(argument, value, "True or False")
    return flag


def check_instant(value: object, argument: str) -> int | None:
    """Microseconds since 1970 of an aware datetime; None stays None."""
    if value is None:
        return None
    found = plain(value)
    if type(found) is not datetime:
        raise ArgumentError(argument, value, "an aware datetime")
    try:
        offset = found.utcoffset()
    except Exception as error:
        # A time zone is anybody's code, and may raise whatever it likes.
        expected = "a datetime whose time zone tells its offset"
        raise ArgumentError(argument, value, expected) from error
    if offset is None:
        raise ArgumentError(argument, value, "an aware datetime (this one has no time zone)")
    # Reckoned with the offset just told: the time zone is not asked again.
    at = found.replace(tzinfo=UTC) - EPOCH - offset
    if at < timedelta(0):
        raise ArgumentError(argument, value, "an instant after 1970")
    return at // timedelta(microseconds=1)


def check_duration(value: Duration | None, argument: str, *, least_us: int = 0) -> int | None:
    """A duration in microseconds; None stays None."""
    if value is None:
        return None
    duration_us = parse_duration(value, argument)
    if duration_us < least_us:
        raise ArgumentError(argument, value, "a duration above zero")
    return duration_us


def check_backoff(value: Backoff | Duration) -> Backoff:
    """A Backoff, or a duration, which means linear: n times it before the n-th retry."""
    if isinstance(value, Backoff):
        return value
    return Backoff("linear", parse_duration(value, "backoff"))


def check_states(state: States | None) -> frozenset[TaskState]:
    """One or several states; None means all that are open."""
    if state is None:
        return OPEN
    states = [state] if isinstance(state, str) else state
    try:
        found = frozenset(map(TaskState, _plain_json(list(states), "state", 1)))
    except (ValueError, TypeError):
        found = None
    if found is None or TaskState.FAILED in found:
        names = ", ".join(name for name in TaskState if name is not TaskState.FAILED)
        raise ArgumentError("state", state, f"one or several of {names}")
    return found


def check_text(text: object, argument: str) -> str:
    """A reason or a name: short, and fit to be stored."""
    found = plain(text)
    if type(found) is not str or len(found) > TEXT_CHARACTERS:
        raise ArgumentError(argument, text, f"text of at most {TEXT_CHARACTERS} characters")
    check_json(found, argument, COMMIT_BYTES)
    return found


def check_by(by: object) -> str | None:
    """Who asks for something; None for somebody."""
    return None if by is None else check_text(by, "by")


def check_query(query: object) -> str:
    """The text of a statement."""
    text = plain(query)
    if type(text) is not str or not text.strip():
        raise ArgumentError("query", query, "an SQL statement")
    return text


def check_values(values: object) -> list[object]:
    """What stands for a statement's question marks: values that a database has."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ArgumentError("values", values, "a sequence of values")
    found = [plain(value) for value in values]
    for index, value in enumerate(found):
        if type(value) not in {str, int, float, bool, bytes, bytearray, memoryview, NoneType}:
            raise ArgumentError(f"values[{index}]", value, "text, a number, bytes or None")
        if type(value) is int and not -(2**63) <= value < 2**63:
            raise ArgumentError(f"values[{index}]", value, "a whole number of 64 bits")
    return found


def check_list(values: object, argument: str, kind: type[K]) -> list[K]:
    """Several of one class of eventq's own."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ArgumentError(argument, values, f"a sequence of {kind.__name__}")
    listed = list(values)
    found = [each for each in listed if isinstance(each, kind)]
    if len(found) < len(listed):
        raise ArgumentError(argument, values, f"a sequence of {kind.__name__}")
    return found


def check_tag_name(name: object) -> None:
    """The name of a tag: letters, digits and underscores, the first a letter; 255 at most."""
    if type(name) is not str or not _TAG_NAME.fullmatch(name):
        raise ArgumentError("tags", name, "tag names of the form [A-Za-z][A-Za-z0-9_]*")
    if len(name) > KEY_BYTES:
        raise ArgumentError("tags", name, f"tag names of at most {KEY_BYTES} letters")
    if len(_good_names) >= NAMES_REMEMBERED:
        _good_names.clear()
    _good_names.add(name)


def check_secret(names: object) -> tuple[str, ...]:
    """Names of tags whose values are secret, each once and in order."""
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ArgumentError("secret", names, "names of tags, in a list")
    found = [plain(name) for name in names]
    for name in found:
        if type(name) is not str or not _TAG_NAME.fullmatch(name) or len(name) > KEY_BYTES:
            raise ArgumentError("secret", name, "names of the form [A-Za-z][A-Za-z0-9_]*")
    return tuple(sorted({str(name) for name in found}))


def _plain_names(tags: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tags.items():
        text = plain(name)
        check_tag_name(text)
        if text in found:
            raise ArgumentError("tags", name, "names that differ as text")
        found[str(text)] = value
    return found


def _plain_json(value: Any, argument: str, depth: int) -> Any:  # noqa: ANN401 - any JSON
    """The value in Python's own types; itself when it is that already."""
    if depth > JSON_DEPTH:
        raise ArgumentError(argument, "...", f"JSON nested at most {JSON_DEPTH} deep")
    if type(value) in {list, tuple}:
        items = [_plain_json(item, argument, depth + 1) for item in value]
        return items if any(map(is_not, items, value)) else value
    if type(value) is not dict:
        value = plain(value)
        _check_scalar(value, argument)
        return value
    found: dict[str, Any] = {}
    changed = False
    for name, item in value.items():
        text = plain(name)
        if type(text) is not str:
            raise ArgumentError(argument, name, "JSON objects whose names are text")
        if text in found:
            raise ArgumentError(argument, name, "JSON objects whose names differ as text")
        found[text] = _plain_json(item, argument, depth + 1)
        changed = changed or text is not name or found[text] is not item
    return found if changed else value


def check_measure(value: object, argument: str) -> int | float:
    """How much of something there is: a finite number, 0 or more."""
    number = plain(value)
    if type(number) is int:
        check_integer(number, argument)
    elif type(number) is not float or not math.isfinite(number):
        raise ArgumentError(argument, value, "a finite number")
    if number < 0:
        raise ArgumentError(argument, value, "a number that is not negative")
    return number


def check_integer(value: int, argument: str) -> None:
    """An integer that every reader of JSON takes."""
    # Compared, not looked up in a range: a range counts through for an enum's number.
    if not LEAST_INTEGER <= value <= MOST_INTEGER:
        raise ArgumentError(argument, value, "integers of at most 64 bits")


def _check_scalar(value: Any, argument: str) -> None:  # noqa: ANN401 - any scalar
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return
    if kind is int:
        check_integer(value, argument)
    elif kind is not float:
        raise ArgumentError(argument, value, "a JSON value (text, number, bool, None, list, dict)")
    elif not math.isfinite(value):
        raise ArgumentError(argument, value, "finite numbers")


def _encode(value: object, argument: str, limit_bytes: int) -> bytes:
    try:
        text = _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError) as error:
        raise ArgumentError(argument, value, "JSON (no lone surrogates)") from error
    if len(text) > limit_bytes:
        raise ArgumentError(argument, value, f"at most {limit_bytes} bytes of JSON")
    # An even number of backslashes before it would make this plain text, so look closer.
    if b"\\u0000" in text and _holds_nul(msgspec.json.decode(text)):
        raise ArgumentError(argument, value, "text without NUL characters")
    return text


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, (list, tuple)):
        return any(_holds_nul(item) for item in value)
    if isinstance(value, dict):
        return any(_holds_nul(name) or _holds_nul(item) for name, item in value.items())
    return False
