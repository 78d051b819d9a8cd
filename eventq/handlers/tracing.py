"""What a tracing system is told of tasks: that they are made, and what their attempts do.

Nothing here knows such a system; `contrib.otel` is the one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.manage import RepeatTask
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.handlers.isolation import CodePlace
from eventq.node.waiting_line import Committed

R = TypeVar("R")


class Continuing(Struct, frozen=True):
    """How the process of an isolated attempt goes on with the attempt's trace."""

    place: CodePlace
    """Of a function that is called there with the context, in the attempt's context variables."""
    context: str
    """W3C's."""


class AttemptTrace(Protocol):
    """One attempt, as a tracing system follows it."""

    @property
    def context(self) -> str | None:
        """Its W3C trace context: that of the tasks that it makes; None where it has none."""

    @property
    def continuing(self) -> Continuing | None:
        """For an isolated attempt; None where there is nothing to go on with."""

    def end(self, outcome: Outcome | None, *, lost: bool) -> None:
        """The worker has ended so; ``lost``: when its lease was over. Neither waits nor raises."""


class Tracing(Protocol):
    """A tracing system. Whatever befalls it, tasks are made and attempted all the same."""

    def making(self, orders: list[NewTask], make: Callable[[list[NewTask]], R]) -> R:
        """Has the tasks made, by orders that carry their trace context; raises what ``make`` does.

        Orders that carry one already keep it.
        """

    def begin(self, task: Task) -> AttemptTrace | None:
        """An attempt begins here, in these context variables; None where nobody follows it.

        Neither waits nor raises.
        """


def repeated(
    repeat: RepeatTask,
    execute: Callable[[RepeatTask], Committed[None]],
    tracing: Tracing | None,
    get: Callable[[str], Task | None],
) -> Task:
    """The task that is made like a final one, carrying its trace context. Raises as `execute`."""

    def make(orders: list[NewTask]) -> list[Any]:
        trace = orders[0].trace if orders else None
        return execute(replace(repeat, trace=trace)).tasks

    found = None if tracing is None else get(repeat.key)
    if tracing is None or found is None:
        [task] = make([])
    else:
        like = NewTask(found.tags_json, found.policy, route=found.route)
        [task] = tracing.making([like], make)
    return task  # type: ignore[no-any-return]


def carrying(orders: Sequence[NewTask], context: str) -> list[NewTask]:
    """The orders with a trace context, where they have none."""
    return [replace(each, trace=context) if each.trace is None else each for each in orders]
