"""What callers name tasks by that others come after, and by whose results others are called.

Nothing here looks a task up.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Generic, TypeVar, cast

from msgspec import Struct

from eventq.core.task import Task
from eventq.core.validation import check_lookup_key
from eventq.errors import ArgumentError

R = TypeVar("R")

# A task: by its number, by its key, or (negative, see `sibling`) by its place among those that are
# made with it.
TaskRef = int | str

# More would not fit into a commit beside what else its task has.
MOST_AFTER = 10_000
AFTER_EXPECTED = "tasks, their keys, or what `flow.new` returned"
ELSEWHERE = "a task of the same flow, or of one that has been made"


def sibling(place: int) -> int:
    """Stands for the number of a task that is made in the same commit, by its place there."""
    return -2 - place


def place_of(number: int) -> int:
    """The inverse of `sibling`."""
    return -2 - number


class ResultOf(Struct, frozen=True):
    """Stands for the result of a task, as an argument of another one that comes after it."""

    of: FlowTask[Any] | Task | str


class FlowTask(Generic[R]):
    """A task of a flow, for whoever makes the flow: others may come after it."""

    __slots__ = ("_flow", "_place", "task")

    def __init__(self, flow: object, place: int) -> None:
        self._flow = flow
        self._place = place
        self.task: Task | None = None
        """The task, once its flow has been made."""

    @property
    def result(self) -> R:
        """Stands for what it will return, as an argument of a task that then comes after it."""
        return cast("R", ResultOf(self))

    def ref(self, flow: object) -> TaskRef:
        """How a task of this flow refers to it. Raises ArgumentError where it cannot."""
        if self.task is not None:
            return self.task.number
        if flow is None or flow is not self._flow:
            raise ArgumentError("after", self, ELSEWHERE)
        return sibling(self._place)

    def __repr__(self) -> str:
        """Short, and free of tag values."""
        return f"<FlowTask {self._place}>" if self.task is None else repr(self.task)


After = Collection[FlowTask[Any] | Task | str] | FlowTask[Any] | Task | str


def check_task(value: object) -> FlowTask[Any] | Task | str:
    """A task whose result is wanted, or its key. Raises ArgumentError."""
    if not isinstance(value, str | Task | FlowTask):
        raise ArgumentError("task", value, "a task, its key, or what `flow.new` returned")
    return check_after(value)[0]


def check_after(value: object) -> tuple[FlowTask[Any] | Task | str, ...]:
    """The tasks that another one is to come after; one may stand alone. Raises ArgumentError."""
    if isinstance(value, str | Task | FlowTask):
        value = [value]
    # Not what can be looked at only once.
    if not isinstance(value, Collection) or isinstance(value, bytes):
        raise ArgumentError("after", value, AFTER_EXPECTED)
    found = tuple(value)
    if len(found) > MOST_AFTER:
        raise ArgumentError("after", f"{len(found)} tasks", f"at most {MOST_AFTER}")
    for each in found:
        if isinstance(each, str):
            check_lookup_key(each)
        elif not isinstance(each, Task | FlowTask):
            raise ArgumentError("after", each, AFTER_EXPECTED)
    return found


def ref_of(what: FlowTask[Any] | Task | str, flow: object = None) -> TaskRef:
    """How an order refers to a task, in a flow or (None) by itself."""
    if isinstance(what, FlowTask):
        return what.ref(flow)
    return what.number if isinstance(what, Task) else what
