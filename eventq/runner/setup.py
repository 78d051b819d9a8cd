"""From a worker and checked options to a runner; nothing runs yet."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.plain import plain
from eventq.core.validation import check_duration
from eventq.errors import ArgumentError
from eventq.host.bell import Bell
from eventq.node.node import Node
from eventq.runner.executors import AsyncExecutor, ThreadExecutor
from eventq.runner.options import RunOptions
from eventq.runner.runner import Runner


def make_runner(
    node: Node,
    worker: Callable[[Any, Any], Any],
    *,
    workers: int,
    chance: Callable[[], float],
    until: str | None,
    grace: Duration,
    lease_ttl: Duration,
    max_stuck: Duration | None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> Runner:
    """A runner for the worker: threads for ``def``, one event loop for ``async def``.

    ``loop`` is where coroutines run; for None, a loop in a thread of its own. Raises
    ArgumentError.
    """
    # With another signature each attempt of each task would fail alike, perhaps for ever.
    if not takes_an_attempt(worker):
        raise ArgumentError("worker", worker, "a function of (ctx, task)")
    if until is not None and plain(until) != "idle":
        raise ArgumentError("until", until, "None or 'idle'")
    lease_ttl_us = parse_duration(lease_ttl, "lease_ttl")
    if lease_ttl_us < SECOND_US:
        raise ArgumentError("lease_ttl", lease_ttl, "a duration of at least a second")
    max_stuck_us = check_duration(max_stuck, "max_stuck", least_us=1)
    options = RunOptions(
        workers=workers,
        lease_ttl_us=lease_ttl_us,
        grace_s=parse_duration(grace, "grace") / SECOND_US,
        max_stuck_s=None if max_stuck_us is None else max_stuck_us / SECOND_US,
        until_idle=until is not None,
        chance=chance,
    )
    kind = AsyncExecutor if is_async(worker) else ThreadExecutor
    executor = kind(worker, workers=workers, bell=Bell(), clock=node.clock, loop=loop)
    return Runner(node, executor, options)


def takes_an_attempt(worker: object) -> bool:
    """Whether the worker can be called with (ctx, task), as far as its signature shows.

    That of what is called: a decorator's own, whatever the function behind it takes.
    """
    if not callable(worker):
        return False
    if getattr(worker, "__signature__", None) is not None:
        # What a decorator would have others see: it need not be what can be called.
        return True
    try:
        signature = inspect.signature(worker, follow_wrapped=False)
    except (TypeError, ValueError):
        # Not every callable written in C has one.
        return True
    try:
        signature.bind(object(), object())
    except TypeError:
        return False
    return True


def is_async(worker: Callable[..., Any]) -> bool:
    """Whether calling the worker returns a coroutine: an async def, or an object with one."""
    while isinstance(worker, partial):
        worker = worker.func
    call = getattr(worker, "__call__", None)  # noqa: B004 - not whether it can be called, but how
    return inspect.iscoroutinefunction(worker) or inspect.iscoroutinefunction(call)
