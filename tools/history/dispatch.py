"""Invariant 7: at each lease, no task that could have been leased instead ranked higher."""

from __future__ import annotations

from tools.history.bounds import Bounds
from tools.history.nodes import Node, Nodes
from tools.history.ready import Ready
from tools.history.world import Task, World


class Dispatch:
    """The rule of dispatch, as docs/explanation/dispatch-order.md has it."""

    def __init__(self, world: World, ready: Ready, nodes: Nodes, bounds: Bounds) -> None:
        self._world = world
        self._ready = ready
        self._nodes = nodes
        self._bounds = bounds
        self.is_blind = False
        """A newer eventq has said something of the queue: what comes first, only it knows."""

    def judge(self, seq: int, task: Task, worker: str) -> None:
        """Reports a lease of what the node cannot run, or may not now, or that comes later."""
        node, report = self._nodes.get(worker), self._world.report
        if (self.is_blind or task.is_foreign) and not self._nodes.is_newer(node):
            report(7, seq, f"node {worker} leases task {task.number}: it takes a newer eventq")
            return
        if self.is_blind or task.is_foreign:
            return
        if not node.runs(task) or (node.lanes is not None and task.lane not in node.lanes):
            report(7, seq, f"node {worker} does not run {task.name} of lane {task.lane}")
            return
        if self._bounds.is_used and (kept := self._bounds.keeps(task)) is not None:
            report(kept[0], seq, kept[1])
            return
        first = self._first(node, task.lane)
        if first is not task:
            rank = "has no rank" if first is None else f"comes behind task {first.number}"
            report(7, seq, f"task {task.number} {rank}")

    def _first(self, node: Node, lane: str) -> Task | None:
        """The task that the node should lease: eligible, and ranked before all other such."""
        world, bounds = self._world, self._bounds
        lanes, takes_turns = node.lanes_beside(lane), bounds.shared is not None
        best: Task | None = None
        best_rank: tuple[int, int, int, int] | None = None
        full = set()
        for priority, at, number in self._ready.come(world.now):
            if best_rank is not None and (not takes_turns or priority != best_rank[0]):
                break
            task = world.tasks[number]
            if task.expires_at is not None and task.expires_at <= world.now:
                continue
            if not node.runs(task) or (lanes is not None and task.lane not in lanes):
                continue
            if bounds.is_used:
                if task.buckets in full:
                    continue
                if (kept := bounds.keeps(task)) is not None:
                    if kept[0] == 16:
                        full.add(task.buckets)
                    continue
            rank = (priority, bounds.ahead(task) if takes_turns else 0, at, number)
            if best_rank is None or rank < best_rank:
                best, best_rank = task, rank
        return best
