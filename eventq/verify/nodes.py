"""What each node has said it can run, and what it holds in each lane; nothing of core's is asked.

A node that has not joined takes what has no name, in any lane.
"""

from __future__ import annotations

import re
from collections import Counter

from msgspec import Struct

from eventq.core.queue_events import Joined
from eventq.verify.seen import Choice, Seen, are_foreign
from eventq.verify.terms import BrokenError

PLAIN: tuple[Choice, ...] = (Choice(),)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}", re.ASCII)
PATTERN = re.compile(r"[A-Za-z0-9_.:/*-]{1,128}", re.ASCII)


class _Node(Struct):
    """One node that has joined: what it chooses among, lane by lane where it has said lanes."""

    choices: dict[str | None, Choice]
    slots: dict[str, int]
    held: Counter[str]
    """Its leases in each lane."""


class JoinedNodes:
    """The nodes that have joined, by name."""

    def __init__(self, tasks: dict[int, Seen]) -> None:
        self._tasks = tasks
        self.joined: dict[str, _Node] = {}
        """Most logs have none; then there is nothing to count."""
        self.is_partial = False
        """The log began before what is looked at, so that a node may have joined unseen."""

    def join(self, body: Joined) -> None:
        """Takes in what a node says. Raises BrokenError where no node would say so."""
        _check(body)
        lanes: list[str | None] = [None] if body.lanes is None else [*body.lanes]
        known = self.joined.get(body.worker)
        held = self._counted(body.worker) if known is None else known.held
        choices = {lane: Choice(body.names, body.unnamed, lane) for lane in lanes}
        self.joined[body.worker] = _Node(choices, body.lanes or {}, held)

    def leave(self, worker: str) -> None:
        """The node runs nothing more, unless it is as one that has never joined."""
        self.joined.pop(worker, None)

    def choices(self, worker: str, task: Seen) -> tuple[Choice, ...]:
        """What the node had to choose among when it took the task; none where nobody can say.

        Raises BrokenError where the task is not one that the node can run.
        """
        node = self.joined.get(worker)
        if node is None:
            if task.name is not None and not self.is_partial:
                raise BrokenError("handled", f"node {worker} has not said that it runs {task.name}")
            return () if task.name is not None or are_foreign(task.needs) else PLAIN
        choice = node.choices.get(None) or node.choices.get(task.lane)
        if choice is None:
            raise BrokenError("handled", f"node {worker} does not take from lane {task.lane}")
        # Whether it knows what a task needs, it has not said.
        if are_foreign(task.needs):
            return ()
        if not choice.holds(task):
            raise BrokenError("handled", f"node {worker} does not run {task.name or 'unnamed'}")
        if choice.lane is None:
            return (choice,)
        return (
            choice,
            *(
                other
                for lane, other in node.choices.items()
                if lane and lane != task.lane and node.held[lane] < node.slots[lane]
            ),
        )

    def hold(self, worker: str, lane: str) -> None:
        """The node has leased a task of the lane."""
        node = self.joined.get(worker)
        if node is not None:
            node.held[lane] += 1

    def let_go(self, task: Seen) -> None:
        """The task is leased no more."""
        node = self.joined.get(task.worker) if task.worker is not None else None
        if node is not None:
            node.held[task.lane] -= 1

    def _counted(self, worker: str) -> Counter[str]:
        """What a node held before it joined; O(open tasks)."""
        return Counter(
            task.lane
            for task in self._tasks.values()
            if task.state == "leased" and task.worker == worker
        )


def check_route(name: str | None, lane: str | None, needs: tuple[str, ...]) -> None:
    """Raises BrokenError where a name, a lane or a need is none."""
    for what in (name, lane, *needs):
        if what is not None and not NAME.fullmatch(what):
            raise BrokenError("name", f"{what!r:.80} is no name")


def _check(body: Joined) -> None:
    if not body.worker:
        raise BrokenError("node", "joined without a name")
    if body.ttl_us <= 0:
        raise BrokenError("node", "joined for no time")
    if body.slots < 0 or any(count < 0 for count in (body.lanes or {}).values()):
        raise BrokenError("node", "joined with less than no slots")
    for lane in body.lanes or {}:
        check_route(None, lane, ())
    for pattern in body.names:
        if not PATTERN.fullmatch(pattern):
            raise BrokenError("name", f"{pattern!r:.80} is no name and no pattern")
