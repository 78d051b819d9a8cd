"""Commands as producers, managers and runners give them to a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.events import Created
from eventq.core.manage import CancelTask, ManageTask, UpdateTask
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.settle import SettleAndLease
from eventq.core.values import Policy
from eventq.node.node import Node

POLICY = Policy("linear", 1_000_000)


class MadeCommand(msgspec.Struct, frozen=True, eq=False):
    """A command whose decision a test gives as a function of the projection."""

    draft: Callable[[Projection], list[Draft]]
    unconditional: bool = False
    leasing: bool = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[Any]:
        """See Command.decide."""
        return Decision(self.draft(projection), None)


def creation(
    count: int = 1, *, tags: bytes = b"{}", key: str | None = None, unconditional: bool = True
) -> MadeCommand:
    """A producer's command."""
    drafts: list[Draft] = [
        (NEW, Created(policy=POLICY, key=key, tags=msgspec.Raw(tags))) for _ in range(count)
    ]
    return MadeCommand(lambda _: drafts, unconditional=unconditional)


def cancellation(key: str) -> ManageTask:
    """A manager's command."""
    return ManageTask(key, CancelTask())


def edit(key: str, priority: int) -> ManageTask:
    """Another one."""
    return ManageTask(key, UpdateTask(priority))


def leasing(node: Node, count: int = 1) -> SettleAndLease:
    """A runner's command."""
    return SettleAndLease(node.name, [], 1_000_000, Vacancy(count))
