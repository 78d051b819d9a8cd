"""Retry rules: the nearest class of an error decides, and the log says so."""

from __future__ import annotations

from typing import Any

import pytest

from eventq import ArgumentError, Backoff, DeadlineExceededError, Fail
from eventq.handlers.rules import RetryRules

RULES = RetryRules(
    {
        OSError: "10s",
        ConnectionError: Backoff.exponential("1s", cap="5m"),
        ValueError: Fail,
        DeadlineExceededError: Fail,
    }
)


@pytest.mark.parametrize(
    "error, text",
    [
        (ConnectionResetError(), "ConnectionError: exponential 1s, cap 5m"),
        (FileNotFoundError(), "OSError: linear 10s"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "x"), "ValueError: fail"),
        (DeadlineExceededError(), "eventq.DeadlineExceededError: fail"),
        (KeyError(), None),
    ],
)
def test_the_nearest_class_decides(error: Exception, text: str | None) -> None:
    """Of the error's own line of descent."""
    rule = RULES.find(error)

    assert (None if rule is None else rule.text) == text


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    """A group of errors, as a task group raises it."""
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    "error, text",
    [
        (group(ConnectionResetError(), ConnectionAbortedError()), "ConnectionError: "),
        (group(ConnectionResetError(), group(ConnectionAbortedError())), "ConnectionError: "),
        (group(ConnectionResetError(), ValueError()), None),
        (group(ConnectionResetError(), KeyError()), None),
    ],
)
def test_a_group_follows_its_leaves_where_they_agree(error: Exception, text: str | None) -> None:
    """Else it is an error of its own kind."""
    rule = RULES.find(error)

    assert rule is None if text is None else rule is not None and rule.text.startswith(text)


def test_a_group_may_have_a_rule_of_its_own() -> None:
    """Which comes before those of its leaves."""
    rules = RetryRules([(ExceptionGroup, Fail), (ValueError, "1s")])

    rule = rules.find(group(ValueError()))

    assert rule is not None
    assert rule.backoff is None


@pytest.mark.parametrize(
    "rules",
    [
        {"ValueError": "1s"},
        {int: "1s"},
        {ValueError(): "1s"},
        {ValueError: "soon"},
        {ValueError: ValueError},
        {ValueError: None},
        {ValueError: Fail("why")},
        [(ValueError, "1s"), (ValueError, "2s")],
        [ValueError],
        5,
    ],
)
def test_wrong_rules_are_refused(rules: Any) -> None:  # noqa: ANN401
    """When the handler is made, as what they were given as."""
    with pytest.raises(ArgumentError) as found:
        RetryRules(rules)

    assert found.value.argument == "retry"
