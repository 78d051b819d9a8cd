"""Which tasks are meant: a value that can be written into the log, and asked of any record.

Nothing here looks for tasks. What a selector means is said here alone, in `Selector.matches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self, TypedDict, Unpack

import msgspec
from msgspec import Struct

from eventq.catalog.record import TaskRecord
from eventq.catalog.tag_words import split_words, words_in
from eventq.core.audience import matches
from eventq.core.durations import Duration, parse_duration
from eventq.core.plain import plain, sorted_json
from eventq.core.task import TaskState
from eventq.core.validation import (
    States,
    check_count,
    check_flag,
    check_instant,
    check_json,
    check_lookup_key,
    check_name,
    check_pattern,
    check_states,
    check_tag_name,
    check_text,
)
from eventq.core.values import TAGS_BYTES
from eventq.errors import ArgumentError
from eventq.replay.instants import read_instant

Instant = datetime | timedelta | str
INSTANT = (
    "an aware datetime, an instant like 2030-01-31T12:00:00Z or 2030-01-31, a time ago like -2h, "
    "today or yesterday"
)
MOST_NUMBER = 2**63 - 1
# So many names, keys or numbers are more than anybody writes down.
MOST_VALUES = 10_000


class SelectorOptions(TypedDict, total=False):
    """What `Queue.select` takes; a task must fit all that is given."""

    state: States | None
    name: str | Iterable[str] | None
    lane: str | Iterable[str] | None
    error: str | None
    message: str | None
    place: str | None
    tags: Mapping[str, Any] | None
    text: str | None
    node: str | None
    flow: int | None
    schedule: str | None
    key: str | Iterable[str] | None
    number: int | Iterable[int] | None
    min_attempts: int | None
    created_after: Instant | None
    created_before: Instant | None
    ended_after: Instant | None
    ended_before: Instant | None
    since: Instant | None
    until: Instant | None
    waited: Duration | None
    ran: Duration | None
    lapsed: bool | None
    refused: bool | None
    ran_twice: bool | None
    by: str | None


class Selector(Struct, frozen=True, omit_defaults=True):
    """Tasks that fit all that is given; None or nothing given is any task.

    Instants are microseconds since 1970. What is "after" one may be at it; "before" it may not.
    """

    states: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Names, or patterns with ``*``."""
    lanes: tuple[str, ...] = ()
    error: str | None = None
    """The type of the last error, whole or its last part, or a pattern."""
    message: str | None = None
    """Text that is in the last error's message, in any case."""
    place: str | None = None
    """Text that is in the place where it was raised."""
    tags: dict[str, Any] = {}
    """Names with values: a text is equal to a number that is written like it."""
    text: str | None = None
    """Words that are all in the tags, in names or values."""
    node: str | None = None
    """A node that has leased it, or a pattern."""
    flow: int | None = None
    schedule: str | None = None
    keys: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    min_attempts: int | None = None
    created_after: int | None = None
    created_before: int | None = None
    ended_after: int | None = None
    ended_before: int | None = None
    since: int | None = None
    """When it last changed, at the earliest."""
    until: int | None = None
    """When it last changed, before this."""
    waited_us: int | None = None
    """How long its last attempt had waited, at the least."""
    ran_us: int | None = None
    """How long its last attempt that is over ran, at the least."""
    lapsed: bool | None = None
    refused: bool | None = None
    ran_twice: bool | None = None
    by: str | None = None
    """Who has had a hand in it, or a pattern."""

    @classmethod
    def parse(cls, *, now: int, **options: Unpack[SelectorOptions]) -> Self:
        """A selector from what a person writes; ``now`` is what times ago count from.

        Raises ArgumentError, which names what is wrong.
        """
        found: dict[str, Any] = {}
        for option, value in options.items():
            if option not in _CHECKS:
                raise ArgumentError("selector", option, f"one of {', '.join(_CHECKS)}")
            if value is not None:
                field, check = _CHECKS[option]
                found[field] = check(value, option, now)
        return cls(**found)

    @classmethod
    def from_json(cls, text: bytes | str) -> Self:
        """The selector that a log holds as JSON. Raises msgspec.DecodeError."""
        return msgspec.json.decode(text, type=cls)

    def to_json(self) -> bytes:
        """As a log holds it."""
        return msgspec.json.encode(self)

    @property
    def is_empty(self) -> bool:
        """Whether it means every task there is."""
        return self == Selector()

    def matches(self, record: TaskRecord) -> bool:
        """Whether a task that looks like this is meant."""
        return (
            self._fits_identity(record)
            and self._fits_times(record)
            and self._fits_attempts(record)
            and self._fits_content(record)
        )

    def _fits_identity(self, record: TaskRecord) -> bool:
        """Whether it is called and placed as it should be."""
        return (
            (not self.states or record.state in self.states)
            and (not self.names or _is_one(record.name, self.names))
            and (not self.lanes or record.lane in self.lanes)
            and (not self.keys or record.key in self.keys)
            and (not self.numbers or record.number in self.numbers)
            and (self.flow is None or record.flow == self.flow)
            and (self.schedule is None or record.schedule == self.schedule)
        )

    def _fits_times(self, record: TaskRecord) -> bool:
        return (
            _is_within(record.created_at, self.created_after, self.created_before)
            and _is_within(record.ended_at, self.ended_after, self.ended_before)
            and _is_within(record.last_at, self.since, self.until)
            and _is_within(record.waited_us, self.waited_us, None)
            and _is_within(record.ran_us, self.ran_us, None)
        )

    def _fits_attempts(self, record: TaskRecord) -> bool:
        return (
            (self.min_attempts is None or record.attempts >= self.min_attempts)
            and (self.lapsed is None or bool(record.lapses) is self.lapsed)
            and (self.refused is None or bool(record.refused) is self.refused)
            and (self.ran_twice is None or record.ran_twice is self.ran_twice)
            and (self.node is None or any(matches(each, self.node) for each in record.nodes))
            and (self.by is None or any(matches(each, self.by) for each in record.by))
        )

    def _fits_content(self, record: TaskRecord) -> bool:
        """Whether it met the error, and has the tags, that it should."""
        return (
            (self.error is None or is_error(record.error_type, self.error))
            and (self.message is None or is_in(record.error_message, self.message))
            and (self.place is None or self.place in record.error_place)
            and (not self.tags or has_tags(record.tags_json, self.tags))
            and (self.text is None or has_words(record.tags_json, self.text))
        )


