"""What `AsyncQueue` is made of: calls in threads, the log followed in a loop, schedules, plans.

Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar

from eventq.catalog.plan import Applied, Plan, Selection
from eventq.catalog.undo_rules import RulePlan
from eventq.core.commits import Event
from eventq.core.values import Via
from eventq.eventlog import EventLog
from eventq.host.surroundings import in_thread
from eventq.replay.query import FOLLOW_S, read_events
from eventq.schedules.managing import (
    QueueSchedule,
    QueueSchedules,
    ScheduleState,
    state_of,
)

# Events that `follow_log` reads at a time.
PAGE = 1_000

P = ParamSpec("P")
R = TypeVar("R")


async def follow_log(log: EventLog, after: int, *, waits: bool) -> AsyncIterator[Event]:
    """The events behind position ``after``; if it ``waits``, also those still to come."""
    import asyncio  # noqa: PLC0415 - see RunSlot.run_in_loop

    loop = asyncio.get_running_loop()
    more = asyncio.Event()

    def wake() -> None:
        # A ring may come while the loop is being closed, when this no longer waits for it.
        if not loop.is_closed():
            loop.call_soon_threadsafe(more.set)

    watch = log.watch(wake) if waits else None
    try:
        while True:
            more.clear()
            for event in await in_thread(_page, log, after):
                after = event.seq
                yield event
                more.set()
            if watch is None and not more.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(more.wait(), FOLLOW_S)
    finally:
        if watch is not None:
            await in_thread(watch.close)


def awaited(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The same method of an object whose `_original` has it, awaited: it runs in a thread."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:  # noqa: ANN401
        return await in_thread(method, self._original, *args, **kwargs)

    return call


class AsyncSchedule:
    """One schedule for asyncio: the methods of `QueueSchedule`, awaited."""

    def __init__(self, schedule: QueueSchedule) -> None:
        self.name = schedule.name
        self._original = schedule

    pause = awaited(QueueSchedule.pause)
    resume = awaited(QueueSchedule.resume)
    trigger = awaited(QueueSchedule.trigger)
    update = awaited(QueueSchedule.update)
    drop = awaited(QueueSchedule.drop)
    next = awaited(QueueSchedule.next)

    async def state(self) -> ScheduleState:
        """See `QueueSchedule.state`."""
        return state_of(await in_thread(self._original.look))

    async def backfill(self, since: datetime, until: datetime, **options: Any) -> Any:  # noqa: ANN401
        """See `QueueSchedule.backfill`."""
        original: Any = self._original
        return await in_thread(original.backfill, since, until, **options)


class AsyncSchedules:
    """The schedules of a queue for asyncio: the methods of `QueueSchedules`, awaited."""

    def __init__(self, schedules: QueueSchedules) -> None:
        self._original = schedules

    states = awaited(QueueSchedules.states)
    prune = awaited(QueueSchedules.prune)

    def __getitem__(self, name: str) -> AsyncSchedule:
        """The schedule of this name; whether there is one, its methods find out."""
        return AsyncSchedule(self._original.named(name))


class AsyncPlan:
    """A plan for asyncio: `apply` is awaited; all else is as in `plan`."""

    def __init__(self, plan: Plan | RulePlan) -> None:
        self.plan = plan

    async def apply(self, *, by: str | None = None, reason: str = "", via: Via = "code") -> Applied:
        """See `Plan.apply`."""
        return await in_thread(self.plan.apply, by=by, reason=reason, via=via)


class AsyncSelection:
    """A selection for asyncio: its plans are made in a thread."""

    def __init__(self, selection: Selection) -> None:
        self._original = selection

    async def retry(self, *, rate: str | None = None) -> AsyncPlan:
        """See `Selection.retry`."""
        return AsyncPlan(await in_thread(self._original.retry, rate=rate))

    async def cancel(self) -> AsyncPlan:
        """See `Selection.cancel`."""
        return AsyncPlan(await in_thread(self._original.cancel))

    async def update(self, **changes: Any) -> AsyncPlan:  # noqa: ANN401 - as there
        """See `Selection.update`."""
        return AsyncPlan(await in_thread(self._original.update, **changes))


def taking(
    original: Callable[Concatenate[Any, P], object],
) -> Callable[[Callable[..., R]], Callable[Concatenate[Any, P], R]]:
    """Has a method take the arguments of another one."""
    return wraps(original, assigned=())


def _page(log: EventLog, after: int) -> list[Event]:
    return list(islice(read_events(log, after), PAGE))
