"""A handler: a named function whose calls are tasks, typed as the function is.

It makes tasks through the queue that it is bound to. How it is called is told to the runner.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, Generic, ParamSpec, Protocol, Self, TypedDict, TypeVar, Unpack, cast

from eventq.core.buckets import LimitsOption
from eventq.core.durations import Duration
from eventq.core.new_task import MakesSpecs, TaskSpec, check_options
from eventq.core.options import TaskOptions, overridden
from eventq.core.plain import plain
from eventq.core.policy import Backoff
from eventq.core.reference import ResultOf
from eventq.core.sizes import Size
from eventq.core.task import Task, TaskState
from eventq.core.unique import OnDuplicate, value_of
from eventq.core.validation import check_name, check_tags, check_unique
from eventq.errors import ArgumentError, NotBoundError, TaskFailedError
from eventq.handlers.context import current
from eventq.handlers.isolation import take_isolation
from eventq.handlers.rules import RetryRules, RuleOptions
from eventq.handlers.signature import HandlerSignature
from eventq.host.surroundings import in_thread

P = ParamSpec("P")
R = TypeVar("R")
# What a plain call returns: R, or a coroutine of it.
C = TypeVar("C")


class HandlerOptions(TypedDict, total=False):
    """What `Handlers.task` takes beside a name; see there."""

    lane: str | None
    priority: int
    delay: Duration | None
    max_age: Duration | None
    max_retries: int | None
    max_lapses: int | None
    backoff: Backoff | Duration
    deadline: Duration | None
    retry: RuleOptions | None
    result: str
    unique: bool | str | None
    on_duplicate: OnDuplicate
    limits: LimitsOption | None
    exclusive: Iterable[str] | None
    share: str | None
    secret: Iterable[str] | None
    keep_logs: str | None
    isolate: bool
    memory: Size | None
    kill_after: Duration
    recycle: int | None


LENIENT = "lenient"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class CallOptions(TaskOptions, total=False):
    """What `Handler.using` takes: options of one task, and tags beside its arguments."""

    tags: Mapping[str, Any] | None


class MakesTasks(Protocol):
    """What makes a handler's tasks: a queue."""

    def new(self, task: TaskSpec, /) -> Task:
        """Creates the task; durable when it returns."""