def is_error(error_type: str | None, wanted: str) -> bool:
    """Whether this is the type of error, by its whole name or the last part of it."""
    if error_type is None:
        return False
    return matches(error_type, wanted) or matches(error_type.rpartition(".")[2], wanted)


def is_in(message: str, wanted: str) -> bool:
    """Whether the text is in the message, in any case."""
    return wanted.casefold() in message.casefold()


def has_tags(tags_json: bytes, wanted: Mapping[str, Any]) -> bool:
    """Whether the tags have these values; a text is equal to a number that is written like it."""
    tags: object = msgspec.json.decode(tags_json)
    # No eventq writes others than an object; a stranger's log may hold anything.
    return isinstance(tags, dict) and all(
        name in tags and value_text(tags[name]) == value_text(value)
        for name, value in wanted.items()
    )


def has_words(tags_json: bytes, wanted: str) -> bool:
    """Whether all the words of a text are in the tags."""
    words = set(split_words(wanted))
    return words.issubset(words_in(tags_json))


def value_text(value: object) -> str:
    """What values are compared by: text itself, of others the JSON."""
    return value if isinstance(value, str) else sorted_json(value).decode()


def find_instant(value: object, argument: str, now: int) -> int:
    """The instant that is meant, in microseconds since 1970."""
    found = plain(value)
    if isinstance(found, timedelta):
        return now - parse_duration(found, argument)
    if isinstance(found, str):
        with suppress(ArgumentError):
            if found.startswith("-"):
                return now - parse_duration(found[1:], argument)
        found = read_instant(found, now=now)
    if not isinstance(found, datetime):
        raise ArgumentError(argument, value, INSTANT)
    at = check_instant(found, argument)
    assert at is not None, "only None stays None"
    return at


