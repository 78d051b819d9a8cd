"""Nodes that take tasks and do nothing more with them, as a process that was killed."""

from __future__ import annotations

from collections.abc import Iterable

from eventq import Queue
from eventq.core.command import Draft
from eventq.core.events import Leased
from tests.commands import MadeCommand
from tests.support import node_of


def lease_tasks(queue: Queue, numbers: Iterable[int], *, ttl_us: int) -> None:
    """Leases these tasks, none of them for the second time, for the queue's node."""
    node, left = node_of(queue), list(numbers)
    while left:
        some, left = left[:1_000], left[1_000:]
        drafts: list[Draft] = [(number, Leased(1, node.name, ttl_us)) for number in some]
        node.execute(MadeCommand(lambda _, drafts=drafts: drafts, leasing=True))  # type: ignore[misc]
