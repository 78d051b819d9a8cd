"""Commands as producers, managers and runners give them to a node."""

from __future__ import annotations

import msgspec

from eventq.core import decide
from eventq.core.decide import NEW, Draft
from eventq.core.events import Created, Policy
from eventq.node.commit_plan import Command
from eventq.node.node import Node

POLICY = Policy("linear", 1_000_000)


def creation(
    count: int = 1, *, tags: bytes = b"{}", key: str | None = None, blind: bool = True
) -> Command:
    """A producer's command."""
    drafts: list[Draft] = [
        (NEW, Created(policy=POLICY, key=key, tags=msgspec.Raw(tags))) for _ in range(count)
    ]
    return Command(lambda _: drafts, blind=blind)


def cancellation(node: Node, key: str) -> Command:
    """A manager's command."""
    return Command(lambda _: decide.cancel(node.find(key), reason="", by=None))


def leasing(node: Node, count: int = 1) -> Command:
    """A runner's command."""
    return Command(
        lambda now: decide.lease(
            node.projection, worker=node.name, ttl_us=1_000_000, count=count, room=1_000, now=now
        ),
        leasing=True,
    )
