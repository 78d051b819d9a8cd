"""Which tasks a test has made, found by their handler and its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from eventq.core.events import Created
from eventq.core.validation import encode_tags
from eventq.errors import ArgumentError
from eventq.handlers.handler import Handler
from eventq.queue import Queue

# So many tasks are named where none is as it should be.
NAMED_COUNT = 10

AnyTarget = Handler[..., Any, Any] | str


class Made(Struct, frozen=True):
    """A task as it was made."""

    key: str
    tags: dict[str, Any]


class CreatedSearch:
    """A handler, by itself or its name (None: any), and values of some of its arguments."""

    def __init__(self, target: AnyTarget | None, arguments: Mapping[str, object]) -> None:
        """Raises TypeError for an argument that the handler does not take, and ArgumentError."""
        self.name = name_of(target) if target is not None else None
        if isinstance(target, Handler):
            for name in arguments:
                if name not in target.signature.names | target.tags.keys():
                    raise TypeError(f"{self.name} takes no argument {name!r}")
        self._values = [
            (name, msgspec.json.decode(encode_tags(value, name)))
            for name, value in arguments.items()
        ]

    def find(self, queue: Queue) -> Iterator[Made]:
        """Such tasks, in the order in which they were made."""
        for made in self._of_name(queue):
            if all(name in made.tags and made.tags[name] == each for name, each in self._values):
                yield made

    def text(self) -> str:
        """As a call, for messages."""
        values = ", ".join(f"{name}={value!r}" for name, value in self._values)
        return f"{self.name or 'any handler'}({values})"

    def others(self, queue: Queue) -> str:
        """What there is of the handler instead, for messages."""
        lines = [f"  task {made.key}: {made.tags!r}" for made in self._of_name(queue)]
        more = [f"  and {len(lines) - NAMED_COUNT} more"] if len(lines) > NAMED_COUNT else []
        return "\n".join([*lines[:NAMED_COUNT], *more]) or "  none at all"

    def _of_name(self, queue: Queue) -> Iterator[Made]:
        """All tasks of the handler, whatever their arguments."""
        for event in queue.events():
            body = event.body
            if type(body) is Created and self.name in {None, body.name}:
                key = str(event.task) if body.key is None else body.key
                yield Made(key, msgspec.json.decode(body.tags))


def name_of(target: object) -> str:
    """The name of a handler, which may itself be a name. Raises ArgumentError."""
    if isinstance(target, Handler):
        return target.name
    if isinstance(target, str):
        return target
    raise ArgumentError("handler", target, "a handler, or its name")
