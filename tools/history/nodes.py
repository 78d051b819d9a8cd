"""What each node has said that it runs, what it holds, and when it last gave a sign of life."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tools.history.facts import Body
from tools.history.world import BrokenError, Task, World

LAPSE = "LeaseLapsed"


@dataclass
class Node:
    """One node. Until it says otherwise it takes what has no name, in any lane."""

    name: str
    names: list[str] = field(default_factory=list)
    unnamed: bool = True
    lanes: dict[str, int] | None = None
    version: str | None = None
    held: Counter[str] = field(default_factory=Counter)
    """Its leases in each lane."""
    sign_at: int | None = None
    """When it really gave its last sign of life, where somebody knows."""
    ttl_us: int = 0
    known: dict[str, bool] = field(default_factory=dict)
    """Which names it has been asked about fit."""

    def runs(self, task: Task) -> bool:
        """Whether the task is one of those that it runs, but for lanes and places."""
        if task.is_foreign:
            return False
        if task.name is None:
            return self.unnamed or "*" in self.names
        known = self.known.get(task.name)
        if known is None:
            known = self.known[task.name] = any(fits(task.name, each) for each in self.names)
        return known

    def lanes_beside(self, lane: str) -> set[str] | None:
        """The lanes it chose among when it took a task of this one; None: all.

        It passes over a lane only while it holds as many of that lane's tasks as it has slots.
        """
        if self.lanes is None:
            return None
        return {lane, *(each for each, slots in self.lanes.items() if self.held[each] < slots)}


class Nodes:
    """The nodes by name. ``newer`` are versions of eventq that know more than this checker."""

    def __init__(self, world: World, newer: Collection[str], lapse_slack: float) -> None:
        self.by_name: dict[str, Node] = {}
        self._world = world
        self._newer = newer
        self._slack = lapse_slack

    def get(self, name: str) -> Node:
        """The node of this name, which may have said nothing yet."""
        node = self.by_name.get(name)
        if node is None:
            node = self.by_name[name] = Node(name)
        return node

    def is_newer(self, node: Node) -> bool:
        """Whether it may know what this checker does not."""
        return node.version in self._newer

    def join(self, body: Body) -> None:
        """Takes in what a node says of itself."""
        node = self.get(body["worker"])
        slots, lanes = body["slots"], body.get("lanes")
        if (
            not node.name
            or body["ttl_us"] <= 0
            or slots < 0
            or min((lanes or {"": 0}).values()) < 0
        ):
            raise BrokenError("node", "joined without a name, for no time, or with negative slots")
        node.names, node.unnamed = body.get("names", []), body.get("unnamed", False)
        node.lanes, node.version = lanes, body["version"]
        node.known.clear()

    def leave(self, body: Body) -> None:
        """The node runs nothing more: it is as one that has never said anything."""
        node = self.get(body["worker"])
        node.names, node.unnamed, node.lanes, node.version = [], True, None, None
        node.known.clear()

    def renew(self, body: Body) -> None:
        """The node keeps its leases."""
        self.sign(body["worker"], body["ttl_us"])

    def sign(self, worker: str, ttl_us: int) -> Node:
        """The node leases or renews."""
        if ttl_us <= 0:
            raise BrokenError(13, "a lease for no time")
        node = self.get(worker)
        node.sign_at, node.ttl_us = self._world.true_at, ttl_us
        return node

    def judge_lapse(self, seq: int, task: Task, error: Body) -> None:
        """Invariant 13: nobody is judged before its time is over."""
        assert task.worker is not None
        node, at = self.get(task.worker), self._world.true_at
        if node.name not in error.get("message", "").split():
            self._world.report(13, seq, f"the lapse of {node.name} says {error.get('message')!r}")
        if at is None or node.sign_at is None:
            return
        silent_us = at - node.sign_at
        if silent_us < node.ttl_us * (1 - self._slack):
            text = f"node {node.name} has lapsed after {silent_us} us, of {node.ttl_us}"
            self._world.report(13, seq, text)


def fits(name: str, pattern: str) -> bool:
    """Whether the name is the pattern's, in which ``*`` stands for any text."""
    if "*" not in pattern:
        return name == pattern
    head, rest = pattern.split("*", 1)
    if not name.startswith(head):
        return False
    tail = name[len(head) :]
    return any(fits(tail[cut:], rest) for cut in range(len(tail) + 1))
