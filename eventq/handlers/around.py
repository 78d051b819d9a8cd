"""What is wrapped around each attempt: generators that yield once, as context managers do."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any, cast

from eventq.core.task import Task
from eventq.errors import ArgumentError
from eventq.handlers.context import Context

SyncAround = Callable[[Context], Iterator[None]]
AsyncAround = Callable[[Context], AsyncIterator[None]]
Around = SyncAround | AsyncAround
# What is called with the context and the task.
Call = Callable[[Any, Task], Any]


def check_around(function: Around) -> Around:
    """The function, if it can be wrapped around attempts. Raises ArgumentError."""
    if not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
        raise ArgumentError("around", function, "a function of the context that yields once")
    try:
        inspect.signature(function).bind(object())
    except TypeError as error:
        raise ArgumentError("around", function, "a function of the context alone") from error
    return function


def wrapped(call: Call, arounds: Sequence[Around]) -> Call:
    """A plain call with all of these around it; the first is outermost."""
    if not arounds:
        return call
    managers = [contextmanager(cast("SyncAround", each)) for each in arounds]

    def around(context: Context, task: Task) -> object:
        with ExitStack() as stack:
            for manager in managers:
                stack.enter_context(manager(context))
            return call(context, task)

    return around


def wrapped_async(call: Call, arounds: Sequence[Around]) -> Call:
    """A coroutine function with all of these around it; the first is outermost."""
    if not arounds:
        return call

    async def around(context: Context, task: Task) -> object:
        async with AsyncExitStack() as stack:
            for each in arounds:
                if inspect.isasyncgenfunction(each):
                    manager = asynccontextmanager(cast("AsyncAround", each))
                    await stack.enter_async_context(manager(context))
                else:
                    stack.enter_context(contextmanager(cast("SyncAround", each))(context))
            return await cast("Coroutine[Any, Any, object]", call(context, task))

    return around
