"""What a test has go wrong: errors instead of calls, and nodes that die. Each is used up once."""

from __future__ import annotations

from msgspec import Struct

from eventq.core.task import Task
from eventq.errors import ArgumentError


class NodeDiedError(BaseException):
    """Ends a run as the end of its process does: nothing more is written."""


class PlannedError(Struct, frozen=True):
    """The next call of a handler raises this instead."""

    name: str
    error: BaseException | type[BaseException]


class PlannedCrash(Struct, frozen=True):
    """The node dies with the next attempt, of any handler for None; ``after``: once it is done."""

    name: str | None
    after: bool


class Faults:
    """The faults that are still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._left: list[PlannedError | PlannedCrash] = []

    def fail(self, name: str, error: object, times: int) -> None:
        """Has so many calls of a handler raise the error. Raises ArgumentError for what is none."""
        kind = error if isinstance(error, type) else type(error)
        if not issubclass(kind, BaseException):
            raise ArgumentError("error", error, "an exception, or a class of exceptions")
        self._left += [PlannedError(name, error)] * times  # type: ignore[arg-type]

    def crash(self, name: str | None, *, after: bool) -> None:
        """Has the node die with the next attempt."""
        self._left.append(PlannedCrash(name, after))

    def raise_planned(self, name: str) -> None:
        """Raises what a call of this handler is to raise, if there is something left."""
        for fault in self._left:
            if isinstance(fault, PlannedError) and fault.name == name:
                self._left.remove(fault)
                raise fault.error

    def strike(self, task: Task, *, after: bool) -> None:
        """Raises NodeDiedError where the node is to die before, or after, this attempt."""
        for fault in self._left:
            if not isinstance(fault, PlannedCrash) or fault.after is not after:
                continue
            if fault.name in {None, task.name}:
                self._left.remove(fault)
                raise NodeDiedError

    def left(self) -> list[str]:
        """What has not happened, in words."""
        return [
            f"fail_next({fault.name!r})"
            if isinstance(fault, PlannedError)
            else f"crash_node({'' if fault.name is None else repr(fault.name)})"
            for fault in self._left
        ]
