"""Which tasks a node may run: by their names, their lanes, and the words they need.

Nothing here knows tasks or nodes; an audience is compared with routes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct

from eventq.core.queue_events import Joined
from eventq.core.task import DEFAULT_LANE, Route

# Words of `created.needs` that this version knows.
AFTER, LIMITS = "after", "limits"
KNOWN_NEEDS = frozenset({AFTER, LIMITS})
EVERY_NAME = "*"


class Audience(Struct, frozen=True, cache_hash=True):
    """What one run takes. ``names`` are names or patterns with ``*``; "*" alone is everything."""

    names: tuple[str, ...] = ()
    unnamed: bool = True
    lanes: tuple[str, ...] | None = None
    """None: from all of them."""

    def accepts(self, route: Route) -> bool:
        """Whether a node with this audience may run tasks of the route; remembered."""
        return _accepts(self, route.base)


PLAIN_AUDIENCE = Audience()
EVERYTHING = Audience((EVERY_NAME,))


def audience_of(body: Joined) -> Audience:
    """What a node has said it can run."""
    lanes = None if body.lanes is None else tuple(sorted(body.lanes))
    return Audience(body.names, body.unnamed, lanes)


@lru_cache(maxsize=10_000)
def _accepts(audience: Audience, route: Route) -> bool:
    if not KNOWN_NEEDS.issuperset(route.needs):
        return False
    if audience.lanes is not None and (route.lane or DEFAULT_LANE) not in audience.lanes:
        return False
    if route.name is None:
        return audience.unnamed or EVERY_NAME in audience.names
    return any(matches(route.name, pattern) for pattern in audience.names)


def matches(name: str, pattern: str) -> bool:
    """Whether a name is the pattern's; ``*`` in it stands for any text."""
    if name == pattern or EVERY_NAME not in pattern:
        return name == pattern
    parts = map(re.escape, pattern.split(EVERY_NAME))
    return re.fullmatch(".*".join(parts), name) is not None
