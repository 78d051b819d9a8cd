"""Which running nodes can take a task, what keeps them from it, and what they choose among.

A node runs while it holds leases or has joined lately. One that has not joined takes what has no
name, in any lane, and whether there is one the log does not say before it leases.
"""

from __future__ import annotations

from functools import cache

from msgspec import Struct
from msgspec.structs import replace

from eventq.audit.dispatch_rank import Choice
from eventq.core.audience import KNOWN_NEEDS, PLAIN_AUDIENCE, Audience, audience_of
from eventq.core.projection import Projection
from eventq.core.queue_events import Joined
from eventq.core.task import DEFAULT_LANE, Route, Task


class Handling(Struct, frozen=True):
    """Who can take a task at an instant."""

    task: Task
    nodes: list[str]
    """Running nodes that handle its name in its lane, by name."""
    full: list[str]
    """Those of them that hold as many leases of its lane as they have slots there."""
    elsewhere: list[str]
    """Running nodes that handle its name, but in other lanes only."""

    @property
    def problem(self) -> str | None:
        """Why no node takes it, in words; None where one may."""
        task = self.task
        unmet = sorted(set(task.needs) - KNOWN_NEEDS)
        if unmet:
            return f"it needs {' and '.join(unmet)}, which only a newer eventq knows"
        if task.name is not None and not self.nodes:
            lane = f" in lane {task.lane}" if self.elsewhere else ""
            return f"no running node handles {task.name}{lane}"
        if task.name is not None and len(self.full) == len(self.nodes):
            nodes = ", ".join(self.full)
            return f"all slots for lane {task.lane} are taken on {nodes}"
        return None

    @property
    def words(self) -> str | None:
        """Which nodes handle it; None where any plain one may."""
        if not self.nodes:
            return None
        what = self.task.name or "what has no name"
        return f"{what} is handled by {', '.join(self.nodes)}"


def handling_of(projection: Projection, task: Task, now: int) -> Handling:
    """Who can take the task; O(nodes and their leases)."""
    members = sorted(projection.alive_members(now), key=lambda member: member.joined.worker)
    # Whether a node knows what a task needs it does not say.
    route = replace(task.route, needs=())
    anywhere = [m.joined for m in members if _in_any_lane(m.joined).accepts(route)]
    here = [body for body in anywhere if audience_of(body).accepts(route)]
    return Handling(
        task,
        [body.worker for body in here],
        [body.worker for body in here if task.lane in full_lanes(projection, body)],
        [body.worker for body in anywhere if body not in here],
    )


def rivals_of(projection: Projection, task: Task, now: int) -> Choice:
    """The routes that the nodes which can take the task choose among; all, where there is none."""
    route = replace(task.route, needs=())
    audiences = {audience_of(member.joined) for member in projection.alive_members(now)}
    audiences = {audience for audience in audiences if audience.accepts(route)}
    if task.name is None:
        audiences.add(PLAIN_AUDIENCE)
    if not audiences:
        # Whoever comes may take all.
        return lambda _: True
    return cache(
        lambda other: other == task.route or any(each.accepts(other) for each in audiences)
    )


def choice_of(projection: Projection, worker: str, task: Task) -> Choice:
    """The routes that a node chose among when it took the task: without its full lanes."""
    audience = projection.members.audience(worker)
    member = projection.members.by_name.get(worker)
    full = set() if member is None else full_lanes(projection, member.joined)

    def chosen(other: Route) -> bool:
        lane = other.lane or DEFAULT_LANE
        return audience.accepts(other) and (lane == task.lane or lane not in full)

    return cache(chosen)


def full_lanes(projection: Projection, body: Joined) -> set[str]:
    """The lanes of which a node holds as many leases as it has slots; none without slots a lane."""
    if body.lanes is None:
        return set()
    held = [projection.tasks[number].lane for number in projection.leases_of(body.worker)]
    return {lane for lane, slots in body.lanes.items() if held.count(lane) >= slots}


def _in_any_lane(body: Joined) -> Audience:
    return Audience(body.names, body.unnamed)
