"""How tasks of Django's run: their handlers, around them connections and signals.

Django's own words hold here: a signal before an attempt and one after the task's end, connections
as fresh as those of a request, a context for who takes one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from django.db import connections, reset_queries
from django.utils.module_loading import autodiscover_modules

from eventq.contrib.django.framework import (
    BaseTaskBackend,
    TaskContext,
    TaskResult,
    TaskResultDoesNotExist,
    normalize_json,
    task_finished,
    task_started,
)
from eventq.contrib.django.framework import Task as DjangoTask
from eventq.contrib.django.options import (
    handler_options,
    is_scheduled,
    options_of,
    schedule_options,
)
from eventq.contrib.django.results import is_task, result_of
from eventq.core.buckets import check_limits
from eventq.core.commits import Event
from eventq.core.task import Task
from eventq.handlers.collection import Handlers
from eventq.handlers.context import Context
from eventq.queue import Queue
from eventq.replay.fold import task_history

# The module of an application that tasks stand in by convention; others may hold some as well.
MODULE = "tasks"
FINISHED = ("cancelled", "completed", "expired")


class TaskHandlers:
    """The handlers of one backend's tasks, for its queue's runs."""

    def __init__(
        self,
        backend: BaseTaskBackend,
        options: dict[str, Any],
        *,
        tells: bool,
        in_thread: bool = False,
    ) -> None:
        """``options`` are those of the queue; ``tells``: of ends, by `task_finished`.

        ``in_thread``: coroutines, too, run in the thread of their attempt, by its connections.
        """
        self.collection = Handlers()
        self._alias = backend.alias
        self._sender = type(backend)
        self._options = options
        self._tells = tells
        self._in_thread = in_thread
        self.queue: Queue | None = None
        """Whose runs call them; set once it is open."""

    def load(self) -> None:
        """Finds all tasks of the installed applications, and makes a handler of each new one.

        Raises ArgumentError for two schedules of one name, and what importing a module raises.
        """
        autodiscover_modules(MODULE)
        for task in found_tasks():
            if task.module_path not in {each.name for each in self.collection}:
                self._add(task)
        names = [each.name for each in self.collection]
        if self._tells and names and not self.collection.follows:
            follow = self.collection.follow(f"django.{self._alias}", kinds=FINISHED, names=names)
            follow(self._tell_finished)

    def find(self, name: str) -> Any:  # noqa: ANN401 - a Handler of any function
        """The handler of this name; None where there is none."""
        self.load()
        return next((each for each in self.collection if each.name == name), None)

    def named_limits(self) -> set[str]:
        """The limits that tasks of this backend name, of all that are loaded."""
        own = (task for task in found_tasks() if task.backend == self._alias)
        given = (options_of(task).get("limits") or () for task in own)
        return {bucket.limit for limits in given for bucket in check_limits(limits)}

    def _add(self, task: DjangoTask[..., Any]) -> None:
        given, chosen = options_of(task), handler_options(task, self._options)
        call = self._async_call(task) if iscoroutinefunction(task.func) else self._call(task)
        if self._in_thread and iscoroutinefunction(task.func):
            call = _in_thread(call)
        call.__module__, call.__qualname__ = task.func.__module__, task.func.__qualname__
        if given.get("isolate"):
            from eventq.contrib.django import isolated  # noqa: PLC0415 - only with Django set up

            name = isolated.name_here(self._alias, task.module_path)
            call.__module__, call.__qualname__ = isolated.__name__, name
        handler: Any = self.collection.task(task.module_path, **chosen)(call)
        if task.backend != self._alias or not is_scheduled(given):
            return
        rules = schedule_options(given)
        if "cron" in given:
            self.collection.cron(given["cron"], **rules)(handler)
        else:
            self.collection.every(given["every"], handler, **rules)

    def _call(self, task: DjangoTask[..., Any]) -> Callable[..., Any]:
        function = task.func

        def call(context: Context) -> object:
            result = self._running(context.task)
            task_started.send(sender=self._sender, task_result=result)
            args: list[Any] = [TaskContext(task_result=result)] if task.takes_context else []
            return normalize_json(function(*args, *result.args, **result.kwargs))

        return call

    def _async_call(self, task: DjangoTask[..., Any]) -> Callable[..., Any]:
        function = task.func

        async def call(context: Context) -> object:
            # Where Django's own async methods have their connections.
            await sync_to_async(_begin)()
            try:
                result = await sync_to_async(self._running)(context.task)
                await task_started.asend(sender=self._sender, task_result=result)
                args: list[Any] = [TaskContext(task_result=result)] if task.takes_context else []
                return normalize_json(await function(*args, *result.args, **result.kwargs))
            finally:
                await sync_to_async(_close_old)()

        return call

    def _running(self, task: Task) -> TaskResult[Any]:
        """The result as the attempt sees it: its own worker is the last of them."""
        return result_of(self._alias, task, self._history(task))

    def _tell_finished(self, event: Event, task: Task) -> None:
        """Tells of an end that is in the log; what a receiver raises is logged by Django."""
        del event
        try:
            result = result_of(self._alias, task, self._history(task))
        except TaskResultDoesNotExist:
            return
        _begin()
        try:
            task_finished.send_robust(sender=self._sender, task_result=result)
        finally:
            _close_old()

    def _history(self, task: Task) -> list[Event]:
        assert self.queue is not None, "a run has a queue"
        return task_history(self.queue.log, task.number)


def found_tasks() -> Iterator[DjangoTask[..., Any]]:
    """All tasks that imported modules hold, each once, whichever backend they name."""
    seen: set[str] = set()
    for module in list(sys.modules.values()):
        for each in list(getattr(module, "__dict__", {}).values()):
            if is_task(each) and each.module_path not in seen:
                seen.add(each.module_path)
                yield _as_defined(each)


def _as_defined(task: DjangoTask[..., Any]) -> DjangoTask[..., Any]:
    """The task as its function's module has it, whichever copies by `using` others hold."""
    module = sys.modules.get(task.func.__module__)
    own = getattr(module, task.func.__name__, None)
    return own if is_task(own) and own.module_path == task.module_path else task


def _in_thread(call: Callable[..., Any]) -> Callable[..., Any]:
    def run(context: Context) -> object:
        return async_to_sync(call)(context)

    return run


def fresh_connections(_: Context) -> Iterator[None]:
    """Around an attempt in a thread: what Django does around a request."""
    _begin()
    try:
        yield
    finally:
        _close_old()


def _begin() -> None:
    reset_queries()
    _close_old()


def _close_old() -> None:
    """As `close_old_connections`, but for those in a transaction, such as a test's."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
