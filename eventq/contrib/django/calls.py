"""A call of a task's function as the tags of a task, and back.

Each argument is a tag of its own where it has a name, so that limits, turns and searches can go by
it. Which were given by place is kept beside them, so that they come back as they were given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from eventq.contrib.django.framework import Task, normalize_json
from eventq.core.validation import check_tag_name
from eventq.errors import ArgumentError

# Names of arguments given by place; or their values, where a function takes any number of them.
PLACED = "django_args"
# The others, of such a function.
NAMED = "django_kwargs"
PLAIN = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}


class TaskCall(Struct, frozen=True):
    """The arguments of one call, as Django's result has them, and as a log does."""

    args: list[Any]
    kwargs: dict[str, Any]
    tags: dict[str, Any]

    @classmethod
    def of(cls, task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaskCall:
        """Raises TypeError for a call that Python would refuse, or what is no JSON."""
        shape = _shape(task.func, task.takes_context)
        shape.check(args, kwargs)
        placed: Any = normalize_json(list(args))
        named: Any = normalize_json(dict(kwargs))
        if shape.names is None:
            return cls(placed, named, {PLACED: placed, NAMED: named})
        given = list(shape.names[: len(placed)])
        tags = {**dict(zip(given, placed, strict=True)), **named}
        return cls(placed, named, {**tags, PLACED: given} if given else tags)

    @classmethod
    def read(cls, tags: Mapping[str, Any]) -> TaskCall:
        """The call that tags hold; others than eventq's Django backend make them, too."""
        placed = tags.get(PLACED, [])
        if NAMED in tags:
            return cls(list(placed), dict(tags[NAMED]), dict(tags))
        rest = {n: v for n, v in tags.items() if n != PLACED and n not in placed}
        return cls([tags[name] for name in placed], rest, dict(tags))

    @classmethod
    def names_of(cls, task: Task[..., Any]) -> tuple[str, ...]:
        """The arguments that are tags of their own."""
        return _shape(task.func, task.takes_context).names or ()

    @property
    def arguments(self) -> set[str]:
        """The names of the tags that hold arguments."""
        return set(self.tags) if NAMED in self.tags else set(self.tags) - {PLACED}


class CallShape:
    """Which calls a function takes."""

    def __init__(self, function: Callable[..., Any], *, takes_context: bool) -> None:
        whole = inspect.signature(function)
        parameters = list(whole.parameters.values())[1 if takes_context else 0 :]
        self._called = function.__name__
        self._signature = whole.replace(parameters=parameters)
        named = all(each.kind in PLAIN and _can_be_tag(each.name) for each in parameters)
        self.names = tuple(each.name for each in parameters) if named else None
        """Of its arguments, where each has one; else None."""

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raises TypeError as Python does for a call that does not fit."""
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._called}() {error}") from None


@cache
def _shape(function: Callable[..., Any], takes_context: bool) -> CallShape:  # noqa: FBT001 - a key
    return CallShape(function, takes_context=takes_context)


def _can_be_tag(name: str) -> bool:
    try:
        check_tag_name(name)
    except ArgumentError:
        return False
    return name not in {PLACED, NAMED}