def _is_one(name: str | None, patterns: tuple[str, ...]) -> bool:
    return name is not None and any(matches(name, each) for each in patterns)


def _is_within(value: int | None, least: int | None, most: int | None) -> bool:
    """Whether it lies between the two; what is not there lies nowhere."""
    if least is None and most is None:
        return True
    return (
        value is not None and (least is None or value >= least) and (most is None or value < most)
    )


def _several(value: object, argument: str, expected: str) -> list[object]:
    """One value or several, as a list."""
    if isinstance(value, (str, int)):
        return [value]
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise ArgumentError(argument, value, expected)
    found = list(value)
    if not 0 < len(found) <= MOST_VALUES:
        raise ArgumentError(argument, value, f"1 to {MOST_VALUES} of them")
    return found


def _check_states(value: Any, argument: str, _now: int) -> tuple[str, ...]:  # noqa: ANN401 - checked
    states = check_states(value)
    if not states:
        raise ArgumentError(argument, value, "at least one state")
    return tuple(str(state) for state in TaskState if state in states)


def _check_names(value: object, argument: str, _now: int) -> tuple[str, ...]:
    found = _several(value, argument, "a name or a pattern like 'mail.*', or several")
    return tuple(check_pattern(each, argument) for each in found)


def _check_lanes(value: object, argument: str, _now: int) -> tuple[str, ...]:
    return tuple(check_name(each, argument) for each in _several(value, argument, "lanes"))


def _check_keys(value: object, argument: str, _now: int) -> tuple[str, ...]:
    return tuple(check_lookup_key(each) for each in _several(value, argument, "keys"))


def _check_numbers(value: object, argument: str, _now: int) -> tuple[int, ...]:
    found = _several(value, argument, "numbers of tasks")
    return tuple(check_count(each, argument, least=1, most=MOST_NUMBER) for each in found)


def _check_words(value: object, argument: str, _now: int) -> str:
    text = check_text(value, argument)
    if not split_words(text):
        raise ArgumentError(argument, value, "at least one word")
    return text


def _check_some_text(value: object, argument: str, _now: int) -> str:
    text = check_text(value, argument)
    if not text:
        raise ArgumentError(argument, value, "text that is not empty")
    return text


def _check_tags(value: object, argument: str, _now: int) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ArgumentError(argument, value, "a mapping of names to JSON values")
    found = {}
    for name, item in value.items():
        text = plain(name)
        check_tag_name(text)
        found[str(text)] = msgspec.json.decode(check_json(item, f"tags[{text!r}]", TAGS_BYTES))
    return found


def _check_number(value: object, argument: str, _now: int) -> int:
    return check_count(value, argument, least=1, most=MOST_NUMBER)


def _check_length(value: Any, argument: str, _now: int) -> int:  # noqa: ANN401 - it is checked
    return parse_duration(value, argument)


def _check_flag(value: object, argument: str, _now: int) -> bool:
    return check_flag(value, argument)


_CHECKS: dict[str, tuple[str, Callable[[Any, str, int], Any]]] = {
    "state": ("states", _check_states),
    "name": ("names", _check_names),
    "lane": ("lanes", _check_lanes),
    "error": ("error", _check_some_text),
    "message": ("message", _check_some_text),
    "place": ("place", _check_some_text),
    "tags": ("tags", _check_tags),
    "text": ("text", _check_words),
    "node": ("node", _check_some_text),
    "flow": ("flow", _check_number),
    "schedule": ("schedule", _check_some_text),
    "key": ("keys", _check_keys),
    "number": ("numbers", _check_numbers),
    "min_attempts": ("min_attempts", _check_number),
    "created_after": ("created_after", find_instant),
    "created_before": ("created_before", find_instant),
    "ended_after": ("ended_after", find_instant),
    "ended_before": ("ended_before", find_instant),
    "since": ("since", find_instant),
    "until": ("until", find_instant),
    "waited": ("waited_us", _check_length),
    "ran": ("ran_us", _check_length),
    "lapsed": ("lapsed", _check_flag),
    "refused": ("refused", _check_flag),
    "ran_twice": ("ran_twice", _check_flag),
    "by": ("by", _check_some_text),
}
