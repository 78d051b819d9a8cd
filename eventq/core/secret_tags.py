"""What of a task's tags may be told to others than its worker: all but those that are secret.

Another tag that holds the value of a secret one tells it as well, and is left out with it.

Nothing here knows who asks; whoever reads the log itself has all tags.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from eventq.core.commits import AnyBody
from eventq.core.events import Created, Reopening, Retried, Updated
from eventq.core.plain import leaves_of
from eventq.core.queue_events import Planned
from eventq.core.values import Call

S = TypeVar("S", Created, Updated, Reopening, Call)

INSTEAD = "(secret)"
# A shorter text stands in too many others to tell anything.
LEAST_CHARACTERS = 3


def open_tags(tags_json: bytes | Raw, secret: tuple[str, ...]) -> bytes:
    """The tags without those of these names, as JSON."""
    text = bytes(tags_json)
    if not secret:
        return text
    tags = msgspec.json.decode(text)
    if not isinstance(tags, dict):
        # No eventq wrote these.
        return b"{}"
    held = {
        text
        for name in secret
        for text in _texts_in(tags.get(name))
        if len(text) >= LEAST_CHARACTERS
    }
    told = {name: value for name, value in tags.items() if name not in secret}
    return msgspec.json.encode({n: value for n, value in told.items() if not _has(value, held)})


def shown_tags(tags: dict[str, Any], secret: tuple[str, ...]) -> dict[str, Any]:
    """The tags with a word of ours for each value that is secret."""
    return {name: INSTEAD if name in secret else value for name, value in tags.items()}


def shown_tags_json(tags_json: bytes | Raw, secret: tuple[str, ...]) -> bytes:
    """The same as JSON."""
    tags = msgspec.json.decode(tags_json)
    # No eventq wrote others than an object.
    return msgspec.json.encode(shown_tags(tags, secret) if isinstance(tags, dict) else INSTEAD)


def shown_body(body: AnyBody) -> AnyBody:
    """An event's body with a word of ours for each value of a tag that is secret."""
    if isinstance(body, Retried) and body.reopens is not None:
        return replace(body, reopens=_shown(body.reopens))
    if isinstance(body, Planned):
        return replace(body, call=_shown(body.call))
    if isinstance(body, Created):
        return _shown(body)
    return _shown(body) if isinstance(body, Updated) else body


def _shown(said: S) -> S:
    if not said.secret or said.tags is UNSET:
        return said
    return replace(said, tags=Raw(shown_tags_json(said.tags, said.secret)))


def _has(value: object, held: set[str]) -> bool:
    """Whether one of the texts stands in a value."""
    return bool(held) and any(text in each for each in _texts_in(value) for text in held)


def _texts_in(value: object) -> Iterator[str]:
    """All that a JSON value says, as texts: names, too."""
    for each in leaves_of(value):
        if isinstance(each, str):
            yield each
        elif each is not None and not isinstance(each, bool):
            yield msgspec.json.encode(each).decode()
