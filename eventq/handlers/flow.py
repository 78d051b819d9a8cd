"""Making a flow: its members and finalisers are noted first, and made in one commit or not at all.

Nothing here decides; `CreateFlow` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.create_flow import check_flow
from eventq.core.link import NO_LINK
from eventq.core.new_task import Patterns, TaskSpec, event_count, order_for, size_bytes
from eventq.core.options import TaskOptions
from eventq.core.reference import FlowTask
from eventq.core.task import Task
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS, Policy, Role
from eventq.errors import ArgumentError
from eventq.handlers.handler import Handler
from eventq.host.surroundings import in_thread

P = ParamSpec("P")
R = TypeVar("R")

TOO_LARGE = (
    f"tasks that fit into one commit: {COMMIT_EVENTS} at most, of {COMMIT_BYTES // 1024} KiB in "
    "all; have a task make the rest with `ctx.new`, or hand over results instead of large arguments"
)


class Flow:
    """Tasks that are made together, when the block of `with queue.flow()` ends without an error.

    A task may come after those before it, and take their results as arguments.
    """

    def __init__(
        self,
        make: Callable[[list[NewTask], str | None], list[Task]],
        policy: Policy,
        key: str | None,
    ) -> None:
        self.key = key
        """By which it is found; None: by the number of its first task alone."""
        self.tasks: list[Task] = []
        """Its tasks, once they are made."""
        self._make = make
        self._policy = policy
        self._orders: list[NewTask] = []
        self._noted: list[FlowTask[Any]] = []
        self._patterns: Patterns = {}
        self._is_open = False

    @property
    def number(self) -> int | None:
        """The number of the flow, once it is made; None before."""
        return self.tasks[0].flow if self.tasks else None

    @overload
    def new(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> FlowTask[Any]: ...
    @overload
    def new(self, task: TaskSpec, /) -> FlowTask[Any]: ...
    @overload
    def new(
        self, handler: Handler[P, R, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> FlowTask[R]: ...
    def new(self, what: Any = None, /, *args: Any, **options: Any) -> FlowTask[Any]:
        """Adds a member: it takes what `Queue.new` takes, and checks it now.

        Its ``after`` and its arguments (as ``.result``) may name those that were added before.
        """
        return self._note("member", what, args, options)

    @overload
    def on_failure(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> FlowTask[Any]: ...
    @overload
    def on_failure(self, task: TaskSpec, /) -> FlowTask[Any]: ...
    @overload
    def on_failure(
        self, handler: Handler[P, R, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> FlowTask[R]: ...
    def on_failure(self, what: Any = None, /, *args: Any, **options: Any) -> FlowTask[Any]:
        """Adds a task that runs once all members are final, if any has not completed."""
        return self._note("on_failure", what, args, options)

    @overload
    def finally_(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> FlowTask[Any]: ...
    @overload
    def finally_(self, task: TaskSpec, /) -> FlowTask[Any]: ...
    @overload
    def finally_(
        self, handler: Handler[P, R, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> FlowTask[R]: ...
    def finally_(self, what: Any = None, /, *args: Any, **options: Any) -> FlowTask[Any]:
        """Adds a task that runs when all others of the flow are final."""
        return self._note("finally", what, args, options)

    def __enter__(self) -> Self:
        """Begins to take tasks. Raises ArgumentError for a flow that was made before."""
        if self._is_open or self.tasks:
            raise ArgumentError("flow", self.key, "a flow that is made once")
        self._is_open = True
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Makes the tasks, unless the block has raised; a flow without any makes none."""
        if self._ends(error):
            self._commit()

    async def __aenter__(self) -> Self:
        """See `__enter__`."""
        return self.__enter__()

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """See `__exit__`."""
        if self._ends(error):
            await in_thread(self._commit)

    def _ends(self, error: BaseException | None) -> bool:
        """The block has ended; returns whether its tasks are to be made."""
        self._is_open = False
        return error is None and bool(self._orders)

    def _note(
        self,
        role: Role,
        what: Any,  # noqa: ANN401
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> FlowTask[Any]:
        if not self._is_open:
            raise ArgumentError("flow", self.key, "the block of `with queue.flow()` around it")
        order = order_for(what, args, options, self._policy, flow=self, patterns=self._patterns)
        link = order.link or NO_LINK
        if role != "member":
            if link.after or link.given:
                raise ArgumentError("after", role, "nothing: it comes after all members")
            order = replace(order, link=replace(link, role=role))
        self._orders.append(order)
        noted: FlowTask[Any] = FlowTask(self, len(self._noted))
        self._noted.append(noted)
        return noted

    def _commit(self) -> None:
        count = sum(map(event_count, self._orders))
        if count > COMMIT_EVENTS or sum(map(size_bytes, self._orders)) > COMMIT_BYTES:
            raise ArgumentError("flow", f"{count} tasks", TOO_LARGE)
        check_flow(self._orders)
        self.tasks = self._make(self._orders, self.key)
        for noted, task in zip(self._noted, self.tasks, strict=True):
            noted.task = task
