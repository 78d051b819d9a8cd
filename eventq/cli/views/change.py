"""One task that differs between two points, and what its fields are called."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from eventq.core.task import Task
from eventq.snapshot import TaskDifference

PASSED = "passed"

# How fields of Task are called here, where another name is theirs than that of the struct.
NAMES = {
    "created_at_us": "created_at",
    "scheduled_at_us": "scheduled_at",
    "expires_at_us": "expires_at",
    "started_at_us": "started_at",
    "finished_at_us": "finished_at",
    "caller_key": "key",
    "result_json": "result",
}


class TaskChange(Struct, frozen=True):
    """What happened to one task from one point to another."""

    key: str
    number: int
    what: str
    """What happened, in one word."""
    fields: dict[str, tuple[Any, Any]]
    """Before and after, by the names of Task."""
    final: Task | None
    """The task at the point where it is not open."""


def changed_task(task: TaskDifference, final: Task | None = None) -> TaskChange:
    """A task that is open at one of the points; ``final`` is what it is at the other."""
    what = "changed"
    if task.appeared:
        what = "appeared" if final is None else "reopened"
    elif task.vanished:
        what = "vanished" if final is None else str(final.recorded_state)
    return TaskChange(task.key, task.number, what, task.fields, final)


def passed_task(task: Task) -> TaskChange:
    """A task that came and went between the points."""
    return TaskChange(task.key, task.number, PASSED, {"state": (None, task.state)}, task)
