"""A collection of handlers, made without a queue or by one; names in it are unique."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from eventq.errors import ArgumentError
from eventq.handlers.around import Around, check_around
from eventq.handlers.context import AsyncContext, Context
from eventq.handlers.definitions import RuleDefinitions
from eventq.handlers.follow import Follow, make_follow
from eventq.handlers.handler import Handler, HandlerOptions, MakesTasks

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Register(Protocol):
    """Makes a handler of a function: what `Handlers.task` returns when it is given options."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[AsyncContext, P], Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Handler[P, R, R]: ...


class Handlers:
    """Functions registered under names, and what is wrapped around each attempt of them."""

    def __init__(self) -> None:
        self._by_name: dict[str, Handler[..., Any, Any]] = {}
        self.arounds: list[Around] = []
        """Outermost first. They wrap the handlers of this collection."""
        self.follows: dict[str, Follow] = {}
        """By name."""
        self.rules = RuleDefinitions({})
        """Limits and turns, as this code defines them."""
        # The queues that make its tasks, and whether each does so instead of all before it.
        self._queues: list[tuple[MakesTasks, bool]] = []

    @overload
    def task(
        self, function: Callable[Concatenate[AsyncContext, P], Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(
        self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Handler[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Handler[P, R, R]: ...
    @overload
    def task(self, name: str | None = None, /, **options: Unpack[HandlerOptions]) -> Register: ...
    def task(self, target: Any = None, /, **options: Any) -> Any:
        """Registers a function: ``@handlers.task``, ``@handlers.task("mail.send", lane="mail")``.

        ``name``: how the log knows it, for ever (None: the function's own name). ``lane``,
        ``priority``, ``delay``, ``max_age``, ``max_retries``, ``max_lapses``, ``backoff`` and
        ``deadline`` are as for `Queue.new`: defaults of its tasks. ``retry``: classes of errors,
        each with a Backoff or a duration until the next attempt, or `Fail` for none; the nearest
        class decides, and the log says which. ``result="strict"``: a result that cannot be kept
        fails the attempt; else the task completes without it. ``keep_logs="info"``: what
        ``ctx.log`` is given at this level or above is kept with the attempt, at most 1,000 lines
        and 64 KiB. ``isolate``: each attempt runs in another process, which is killed
        ``kill_after`` ("10s") it was told to end, may have ``memory`` ("2GiB"; None: any), and is
        replaced after ``recycle`` attempts (None: never). ``limits``, ``exclusive`` and
        ``share`` as for `Queue.new`. ``unique``: True, or the name of an
        argument: one task is open at a time with these arguments, or with this one's value;
        ``on_duplicate`` as for `Queue.new`. A first parameter annotated with
        `Context` is given the context. Raises ArgumentError for a function whose arguments cannot
        be stored, for a name that is taken, and for an isolated one that no other process can find
        by its module and name.
        """
        if target is not None and not isinstance(target, str):
            return self._add(Handler(target, None, cast("HandlerOptions", options)))

        def register(function: Callable[..., Any]) -> Handler[..., Any, Any]:
            return self._add(Handler(function, target, cast("HandlerOptions", options)))

        return register

    def around(self, function: Around) -> Around:
        """Wraps each attempt: a generator function of the context that yields once.

        What stands before its ``yield`` runs before the handler, the rest after it, in the thread
        or loop of the attempt; an error of the handler is raised at the ``yield``. What it raises
        itself fails the attempt. The first one registered is outermost. An async generator function
        wraps handlers that are ``async def`` alone. Raises ArgumentError for anything else.
        """
        self.arounds.append(check_around(function))
        return function

    def follow(
        self,
        name: str,
        /,
        *,
        kinds: Iterable[str] | None = None,
        names: Iterable[str] | None = None,
        since: int | None = None,
    ) -> Callable[[F], F]:
        """Has a function called after the commit for every event that it follows, in order.

        It is ``def`` or ``async def``, of ``(event)`` or of ``(event, task)`` with the task as the
        event left it. ``kinds``: of events, such as "completed" (None: all); ``names``: of tasks,
        or patterns like "mail.*" (None: all events). Each event comes at least once: how far it has
        come is kept in the log under its ``name``, while a queue runs. It begins where the log ends
        when a run first meets it, or behind position ``since`` (0: at the first event). One node at
        a time does the work. One that raises is called again for the same event, after a wait.
        Raises ArgumentError, also for a name that is taken.
        """

        def register(function: F) -> F:
            follow = make_follow(name, function, kinds=kinds, names=names, since=since)
            if self.follows.setdefault(follow.name, follow) is not follow:
                raise ArgumentError("name", name, "a name that no other follower has")
            return function

        return register

    def limit(
        self,
        name: str,
        /,
        *,
        running: int | None = None,
        rate: str | None = None,
        per: str | None = None,
        version: int = 0,
    ) -> None:
        """Defines a limit for tasks that name it, over all processes; set when a run begins.

        ``running``: how many of them may run at a time. ``rate``: how many may begin in any window,
        like "100/1m". ``per``: a tag; each of its values has these bounds for itself. A change by
        hand holds until the code's definition changes. Code that comes with an earlier definition
        does nothing and warns: a higher ``version`` brings it back. Raises ArgumentError.
        """
        self.rules.limit(name, version=version, running=running, rate=rate, per=per)

    def fair(
        self,
        *,
        per: str | None = None,
        weights: Mapping[str, int] | None = None,
        version: int = 0,
    ) -> None:
        """Has shares take turns among tasks of equal priority; set when a run begins.

        ``per``: the tag whose value is the share of a task that is not given one. ``weights``: how
        many turns a share has for one of the others. As for `limit` otherwise.
        """
        self.rules.fair(version=version, per=per, weights=weights)

    def bind(self, queue: MakesTasks, *, over: bool = False) -> None:
        """Has the queue make the tasks of these handlers, also of those to come.

        ``over``: instead of all others, until it is released.
        """
        self._queues.append((queue, over))
        for handler in self:
            handler.binding.add(queue, over=over)

    def release(self, queue: MakesTasks) -> None:
        """The queue, which is closed, makes no more tasks."""
        self._queues = [each for each in self._queues if each[0] is not queue]
        for handler in self:
            handler.binding.remove(queue)

    def __iter__(self) -> Iterator[Handler[..., Any, Any]]:
        """The handlers, in the order in which they were registered."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        """How many handlers there are."""
        return len(self._by_name)

    def _add(self, handler: Handler[..., Any, Any]) -> Handler[..., Any, Any]:
        if self._by_name.setdefault(handler.name, handler) is not handler:
            raise ArgumentError("name", handler.name, "a name that no other handler has")
        for queue, over in self._queues:
            handler.binding.add(queue, over=over)
        return handler
