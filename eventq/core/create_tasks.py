"""Creating tasks by themselves: the command of `Queue.new`, and what it needs to be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from operator import attrgetter
from typing import ClassVar

from msgspec import Struct

from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.create import Making, NewTask, created_by, resolved
from eventq.core.projection import Projection
from eventq.core.task import Task

# In C, since it is asked of every order.
_key_of = attrgetter("key")


def no_limit_tags() -> dict[str, str | None]:
    """The tags of limits where this process defines none."""
    return {}


class CreateTasks(Struct, frozen=True):
    """Creates all tasks or none. The result says for each order which task is its own.

    That is a task that is there already, by the order's key or unique value, or the index of the
    event that creates one. Only orders without a unique value that come after nothing, and whose
    buckets are known, are unconditional; see `creating`. Raises as `resolved` and `Making.make`.
    """

    orders: list[NewTask]
    unconditional: bool
    leasing: ClassVar[bool] = False

    def decide(
        self, projection: Projection, past: PastTasks, now: int
    ) -> Decision[list[int | Task]]:
        """See Command.decide."""
        orders = self.orders
        if self.unconditional and not any(map(_key_of, orders)):
            # As most are: none can be one that is there. A lone one is made without a loop.
            if len(orders) == 1:
                return Decision([(NEW, created_by(orders[0], now))], [0])
            drafts: list[Draft] = [(NEW, created_by(order, now)) for order in orders]
            return Decision(drafts, [*range(len(drafts))])
        if not self.unconditional:
            orders = resolved(orders, projection.governing.limits.per_of)
        made = Making(projection, past, now).make(orders, [])
        first = len(made.beside)
        places = [each if isinstance(each, Task) else first + each for each in made.places]
        return Decision([*made.beside, *made.created], places)


def creating(
    orders: list[NewTask], limit_tags: Callable[[], Mapping[str, str | None]] = no_limit_tags
) -> CreateTasks:
    """The command for these orders; ``limit_tags`` gives the tag of each limit defined here.

    It is asked only where an order has a limit. An order that is unique or linked, or has a limit
    that is defined elsewhere, is decided by the projection. Raises ArgumentError for a task that
    lacks the tag of its limit.
    """
    is_plain, has_limits = True, False
    for order in orders:
        is_plain = is_plain and order.unique is None and order.link is None
        has_limits = has_limits or order.route.buckets != ()
    if not has_limits:
        return CreateTasks(orders, is_plain)
    known = limit_tags()
    orders = resolved(orders, known.get)
    buckets = chain.from_iterable(order.route.buckets for order in orders)
    is_known = all(bucket.value is not None or bucket.limit in known for bucket in buckets)
    return CreateTasks(orders, is_plain and is_known)
