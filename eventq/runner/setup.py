"""From a workload and checked options to a runner; nothing runs yet."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.plain import plain
from eventq.core.validation import check_duration
from eventq.errors import ArgumentError
from eventq.handlers.work import Work
from eventq.host.bell import Bell
from eventq.node.node import Node
from eventq.runner.executors import AsyncExecutor, Executor, ProcessExecutor, ThreadExecutor
from eventq.runner.health import check_health_path
from eventq.runner.options import RunOptions
from eventq.runner.pool import Pool
from eventq.runner.runner import Runner
from eventq.runner.workload import Workload


def make_runner(
    node: Node,
    workload: Workload,
    *,
    chance: Callable[[], float],
    until: str | None,
    grace: Duration,
    lease_ttl: Duration,
    max_stuck: Duration | None,
    health: str | os.PathLike[str] | None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Runner:
    """A runner for the workload: threads for ``def``, one event loop for ``async def``, processes.

    ``loop`` is where coroutines run; for None, a loop in a thread of its own. Raises
    ArgumentError.
    """
    if until is not None and plain(until) != "idle":
        raise ArgumentError("until", until, "None or 'idle'")
    lease_ttl_us = parse_duration(lease_ttl, "lease_ttl")
    if lease_ttl_us < SECOND_US:
        raise ArgumentError("lease_ttl", lease_ttl, "a duration of at least a second")
    max_stuck_us = check_duration(max_stuck, "max_stuck", least_us=1)
    options = RunOptions(
        lease_ttl_us=lease_ttl_us,
        grace_s=parse_duration(grace, "grace") / SECOND_US,
        max_stuck_s=None if max_stuck_us is None else max_stuck_us / SECOND_US,
        until=None if until is None else "idle",
        chance=chance,
        health_path=check_health_path(health),
    )
    bell = Bell()
    pools = {
        lane: Pool(_executors(workload, bell, node, loop, workers=workers), bell, workers=workers)
        for lane, workers in workload.slots.items()
    }
    return Runner(node, pools, bell, workload, options)


def _executors(
    workload: Workload,
    bell: Bell,
    node: Node,
    loop: asyncio.AbstractEventLoop | None,
    *,
    workers: int,
) -> list[Executor]:
    """One executor for each kind of work that there is."""
    kinds = dict.fromkeys(_kind_of(work) for work in workload.works())
    options: Any = {"workers": workers, "bell": bell, "clock": node.clock, "loop": loop}
    return [kind(**options, tracing=workload.tracing) for kind in kinds]


def _kind_of(work: Work) -> type[Executor]:
    if work.isolated is not None:
        return ProcessExecutor
    return AsyncExecutor if work.is_async else ThreadExecutor
