"""Rule 10: at most one open task a unique value, at every position."""

from __future__ import annotations

from eventq.verify.seen import Seen
from eventq.verify.terms import BrokenError


class Uniques:
    """The open tasks that have a unique value, by that."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def take(self, task: Seen) -> None:
        """The task is open from here on. Raises BrokenError where another one has its value."""
        if task.unique is None:
            return
        other = self._open.setdefault(task.unique, task.number)
        if other != task.number:
            raise BrokenError("unique", f"task {other} is open and has the unique value, too")

    def free(self, task: Seen) -> None:
        """The task is open no more, or nothing more is said of it."""
        if task.unique is not None and self._open.get(task.unique) == task.number:
            del self._open[task.unique]
