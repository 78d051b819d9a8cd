"""What is called for a task, and how its ends are read: of a handler, or of a plain worker."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.task import Task
from eventq.core.validation import check_json
from eventq.core.values import RESULT_BYTES
from eventq.errors import ArgumentError, Fail
from eventq.handlers.around import Around, Call, wrapped, wrapped_async
from eventq.handlers.context import Context
from eventq.handlers.handler import Handler
from eventq.handlers.isolation import IsolatedCall, isolated_call
from eventq.handlers.rules import RetryRules

AnyHandler = Handler[..., Any, Any]


class Work(Struct, frozen=True, gc=False):
    """One function of (context, task), ready to be called."""

    call: Call
    is_async: bool
    rules: RetryRules
    result_json: Callable[[object], bytes]
    """What it returned, as JSON text. Raises ArgumentError for what cannot be kept."""
    keeps_strictly: bool = False
    """A result that cannot be kept fails the attempt."""
    keeps_level: int | None = None
    """From which level on what it logs is kept; None: nothing is."""
    isolated: IsolatedCall | None = None
    """What a process of its own calls in place of ``call``."""


def work_of_worker(worker: Call, arounds: Sequence[Around] = ()) -> Work:
    """A worker's own. Raises ArgumentError for one that cannot be called with (ctx, task)."""
    # With another signature each attempt of each task would fail alike, perhaps for ever.
    if isinstance(worker, Handler):
        expected = "a function of (ctx, task); handlers of a queue are run without a worker"
        raise ArgumentError("worker", worker, expected)
    if not takes_an_attempt(worker):
        raise ArgumentError("worker", worker, "a function of (ctx, task)")
    is_loop = is_async(worker)
    wrap = wrapped_async if is_loop else _wrapped_sync
    return Work(wrap(worker, arounds), is_loop, RetryRules(None), _plain_result)


def work_of_handler(handler: AnyHandler, arounds: Sequence[Around] = (), *, call: Call) -> Work:
    """A handler's, with all that its queue wraps around it; ``call`` as `unpacking` makes it."""
    wrap = wrapped_async if handler.is_async else _wrapped_sync
    signature = handler.signature
    return Work(
        wrap(call, arounds),
        handler.is_async,
        handler.rules,
        signature.strict_result_json if handler.keeps_strictly else signature.result_json,
        handler.keeps_strictly,
        handler.keeps_level,
    )


def placed_work(handler: AnyHandler, arounds: Sequence[Around] = ()) -> Work:
    """The same, where an isolated handler is called in another process.

    Raises ArgumentError for a handler or an around that another process could not find.
    """
    work = work_of_handler(handler, arounds, call=unpacking(handler))
    if handler.isolation is None:
        return work
    call = isolated_call(handler.name, handler, arounds, handler.isolation)
    return replace(work, isolated=call)


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


def unpacking(handler: AnyHandler) -> Call:
    """The handler's function, called with the arguments that a task's tags hold.

    A task whose tags do not fit fails for good: no later attempt would find others.
    """
    function, arguments_of = handler.function, handler.signature.arguments

    def call(context: Context, task: Task) -> object:
        try:
            arguments = arguments_of(task.tags_json)
        except ArgumentError as error:
            raise Fail(str(error)) from error
        if handler.signature.takes_context:
            return function(context, **arguments)
        return function(**arguments)

    return call


def _wrapped_sync(call: Call, arounds: Sequence[Around]) -> Call:
    for each in arounds:
        if inspect.isasyncgenfunction(each):
            raise ArgumentError("around", each, "no async generator, since a worker is `def`")
    return wrapped(call, arounds)


def _plain_result(value: object) -> bytes:
    return check_json(value, "result", RESULT_BYTES)
