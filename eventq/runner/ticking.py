"""Schedules in a run: it plans those of its code, and ticks the dues of all that have come.

Any node does so, and whichever comes first; nothing is kept here that another one would need.
"""

from __future__ import annotations

from collections.abc import Iterable

from eventq.core.events import Planned, Ticked
from eventq.core.projection import Projection
from eventq.core.schedules import Schedule
from eventq.core.scheduling import PlanSchedules, Tick, TickSchedules
from eventq.errors import ArgumentError
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.runner.options import RunOptions
from eventq.runner.workload import Workload
from eventq.schedules.plans import plan_of, tick_of

logger = SafeLogger("eventq.runner")

# One commit plans or ticks so much at the most, so that others find room in it and after it.
PORTION_EVENTS = 400
PORTION_BYTES = 256 * 1024
# What a tick and its task take beside the tags, at the most.
TICK_BYTES = 1_500
OLDER = (
    "schedule %(schedule)s stays as the log has it: this code's definition was replaced before; "
    "to go back to it, give it a higher version"
)
UNKNOWN_ZONE = "schedule %(schedule)s cannot be ticked by this node: %(error)s"
MISSED = "schedule %(schedule)s has missed %(count)s dues"


class Ticking:
    """Plans and ticks schedules for one run."""

    def __init__(self, node: Node, workload: Workload, options: RunOptions) -> None:
        self._node = node
        self._workload = workload
        self._chance = options.chance
        self._has_planned = not workload.schedules
        # Those whose dues this process cannot compute, with the event that was looked at.
        self._beyond: dict[str, int] = {}

    def look(self, projection: Projection, *, now: int) -> tuple[Tick, ...]:
        """What is to be ticked, a portion of it; for `tick`."""
        if not projection.schedules:
            return ()
        found: list[Tick] = []
        events = size_bytes = 0
        for ticks_at, name in projection.schedules.coming():
            if ticks_at > now or events >= PORTION_EVENTS or size_bytes >= PORTION_BYTES:
                break
            known = projection.schedules.by_name[name]
            if (tick := self._tick_of(known, now)) is not None:
                each_bytes = len(bytes(known.planned.call.tags)) + TICK_BYTES
                fits = max(1, (PORTION_BYTES - size_bytes) // each_bytes)
                tick = Tick(name, tick.seen, tick.bodies[:fits])
                found.append(tick)
                events += 2 * len(tick.bodies)
                size_bytes += each_bytes * len(tick.bodies)
        return tuple(found)

    def next_instant(self, projection: Projection) -> int | None:
        """When the next schedule ticks that this node can tick."""
        if not projection.schedules:
            return None
        coming = projection.schedules.coming()
        return next((at for at, name in coming if name not in self._beyond), None)

    def tick(self, ticks: tuple[Tick, ...]) -> bool:
        """Plans what is to be planned, then ticks; returns whether there was anything to do."""
        plans = not self._has_planned
        if plans:
            self._plan()
        if ticks:
            for _, body in self._node.execute(TickSchedules(ticks)).events:
                if isinstance(body, Ticked) and body.outcome == "missed":
                    values = {"schedule": body.schedule, "count": body.count}
                    logger.warning(MISSED, values, extra=values)
        return plans or bool(ticks)

    def _plan(self) -> None:
        coded, policy = self._workload.schedules, self._workload.policy
        now = self._node.now()
        plans = [plan_of(each, policy, now=now, draw=self._chance()) for each in coded]
        versions = {each.name: each.version for each in coded}
        for portion in _portions(plans):
            command = PlanSchedules(portion, tuple(versions[each.schedule] for each in portion))
            for name in self._node.execute(command).result:
                values = {"schedule": name}
                logger.warning(OLDER, values, extra=values)
        self._has_planned = True

    def _tick_of(self, known: Schedule, now: int) -> Tick | None:
        if self._beyond.get(known.name) == known.seq:
            return None
        try:
            tick = tick_of(known, now)
        except ArgumentError as error:
            self._beyond[known.name] = known.seq
            values = {"schedule": known.name, "error": str(error)}
            logger.warning(UNKNOWN_ZONE, values, extra=values)
            return None
        self._beyond.pop(known.name, None)
        return tick


def _portions(plans: Iterable[Planned]) -> list[tuple[Planned, ...]]:
    portions: list[list[Planned]] = [[]]
    size_bytes = 0
    for plan in plans:
        plan_bytes = len(bytes(plan.call.tags)) + TICK_BYTES
        if portions[-1] and (
            size_bytes + plan_bytes > PORTION_BYTES or len(portions[-1]) == PORTION_EVENTS
        ):
            portions.append([])
            size_bytes = 0
        portions[-1].append(plan)
        size_bytes += plan_bytes
    return [tuple(portion) for portion in portions if portion]