class Handler(MakesSpecs[P], Generic[P, R, C]):
    """A function registered under a name. Called, it is that function; `new` makes a task of it."""

    def __init__(
        self,
        function: Callable[..., C],
        name: str | None,
        options: HandlerOptions,
        binding: Binding,
    ) -> None:
        """Raises ArgumentError for a function, or an option, that cannot be kept."""
        check_function(function)
        self.name = check_name(_name_of(function) if name is None else name, "name")
        self.function = function
        self.signature = HandlerSignature(function)
        self.is_async = inspect.iscoroutinefunction(function)
        given: dict[str, Any] = dict(options)
        for option in given.keys() - HandlerOptions.__annotations__.keys():
            raise ArgumentError(option, given[option], "an option of a handler")
        self.rules = RetryRules(given.pop("retry", None))
        self.keeps_strictly = _is_strict(given.pop("result", LENIENT))
        self.unique = self._checked_unique(given.pop("unique", None))
        self.keeps_level = _level(given.pop("keep_logs", None))
        self.isolation = take_isolation(given, function)
        """How its attempts run in processes of their own; None: they run in this one."""
        self.options = check_options({**given, "name": self.name})
        _check_twins(self.unique, self.options)
        self.binding = binding
        self.tags: Mapping[str, Any] = {}
        """What its tasks have beside the arguments."""
        functools.update_wrapper(self, function)

    @property
    def signature_text(self) -> str:
        """What it takes, as a log and a person are told: without defaults that are secret."""
        return self.signature.text_without(self.options.get("secret") or ())

    def __repr__(self) -> str:
        """Its name, and what it takes."""
        return f"<Handler {self.name}{self.signature_text}>"

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> C:
        """Calls the function, as ever, and makes no task.

        One that takes a context is given that of the attempt that runs here. Raises
        NoAttemptError where there is none.
        """
        if self.signature.takes_context:
            return self.function(current(), *args, **kwargs)
        return self.function(*args, **kwargs)

    def new(self, /, *args: P.args, **kwargs: P.kwargs) -> Task:
        """Creates a task that calls the function with these arguments; durable when it returns.

        Raises TypeError for a call that Python would refuse, ArgumentError for an argument that
        does not fit its annotation or cannot be kept, NotBoundError, and as `Queue.new`.
        """
        return self.binding.queue(self.name).new(self.spec(*args, **kwargs))

    def spec(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskSpec:
        """The same task, to be made by `Queue.new_many` or `ctx.new`. Raises as `new`."""
        if ResultOf in map(type, args) or (kwargs and ResultOf in map(type, kwargs.values())):
            return self._spec_given(args, kwargs)
        tags_json = self.signature.tags(args, kwargs, self.tags)
        unique = None if self.unique is None else self._unique_of(self.unique, tags_json)
        return TaskSpec.encoded(tags_json, self.options, unique)

    def _spec_given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaskSpec:
        """The spec of a call with results of other tasks among its arguments."""
        tags_json, given = self.signature.tags_given(args, kwargs, self.tags)
        unique = None if self.unique is None else self._unique_of(self.unique, tags_json)
        return TaskSpec.encoded(tags_json, self.options, unique, given)

    def using(self, **options: Unpack[CallOptions]) -> Self:
        """The same handler with other options for its tasks: those of `Queue.new`.

        ``tags`` are tags that they have beside the arguments. ``unique`` may be True, the name of
        an argument, or any other text, which is then the value itself. Raises ArgumentError.
        """
        given: dict[str, Any] = dict(options)
        more = given.pop("tags", None)
        check_tags(more)
        tags = {**self.tags, **(more or {})}
        check_tags(tags)
        if "name" in given:
            raise ArgumentError("name", given["name"], "no other name: it is the handler's")
        if clash := self.signature.names & tags.keys():
            raise ArgumentError("tags", min(clash), "names that are not those of arguments")
        other = copy(self)
        other.tags = tags
        if "unique" in given:
            other.unique = check_unique(given.pop("unique") or False) or None
        other.options = overridden(self.options, check_options(given))
        if other.unique is None and "on_duplicate" not in given:
            other.options.pop("on_duplicate", None)
        _check_twins(other.unique, other.options)
        return other

    @property
    def aio(self) -> AsyncNew[P]:
        """The same for asyncio: ``await handler.aio.new(...)``."""
        return AsyncNew(self.new)

    def result_of(self, task: Task) -> R:
        """What the task returned, as the function's annotation says.

        Raises TaskFailedError for a task that has not completed.
        """
        if task.state is not TaskState.COMPLETED:
            error = task.last_error
            met = None if error is None else f"{error.type}: {error.message}"
            raise TaskFailedError(task.key, task.state, reason=task.final_reason, error=met)
        return cast("R", self.signature.result(task.result))

    def _checked_unique(self, given: object) -> bool | str | None:
        """What makes two of its tasks one; a name that is no argument's would be a slip."""
        unique = check_unique(given or False) or None
        if isinstance(unique, str) and unique not in self.signature.names:
            raise ArgumentError("unique", given, "True, or the name of an argument")
        return unique

    def _unique_of(self, unique: bool | str, tags_json: bytes) -> str:  # noqa: FBT001 - an option
        if isinstance(unique, str) and unique not in self.signature.names:
            return unique
        arguments = self.signature.names if unique is True else [str(unique)]
        return value_of(self.name, tags_json, arguments)


class AsyncNew(Generic[P]):
    """What makes a handler's tasks without holding up the event loop."""

    def __init__(self, new: Callable[P, Task]) -> None:
        self._new = new

    async def new(self, /, *args: P.args, **kwargs: P.kwargs) -> Task:
        """See `Handler.new`."""
        return await in_thread(self._new, *args, **kwargs)


class Binding:
    """The queues that make the tasks of one collection's handlers, and of their `using` twins."""

    def __init__(self) -> None:
        self._queues: list[MakesTasks] = []
        # Those that make them instead, as in tests: the last one alone does.
        self._over: list[MakesTasks] = []

    def add(self, queue: MakesTasks, *, over: bool = False) -> None:
        """The queue makes their tasks from now on; ``over``: instead of all others."""
        (self._over if over else self._queues).append(queue)

    def remove(self, queue: MakesTasks) -> None:
        """The queue, which is closed, makes none any more."""
        self._queues = [other for other in self._queues if other is not queue]
        self._over = [other for other in self._over if other is not queue]

    def queue(self, name: str) -> MakesTasks:
        """The only queue, for a handler of this name. Raises NotBoundError unless there is one."""
        queues = self._over[-1:] or self._queues
        if len(queues) != 1:
            raise NotBoundError(name, len(queues))
        return queues[0]


def _check_twins(unique: object, options: TaskOptions) -> None:
    """Raises ArgumentError for a way with duplicates where there can be none."""
    if unique is None and "on_duplicate" in options:
        expected = "a `unique` value beside it"
        raise ArgumentError("on_duplicate", options["on_duplicate"], expected)


def check_function(function: object) -> None:
    """Raises ArgumentError for what cannot be a handler."""
    if not callable(function) or isinstance(function, type):
        raise ArgumentError("handler", function, "a function")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ArgumentError("handler", function, "a function without yield")


def _name_of(function: Callable[..., Any]) -> object:
    return getattr(function, "__name__", None)


def _level(name: object) -> int | None:
    if name is None:
        return None
    text = plain(name)
    if not isinstance(text, str) or text not in LEVELS:
        raise ArgumentError("keep_logs", name, f"None or one of {', '.join(LEVELS)}")
    return LEVELS[text]


def _is_strict(result: object) -> bool:
    if result not in (LENIENT, "strict"):
        raise ArgumentError("result", result, "'lenient' or 'strict'")
    return result == "strict"
