"""Changes to many tasks, and what is taken back again: seen first, made at once or later.

What a process has begun and not ended is ended by another; nothing here decides about tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from eventq.catalog.plan import Applied, Plan
from eventq.catalog.undo_rules import RulePlan
from eventq.errors import EventqError, LogOutcomeUnknownError, LogUnavailableError
from eventq.queue import Queue
from tools.simulate.workloads import LANES, NAMES
from tools.simulate.world import NodeDiedError, World

# What was done last is what people take back, as a rule.
LAST = 8


class Changes:
    """What callers change of many tasks at once, and what they take back."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plans: list[tuple[Queue, Plan]] = []
        """What was seen and may be made, or made once more, by the process that has seen it."""

    def bulk(self, queue: Queue, by: str) -> None:
        """A change to many tasks: one that is new, or that was seen some time ago."""
        chance = self._world.chance
        own = [plan for asked, plan in self._plans if asked is queue]
        if own and chance.one_in(2):
            self._apply(queue, chance.pick(own), by)
            return
        plan = self._seen(queue)
        self._plans.append((queue, plan))
        if plan.count and not chance.one_in(3):
            self._apply(queue, plan, by)

    def finish(self, queue: Queue) -> None:
        """Makes what is left of a change that has broken off, goes on elsewhere, or is over."""
        world, chance = self._world, self._world.chance
        going = world.bulks_going_on()
        known = list(world.bulks)[-LAST:] if not going or chance.one_in(3) else going
        if not known:
            return
        number = chance.pick(known)
        queue.finish_bulk(number)
        if number in going and world.bulks[number] != queue._node.name:  # noqa: SLF001 - the other half of its queue
            world.sometimes["a change to many finished by another node"] += 1

    def undo(self, queue: Queue, by: str) -> None:
        """Takes back what somebody did by hand, or a change to many, or an undo."""
        world, chance = self._world, self._world.chance
        known = list(world.bulks) if world.bulks and chance.one_in(2) else world.by_hand
        if not known:
            return
        last = known[-1:] if chance.one_in(2) else known[-LAST:]
        position = chance.pick(last if chance.random() < 0.8 else known)
        plan = queue.undo(position)
        if isinstance(plan, RulePlan):
            plan.apply(by=by)
            world.sometimes["a rule taken back"] += 1
            return
        done = self._apply(queue, plan, by)
        moved_on = len(plan.moved_on) + len(done.moved_on)
        world.sometimes["an undo"] += done.changed > 0
        world.sometimes["an undo refused in part"] += done.changed > 0 and moved_on > 0
        world.sometimes["an undo of an undo"] += done.changed > 0 and position in world.undone

    def finish_all(self, queue: Queue) -> None:
        """Ends whatever goes on, once faults are over; what is archived alone is left as it is."""
        for number in self._world.bulks_going_on():
            try:
                queue.finish_bulk(number)
            except (LogUnavailableError, LogOutcomeUnknownError):
                raise
            except EventqError as error:
                self._world.sometimes[f"not finished: {type(error).__name__}"] += 1

    def _seen(self, queue: Queue) -> Plan:
        chance = self._world.chance
        selection = queue.select(**self._selector())
        asks: list[Callable[[], Plan]] = [
            selection.retry,
            lambda: selection.retry(rate=chance.pick(("1/1s", "5/1m", "3/1m"))),
            selection.cancel,
            lambda: selection.update(priority=chance.below(4)),
            lambda: selection.update(delay=chance.pick((0, 3, 30))),
            lambda: selection.update(tags={"tenant": chance.pick(("big", "s"))}),
            lambda: selection.update(lane=chance.pick(LANES)),
        ]
        return chance.pick(asks)()

    def _selector(self) -> dict[str, Any]:
        chance = self._world.chance
        choices: list[dict[str, Any]] = [
            {"state": "expired"},
            {"state": ["expired", "cancelled"]},
            {"state": ["ready", "scheduled"]},
            {"state": ["leased", "waiting"]},
            {"state": "cancelled", "since": "-30s"},
            {"name": chance.pick(NAMES)},
            {"lane": "heavy"},
            {"tags": {"tenant": chance.pick(("big", "s", "t"))}},
            {"error": "ValueError"},
            {"min_attempts": 2},
            {"lapsed": True},
            {"created_after": chance.pick(("-2s", "-1m", "-1h"))},
        ]
        return chance.pick(choices)

    def _apply(self, queue: Queue, plan: Plan, by: str) -> Applied:
        """Makes it; others act before that, and between its portions, in which it may die."""
        world, chance, name = self._world, self._world.chance, queue._node.name  # noqa: SLF001 - as above

        def told(done: int, count: int) -> None:
            if done >= count or world.is_calm:
                return
            if chance.one_in(8):
                world.sometimes["death in a change to many"] += 1
                raise NodeDiedError
            if chance.one_in(3):
                world.interlope(name)

        if chance.one_in(2):
            world.interlope(name)
        is_again = plan.id is not None
        done = plan.apply(by=by, progress=told)
        some_moved = bool(done.changed and done.moved_on)
        world.sometimes["a change to many"] += done.changed > 0
        world.sometimes["a change to many, some moved on"] += some_moved
        world.sometimes["a change to many made again"] += is_again
        return done
