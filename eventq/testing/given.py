"""What a harness is given, checked: handlers, followers, and when it begins.

Nothing is opened or called here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from eventq.core.validation import check_instant
from eventq.errors import ArgumentError
from eventq.handlers.collection import Handlers
from eventq.handlers.follow import Follow
from eventq.handlers.registry import Registry
from eventq.queue import Queue


def listed(handlers: object) -> list[Handlers | Queue]:
    """The collections and queues whose handlers are meant. Raises ArgumentError."""
    expected = "a list of eventq.Handlers, or of queues that have handlers"
    if isinstance(handlers, (Handlers, Queue)) or not isinstance(handlers, Iterable):
        raise ArgumentError("handlers", handlers, expected)
    given = list(handlers)
    for each in given:
        if not isinstance(each, (Handlers, Queue)):
            raise ArgumentError("handlers", each, expected)
    return given


def instant_of(start: datetime | str) -> datetime:
    """The instant at which a harness begins. Raises ArgumentError."""
    expected = "an instant with its time zone, like 2027-03-28T00:00:00+01:00"
    try:
        at = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        raise ArgumentError("start", start, expected) from None
    check_instant(at, "start")
    return at


def follows_of(registries: Iterable[Registry]) -> list[Follow]:
    """The follows of them all. Raises ArgumentError for two of one name."""
    found: dict[str, Follow] = {}
    for follow in (each for registry in registries for each in registry.follows()):
        if found.setdefault(follow.name, follow) is not follow:
            raise ArgumentError("handlers", follow.name, "a name that no other follower has")
    return list(found.values())
