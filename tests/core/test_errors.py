"""The error tree: what each carries, and messages that name what was wrong."""

from __future__ import annotations

import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventq import errors
from eventq.errors import (
    ArgumentError,
    Cancel,
    EventqError,
    KeyConflictError,
    LogConflictError,
    LogCorruptError,
    NotAllowedError,
    Retry,
    TaskNotFoundError,
    shown,
)

TREE = [
    found for _, found in inspect.getmembers(errors, inspect.isclass) if found is not EventqError
]


class Hostile:
    """A value that cannot even be shown."""

    def __repr__(self) -> str:
        """Fails."""
        raise RuntimeError


class Sneaky:
    """A value whose repr would write to a terminal."""

    def __repr__(self) -> str:
        """Clears the screen and goes to another line."""
        return "a\x1b[2J\nb\u202ec\ud800"


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_one_of_ours(error: type[Exception]) -> None:
    """One except clause catches all."""
    assert issubclass(error, EventqError)


@pytest.mark.parametrize("error", TREE)
def test_every_error_says_what_to_know(error: type[Exception]) -> None:
    """Each class has its own docstring, and stands in the tree at the top of the module."""
    assert error.__doc__ != EventqError.__doc__
    assert error.__name__ in (errors.__doc__ or "")


def test_argument_error_names_argument_and_value() -> None:
    """The message is enough to correct the call."""
    error = ArgumentError("priority", "high", "a whole number")

    assert str(error) == "priority: expected a whole number, got 'high'"
    assert (error.argument, error.value, error.expected) == ("priority", "high", "a whole number")
    assert isinstance(error, ValueError)


def test_key_conflict_names_the_owner() -> None:
    """The message names the key, the task and the difference."""
    error = KeyConflictError("a\nb", 7, "tags")

    assert str(error) == "key 'a\\nb' belongs to task 7, which differs in tags"


@pytest.mark.parametrize(
    "error",
    [
        KeyConflictError("a", 7, "tags"),
        ArgumentError("delay", -1, "a duration"),
        NotAllowedError("retry", "a", "completed"),
        TaskNotFoundError("a"),
        LogConflictError(5),
        LogCorruptError(5, "a gap"),
        Retry("busy", delay="1s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_travel_between_processes(error: EventqError) -> None:
    """Pickled, as by a process pool, an error keeps its message and its attributes."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_key_conflict_inside_one_call_names_no_number() -> None:
    """A task that its own call would create has no number yet."""
    error = KeyConflictError("a", 0, "priority")

    assert (
        str(error) == "key 'a' belongs to another task of the same call, which differs in priority"
    )


@pytest.mark.parametrize(
    "error, parts",
    [
        (TaskNotFoundError("k"), ["'k'"]),
        (NotAllowedError("retry", "k", "completed"), ["retry", "'k'", "completed"]),
        (LogConflictError(12), ["12"]),
        (LogCorruptError(12, "a hole"), ["12", "a hole"]),
        (Retry("busy"), ["busy"]),
        (Retry(), ["retry"]),
        (Cancel("gone"), ["gone"]),
        (Cancel(), ["cancelled"]),
    ],
)
def test_messages_hold_their_data(error: EventqError, parts: list[str]) -> None:
    """What an error carries stands in its message."""
    message = str(error)

    assert [part for part in parts if part not in message] == []


def test_not_found_is_a_lookup_error() -> None:
    """Code that knows only Python's own errors understands it."""
    assert issubclass(TaskNotFoundError, LookupError)


@given(
    value=st.text() | st.binary() | st.floats() | st.integers() | st.lists(st.text()),
    limit=st.integers(10, 200),
)
def test_shown_is_short_and_printable(value: object, limit: int) -> None:
    """Any value becomes a short line of printable ASCII."""
    text = shown(value, limit=limit)

    assert len(text) <= limit
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    "value", [Hostile(), [Hostile()], {1: 10**10_000}, "\ud800", Sneaky(), "a\x1b[2J"], ids=shown
)
def test_shown_never_fails(value: object) -> None:
    """A value whose repr fails or misbehaves still gets a printable line."""
    text = shown(value)

    assert text
    assert text.isascii()
    assert text.isprintable()


def test_shown_quotes_text() -> None:
    """Text is told from other values by its quotes, and keeps its backslashes single."""
    assert shown("a\\b") == "'a\\\\b'"
    assert shown(5) == "5"
