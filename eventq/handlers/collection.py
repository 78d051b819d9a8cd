"""A collection of handlers, made without a queue or by one; names in it are unique."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import (
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from eventq.core.durations import Duration
from eventq.core.new_task import TaskSpec
from eventq.core.timing import Overlap
from eventq.errors import ArgumentError
from eventq.handlers.around import Around, check_around
from eventq.handlers.context import AsyncContext, Context
from eventq.handlers.definitions import RuleDefinitions
from eventq.handlers.follow import Follow, make_follow
from eventq.handlers.handler import Binding, Handler, HandlerOptions
from eventq.handlers.scheduled import ScheduleOptions, coded_schedule
from eventq.schedules.plans import CodedSchedule

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
        self.schedules: dict[str, CodedSchedule] = {}
        """By name."""
        self.rules = RuleDefinitions({})
        """Limits and turns, as this code defines them."""
        self.binding = Binding()
        """The queues that make the tasks of these handlers, also of those to come."""

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
        ``deadline`` are as for `Queue.new`: defaults of its tasks. So are ``limits``,
        ``exclusive``, ``share`` and ``secret``. A first parameter annotated with `Context` is given
        the context, and is no argument.

        ``retry``: classes of errors, each with a Backoff or a duration until the next attempt, or
        `Fail` for none; the nearest class decides, and the log says which. ``result="strict"``: a
        result that cannot be kept fails the attempt; else the task completes without it.
        ``keep_logs="info"``: what ``ctx.log`` is given at this level or above is kept with the
        attempt, at most 1,000 lines and 64 KiB.

        ``unique``: True, or the name of an argument: one task is open at a time with these
        arguments, or with this one's value; ``on_duplicate`` as for `Queue.new`.

        ``isolate``: each attempt runs in a process of its own. That is killed ``kill_after``
        ("10s") after it was told to end, has at most ``memory`` ("2GiB"; None: any), and is
        replaced after ``recycle`` attempts (None: never).

        Raises ArgumentError for a function whose arguments cannot be stored, for a name that is
        taken, and for an isolated one that no other process can find by its module and name.
        """
        if target is not None and not isinstance(target, str):
            return self._add(Handler(target, None, cast("HandlerOptions", options), self.binding))

        def register(function: Callable[..., Any]) -> Handler[..., Any, Any]:
            given = cast("HandlerOptions", options)
            return self._add(Handler(function, target, given, self.binding))

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

    def cron(
        self,
        spec: str,
        /,
        *,
        tz: str | tzinfo = "UTC",
        schedule: str | None = None,
        catch_up: Literal["none", "last", "all"] | int = "last",
        within: Duration | None = None,
        overlap: Overlap = "skip",
        jitter: Duration | None = None,
        version: int = 0,
        name: str | None = None,
        **options: Unpack[HandlerOptions],
    ) -> Register:
        """Has a task made of a function at each due of a cron expression, by the clock of ``tz``.

        The function is registered as by `task`, under ``name`` and with its ``options``; or it is a
        handler already. It takes no arguments, or has defaults for them. The schedule has the
        handler's name (or ``schedule``), and is planned when a run begins: from then on any run on
        the log makes its tasks. ``catch_up``: of dues that came while nothing ran, the "last" one
        is made, "all" of the last 100, or so many, or "none" that is over a minute late;
        ``within``: none that is later than this. ``overlap``: while the task of the due before is
        open, the next is not made ("skip"), is made all the same ("allow"), or that task is
        cancelled ("cancel"). ``jitter``: a wait up to this long, drawn once, puts each off.
        ``version``: raise it to bring back a definition that was replaced. What the clock skips
        comes right after the gap, what it shows twice comes once; an expression whose minute or
        hour begins with ``*`` goes by elapsed time. Raises ArgumentError.
        """
        rules: ScheduleOptions = {
            "schedule": schedule,
            "catch_up": catch_up,
            "within": within,
            "overlap": overlap,
            "jitter": jitter,
            "version": version,
        }

        def register(function: Any) -> Any:  # noqa: ANN401 - checked as by task
            if isinstance(function, Handler):
                for option, value in {
                    **({} if name is None else {"name": name}),
                    **options,
                }.items():
                    raise ArgumentError(option, value, "none beside a handler, which has its own")
                handler = function
            else:
                handler = Handler(function, name, options, self.binding)
            coded = coded_schedule(handler, (), rules, cron=spec, zone=tz)
            if handler is not function:
                self._add(handler)
            self._schedule(coded)
            return handler

        return register

    def every(
        self,
        interval: Duration,
        handler: Handler[..., Any, Any] | TaskSpec,
        /,
        *args: Any,  # noqa: ANN401 - those of the handler
        **options: Unpack[ScheduleOptions],
    ) -> None:
        """Has a task made of a handler and its arguments, or of a TaskSpec, every so often.

        In elapsed time, first one ``interval`` after the run that plans it. The ``schedule`` has
        the handler's name unless it is given another; the options are those of `cron`. Raises
        ArgumentError.
        """
        self._schedule(coded_schedule(handler, args, options, every=interval))

    def __iter__(self) -> Iterator[Handler[..., Any, Any]]:
        """The handlers, in the order in which they were registered."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        """How many handlers there are."""
        return len(self._by_name)

    def _schedule(self, coded: CodedSchedule) -> None:
        if self.schedules.setdefault(coded.name, coded) is not coded:
            raise ArgumentError("schedule", coded.name, "a name that no other schedule has")

    def _add(self, handler: Handler[..., Any, Any]) -> Handler[..., Any, Any]:
        if self._by_name.setdefault(handler.name, handler) is not handler:
            raise ArgumentError("name", handler.name, "a name that no other handler has")
        return handler
