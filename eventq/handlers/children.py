"""The tasks that an attempt makes with its completion: what may be asked for, and how much of it.

Nothing here makes one; the commit of the completion does.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.core.create import NewTask
from eventq.core.new_task import event_count, size_bytes
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS, RESULT_BYTES
from eventq.errors import ArgumentError

# Beside the completion, in one commit.
MOST_CHILDREN = COMMIT_EVENTS - 1
# The result of the attempt has its place in that commit, and so has a block of leases.
CHILDREN_BYTES = COMMIT_BYTES - RESULT_BYTES - 64 * 1024
TOO_MANY = f"no more than {MOST_CHILDREN} tasks and {CHILDREN_BYTES // 1024} KiB in one commit"


class NewTaskRef(Struct, frozen=True):
    """A task that will be made as its attempt, or transaction, ends; it has no number yet."""

    index: int
    """How many were asked for before it."""
    key: str | None
    """The caller's key, by which it can be found once it is there."""


class Children:
    """The orders of one attempt, in the order in which it asked for them."""

    __slots__ = ("event_count", "orders", "size_bytes")

    def __init__(self) -> None:
        self.orders: list[NewTask] = []
        self.event_count = 0
        self.size_bytes = 0

    def add(self, orders: list[NewTask]) -> list[NewTaskRef]:
        """Takes all of them or none. Raises ArgumentError for too many."""
        first = len(self.orders)
        more_bytes = sum(map(size_bytes, orders))
        more_events = sum(map(event_count, orders))
        is_full = self.event_count + more_events > MOST_CHILDREN
        if is_full or self.size_bytes + more_bytes > CHILDREN_BYTES:
            raise ArgumentError("tasks", first + len(orders), TOO_MANY)
        self.orders += orders
        self.event_count += more_events
        self.size_bytes += more_bytes
        return [NewTaskRef(index, order.key) for index, order in enumerate(orders, first)]
