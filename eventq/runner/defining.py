"""What a run says when it begins: the limits, turns and schedules that its code defines.

Each of them is said once; what the log says of a newer definition stands.
"""

from __future__ import annotations

from collections.abc import Iterable

from eventq.core.queue_events import Planned
from eventq.core.scheduling import PlanSchedules
from eventq.handlers.definitions import AnyDefinition, name_of
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.runner.options import RunOptions
from eventq.runner.ticking import PORTION_BYTES, PORTION_EVENTS
from eventq.runner.workload import Workload
from eventq.schedules.plans import plan_of, tick_bytes

logger = SafeLogger("eventq.runner")

NOT_DEFINED = "%(rule)s is not set as this code defines it: %(problem)s"
OLDER = (
    "schedule %(schedule)s stays as the log has it: this code's definition was replaced before; "
    "to go back to it, give it a higher version"
)


class Defining:
    """Sets what the code of one run defines; what an error leaves is set by the next round."""

    def __init__(self, node: Node, workload: Workload, options: RunOptions) -> None:
        self._node = node
        self._workload = workload
        self._chance = options.chance
        self._rules = list(workload.rules)
        self._has_planned = not workload.schedules

    def define(self) -> None:
        """Sets limits and turns first, which the tasks of schedules may name."""
        while self._rules:
            self._define(self._rules[0])
            del self._rules[0]
        if not self._has_planned:
            self._plan()
            self._has_planned = True

    def _define(self, definition: AnyDefinition) -> None:
        problem = self._node.execute(definition).result
        if problem is not None:
            values = {"rule": name_of(definition), "problem": problem}
            logger.warning(NOT_DEFINED, values, extra=values)

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


def _portions(plans: Iterable[Planned]) -> list[tuple[Planned, ...]]:
    portions: list[list[Planned]] = [[]]
    size_bytes = 0
    for plan in plans:
        plan_bytes = tick_bytes(plan.call)
        if portions[-1] and (
            size_bytes + plan_bytes > PORTION_BYTES or len(portions[-1]) == PORTION_EVENTS
        ):
            portions.append([])
            size_bytes = 0
        portions[-1].append(plan)
        size_bytes += plan_bytes
    return [tuple(portion) for portion in portions if portion]
