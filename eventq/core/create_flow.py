"""Creating a flow: its members and finalisers, all in one commit or none."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.create import NewTask, created_by, existing_by_key, has_expired, resolved
from eventq.core.events import Expired
from eventq.core.link import Link, Linking, flow_name
from eventq.core.projection import Projection
from eventq.core.reference import TaskRef, sibling
from eventq.core.values import Verdict
from eventq.errors import ArgumentError, DuplicateTaskError, FlowExistsError, KeyConflictError


class CreateFlow(Struct, frozen=True):
    """Creates the tasks of a flow, which is found by its ``key`` for as long as the log reaches.

    Orders refer to those before them by their places, see `sibling`. The result is where the first
    task stands among the events. Raises FlowExistsError, KeyConflictError and DuplicateTaskError
    where something is there already, and as `resolved` and `Linking.linked`.
    """

    orders: list[NewTask]
    key: str | None = None
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[int]:
        """See Command.decide."""
        if self.key is not None:
            for number in past.find_keys([flow_name(self.key)]).values():
                raise FlowExistsError(self.key, number)
        self._check_keys(past, now)
        orders = resolved(self.orders, projection.governing.limits.per_of)
        drafts = self._freed(projection, now)
        begin = len(drafts)
        # A log finds an event by one key.
        first = next(i for i, order in enumerate(orders) if order.key is None)
        ended: dict[int, Verdict | None] = {number: "failed" for number, _ in drafts}
        linking, flow = Linking(projection, past, ended), sibling(begin + first)
        for index, order in enumerate(orders):
            body = created_by(order, now, flow=flow)
            if order.link is not None:
                body = linking.linked(body, _moved(order.link, begin), flow=flow)
            if index == first:
                body = replace(body, flow_key=self.key)
            drafts.append((NEW, body))
        return Decision(drafts, begin, is_linked=True)

    def _check_keys(self, past: PastTasks, now: int) -> None:
        for key, (event, _) in existing_by_key(self.orders, past, now).items():
            raise KeyConflictError(key, event.task, "its flow")

    def _freed(self, projection: Projection, now: int) -> list[Draft]:
        """The ends of tasks that are past their time and hold unique values of the flow's tasks."""
        drafts: list[Draft] = []
        for order in self.orders:
            holder = None if order.unique is None else projection.holder_of(order.unique)
            if holder is None:
                continue
            if not has_expired(holder, now):
                assert order.unique is not None
                raise DuplicateTaskError(order.unique, key=holder.key, task=holder.number)
            drafts.append((holder.number, Expired("max_age")))
        return drafts


def check_flow(orders: list[NewTask]) -> None:
    """Raises ArgumentError for what is no flow, or cannot be told apart in one."""
    if all(order.link is not None and order.link.role != "member" for order in orders):
        raise ArgumentError("flow", "no members", "at least one task beside the finalisers")
    if all(order.key is not None for order in orders):
        raise ArgumentError("flow", "only tasks with keys", "at least one task without a key")
    keys: set[str] = set()
    uniques: set[str] = set()
    for order in orders:
        if order.key is not None and order.key in keys:
            raise ArgumentError("key", order.key, "a key of its own for each task of a flow")
        if order.unique is not None and order.unique in uniques:
            raise DuplicateTaskError(order.unique, key=None, task=0)
        keys.update([order.key] if order.key is not None else [])
        uniques.update([order.unique] if order.unique is not None else [])


def _moved(link: Link, begin: int) -> Link:
    """The link where the orders' events stand behind others."""
    if not begin:
        return link

    def moved(ref: TaskRef) -> TaskRef:
        return ref - begin if isinstance(ref, int) and ref < 0 else ref

    return replace(
        link,
        after=tuple(map(moved, link.after)),
        given=tuple((name, moved(ref)) for name, ref in link.given),
    )
