"""What a tracing system is told of tasks: that they are made, and what their attempts do.

Nothing here knows such a system; `contrib.otel` is the one there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.settle import Outcome
from eventq.core.task import Task

R = TypeVar("R")


class AttemptTrace(Protocol):
    """One attempt, as a tracing system follows it."""

    context: str | None
    """Its W3C trace context: that of the tasks that it makes; None where it has none."""

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


def carrying(orders: Sequence[NewTask], context: str) -> list[NewTask]:
    """The orders with a trace context, where they have none."""
    return [replace(each, trace=context) if each.trace is None else each for each in orders]
