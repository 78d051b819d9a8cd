"""Retry rules: what an error means for the task, by the nearest of its classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from eventq.core.durations import Duration, show_duration
from eventq.core.policy import Backoff
from eventq.core.validation import check_backoff
from eventq.errors import ArgumentError, Fail

# What a rule says: how long to wait before the next attempt, or that there is none.
RuleValue = Backoff | Duration | type[Fail]
RulePair = tuple[type[BaseException], RuleValue]
RuleOptions = Mapping[type[BaseException], RuleValue] | Sequence[RulePair]


class RetryRule(Struct, frozen=True):
    """What one class of errors means. ``backoff`` None: the task has failed for good."""

    error: type[BaseException]
    backoff: Backoff | None
    text: str
    """As the log records it."""


class RetryRules:
    """The rules of one handler."""

    def __init__(self, rules: RuleOptions | None) -> None:
        """Raises ArgumentError for what is no exception class, or has two rules."""
        self._by_class: dict[type[BaseException], RetryRule] = {}
        for error, value in _pairs(rules):
            if not (isinstance(error, type) and issubclass(error, BaseException)):
                raise ArgumentError("retry", error, "exception classes")
            if error in self._by_class:
                raise ArgumentError("retry", error, "one rule for each exception class")
            self._by_class[error] = _rule(error, value)

    @property
    def texts(self) -> list[str]:
        """Each rule as the log records it."""
        return [rule.text for rule in self._by_class.values()]

    def find(self, error: BaseException) -> RetryRule | None:
        """The rule of the nearest class in the error's line of descent; None: the task's backoff.

        A group without a rule of its own follows its leaves, where they all agree.
        """
        if not self._by_class:
            return None
        own = next((self._by_class[c] for c in type(error).__mro__ if c in self._by_class), None)
        if not isinstance(error, BaseExceptionGroup):
            return own
        if own is not None and issubclass(own.error, BaseExceptionGroup):
            return own
        found = [self.find(leaf) for leaf in error.exceptions]
        agreed = found[0] if all(rule is found[0] for rule in found) else None
        return agreed or own


def _pairs(rules: RuleOptions | None) -> Iterable[tuple[Any, Any]]:
    if rules is None:
        return ()
    if isinstance(rules, Mapping):
        return rules.items()
    try:
        return [(error, value) for error, value in rules]
    except (TypeError, ValueError) as error:
        raise ArgumentError("retry", rules, "exception classes with what they mean") from error


def _rule(error: type[BaseException], value: RuleValue) -> RetryRule:
    if value is Fail:
        return RetryRule(error, None, f"{_name(error)}: fail")
    expected = f"a Backoff, a duration, or eventq.Fail for {_name(error)}"
    if isinstance(value, type):
        raise ArgumentError("retry", value, expected)
    try:
        backoff = check_backoff(value)
    except ArgumentError as wrong:
        raise ArgumentError("retry", value, expected) from wrong
    return RetryRule(error, backoff, f"{_name(error)}: {_words(backoff)}")


def _name(error: type[BaseException]) -> str:
    if error.__module__ == "builtins":
        return error.__qualname__
    return f"{error.__module__}.{error.__qualname__}"


def _words(backoff: Backoff) -> str:
    words = f"{backoff.kind} {show_duration(backoff.base_us)}"
    return words if backoff.cap_us is None else f"{words}, cap {show_duration(backoff.cap_us)}"
