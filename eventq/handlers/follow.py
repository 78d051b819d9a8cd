"""Follows: functions that are called for events of the log, after their commit."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from eventq.core.commits import KINDS, OF_FOLLOWERS
from eventq.core.queue_events import Followed
from eventq.core.validation import check_count, check_name, check_patterns
from eventq.errors import ArgumentError
from eventq.handlers.work import is_async

MOST_POSITION = 2**63


class Follow(Struct, frozen=True):
    """A function to call for events of some kinds, about tasks of some names."""

    name: str
    function: Callable[..., Any]
    kinds: tuple[str, ...] | None
    """None: all but those about followers."""
    names: tuple[str, ...] | None
    """Names of tasks, or patterns; None: all events, also those about tasks without one."""
    since: int | None
    """Behind which position it begins where the log does not know it; None: where that ends."""
    takes_task: bool
    is_async: bool

    @property
    def code(self) -> str:
        """Which function it is, as the log has it."""
        return f"{self.function.__module__}:{self.function.__qualname__}"[:255]

    def said(self, worker: str, ttl_us: int) -> Followed:
        """What a node says of itself that takes it on; the position is still to come."""
        return Followed(
            follower=self.name,
            seq=0,
            worker=worker,
            ttl_us=ttl_us,
            kinds=self.kinds,
            names=self.names,
            code=self.code,
        )


def make_follow(
    name: str,
    function: Any,  # noqa: ANN401 - checked here
    *,
    kinds: object,
    names: object,
    since: object,
) -> Follow:
    """The follow of a function of (event), or of (event, task). Raises ArgumentError."""
    name = check_name(name, "name")
    takes_task = _takes_task(function)
    return Follow(
        name,
        function,
        None if kinds is None else _checked_kinds(kinds),
        None if names is None else _checked_names(names),
        None if since is None else check_count(since, "since", least=0, most=MOST_POSITION),
        takes_task,
        is_async(function),
    )


def _takes_task(function: object) -> bool:
    """Whether a function takes (event, task), and not the event alone, as it does if it can."""
    if not callable(function) or isinstance(function, type):
        raise ArgumentError("follow", function, "a function of (event), or of (event, task)")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ArgumentError("follow", function, "a function without yield")
    if not hasattr(function, "__qualname__"):
        raise ArgumentError("follow", function, "a function that has a name")
    signature = inspect.signature(function)
    for arguments in (("event",), ("event", "task")):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return "task" in arguments
    raise ArgumentError("follow", function, "a function of (event), or of (event, task)")


def _checked_kinds(kinds: object) -> tuple[str, ...]:
    followed = KINDS - OF_FOLLOWERS
    expected = f"a list of kinds of events: {', '.join(sorted(followed))}"
    if isinstance(kinds, (str, bytes)) or not isinstance(kinds, Iterable):
        raise ArgumentError("kinds", kinds, expected)
    listed = list(kinds)
    if not all(isinstance(kind, str) for kind in listed):
        raise ArgumentError("kinds", kinds, expected)
    found = tuple(sorted(set(map(str, listed))))
    for kind in found:
        if kind not in followed:
            raise ArgumentError("kinds", kind, expected)
    if not found:
        raise ArgumentError("kinds", kinds, "at least one kind")
    return found


def _checked_names(names: object) -> tuple[str, ...]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise ArgumentError("names", names, "a list of names of tasks, or of patterns")
    found = tuple(sorted(set(check_patterns(names, "names"))))
    if not found:
        raise ArgumentError("names", names, "at least one name or pattern")
    return found
