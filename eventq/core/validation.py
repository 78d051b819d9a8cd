"""Checks of what callers hand in; each gives the value in eventq's own form or raises.

Every error is an ArgumentError that names the argument and the value; nothing is repaired.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from eventq.core.durations import Duration, parse_duration
from eventq.core.events import COMMIT_BYTES, KEY_BYTES, TAGS_BYTES
from eventq.core.policy import Backoff
from eventq.core.task import EPOCH, TaskState
from eventq.errors import ArgumentError

# Nesting beyond this is a mistake, and would make every later reader recurse as deep.
JSON_DEPTH = 32
PRIORITY_LIMIT = 2**31
TEXT_CHARACTERS = 1_000
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**64 - 1
NAMES_REMEMBERED = 10_000

OPEN = frozenset({TaskState.SCHEDULED, TaskState.READY, TaskState.LEASED})

States = TaskState | str | Iterable[TaskState | str]

_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

_encoder = msgspec.json.Encoder()
# Names that have passed the check. Only a cache: clearing it changes nothing.
_good_names: set[str] = set()


def check_tags(tags: object) -> bytes:
    """The tags as JSON text. Takes a mapping of names to JSON values, or None for no tags."""
    if tags is None:
        return b"{}"
    if not isinstance(tags, dict):
        if not isinstance(tags, Mapping):
            raise ArgumentError("tags", tags, "a mapping of names to JSON values")
        tags = dict(tags)
    for name, value in tags.items():
        if name not in _good_names:
            _check_tag_name(name)
        if type(value) is not str:
            _check_json(value, f"tags[{name!r}]", 1)
    return _encode(tags, "tags", TAGS_BYTES)


def check_json(value: object, argument: str, limit_bytes: int) -> bytes:
    """Any JSON value as JSON text, at most ``limit_bytes`` long."""
    _check_json(value, argument, 1)
    return _encode(value, argument, limit_bytes)


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
    if not isinstance(key, str) or not key:
        raise ArgumentError("key", key, "text that is not empty")
    if not key.isprintable():
        raise ArgumentError("key", key, "printable text (no control characters or direction marks)")
    if len(key.encode()) > KEY_BYTES:
        raise ArgumentError("key", key, f"text of at most {KEY_BYTES} bytes")
    return str(key)


def check_priority(priority: object) -> int:
    """A whole number of 32 bits; higher runs first."""
    if type(priority) is not int or not -PRIORITY_LIMIT <= priority < PRIORITY_LIMIT:
        raise ArgumentError("priority", priority, "a whole number from -2**31 to 2**31 - 1")
    return priority


def check_namespace(namespace: object) -> str:
    """1 to 64 letters, digits, dots, hyphens and underscores."""
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        raise ArgumentError(
            "namespace", namespace, "1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a sign"
        )
    return namespace


def check_count(value: object, argument: str, *, least: int, most: int = 2**31) -> int:
    """A whole number in a range; bool is not one."""
    if type(value) is not int or not least <= value <= most:
        raise ArgumentError(argument, value, f"a whole number from {least} to {most}")
    return value


def check_flag(value: object, argument: str) -> bool:
    """True or False; what merely counts as one of them is a slip."""
    if not isinstance(value, bool):
        raise ArgumentError(argument, value, "True or False")
    return value


def check_instant(value: object, argument: str) -> int | None:
    """Microseconds since 1970 of an aware datetime; None stays None."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ArgumentError(argument, value, "an aware datetime")
    if value.utcoffset() is None:
        raise ArgumentError(argument, value, "an aware datetime (this one has no time zone)")
    if value < EPOCH:
        raise ArgumentError(argument, value, "an instant after 1970")
    return (value - EPOCH) // timedelta(microseconds=1)


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
        found = frozenset(TaskState(name) for name in states)
    except (ValueError, TypeError):
        found = None
    if found is None or TaskState.FAILED in found:
        names = ", ".join(name for name in TaskState if name is not TaskState.FAILED)
        raise ArgumentError("state", state, f"one or several of {names}")
    return found


def check_text(text: object, argument: str) -> str:
    """A reason or a name: short, and fit to be stored."""
    if not isinstance(text, str) or len(text) > TEXT_CHARACTERS:
        raise ArgumentError(argument, text, f"text of at most {TEXT_CHARACTERS} characters")
    check_json(text, argument, COMMIT_BYTES)
    return text


def check_query(query: object) -> None:
    """The text of a statement."""
    if not isinstance(query, str) or not query.strip():
        raise ArgumentError("query", query, "an SQL statement")


def _check_tag_name(name: object) -> None:
    if not isinstance(name, str) or not _TAG_NAME.fullmatch(name):
        raise ArgumentError("tags", name, "tag names of the form [A-Za-z][A-Za-z0-9_]*")
    if len(name) > KEY_BYTES:
        raise ArgumentError("tags", name, f"tag names of at most {KEY_BYTES} letters")
    if len(_good_names) >= NAMES_REMEMBERED:
        _good_names.clear()
    _good_names.add(name)


def _check_json(value: Any, argument: str, depth: int) -> None:  # noqa: ANN401 - any JSON
    if depth > JSON_DEPTH:
        raise ArgumentError(argument, "...", f"JSON nested at most {JSON_DEPTH} deep")
    if type(value) in {list, tuple}:
        for item in value:
            _check_json(item, argument, depth + 1)
    elif type(value) is dict:
        for name, item in value.items():
            if not isinstance(name, str):
                raise ArgumentError(argument, name, "JSON objects whose names are text")
            _check_json(item, argument, depth + 1)
    else:
        _check_scalar(value, argument)


def _check_scalar(value: object, argument: str) -> None:
    if value is None or isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        # Compared, not looked up in a range: a range counts through for an enum's number.
        if not LEAST_INTEGER <= value <= MOST_INTEGER:
            raise ArgumentError(argument, value, "integers of at most 64 bits")
    elif not isinstance(value, float):
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
    if b"\\u0000" in text and _holds_nul(value):
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
