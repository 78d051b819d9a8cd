"""Nodes that hold tasks which they do not run: one that was killed, one that leases ahead."""

from __future__ import annotations

from collections.abc import Iterable

from eventq import Context, Queue, Task
from eventq.core.command import Draft
from eventq.core.events import Leased
from tests.commands import MadeCommand
from tests.support import Gate, node_of


def lease_tasks(queue: Queue, numbers: Iterable[int], *, ttl_us: int) -> None:
    """Leases these tasks, none of them for the second time, for the queue's node."""
    node, left = node_of(queue), list(numbers)
    while left:
        some, left = left[:1_000], left[1_000:]
        drafts: list[Draft] = [(number, Leased(1, node.name, ttl_us)) for number in some]
        node.execute(MadeCommand(lambda _, drafts=drafts: drafts, leasing=True))  # type: ignore[misc]


class Slow:
    """A worker that stays at a gate in the task ``slow``, while its node has leased those behind.

    Fifty quick tasks come first: by their pace the node leases ahead.
    """

    def __init__(self, queue: Queue, *behind: str) -> None:
        self.gate = Gate()
        self.begun: list[str] = []
        """The keys of the tasks that it was called for, but for the quick ones."""
        queue.new_many([{}] * 50, priority=1)
        for key in ("slow", *behind):
            queue.new(key=key)

    def __call__(self, _ctx: Context, task: Task) -> None:
        """Does nothing, but for the slow one."""
        if task.caller_key is not None:
            self.begun.append(task.key)
        if task.key == "slow":
            self.gate()
