"""Finding one task by what a person calls it: its key, or its number as text."""

from __future__ import annotations

from eventq.core.command import PastTasks
from eventq.core.newer import newer_task
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.core.values import NODE
from eventq.errors import TaskNotFoundError


def find_task(projection: Projection, past: PastTasks, key: str) -> Task:
    """As `look_up`; raises LogTooNewError for a task that a newer eventq has touched."""
    task = look_up(projection, past, key)
    if task.newer is not None:
        raise newer_task(task.key, task.newer)
    return task


def look_up(projection: Projection, past: PastTasks, key: str) -> Task:
    """The task with this key, final or not, also UNKNOWN. Raises TaskNotFoundError."""
    number = int(key) if key.isdigit() and key.isascii() else _number_of(projection, past, key)
    task = None
    if number is not None and number != NODE:
        task = projection.tasks.get(number) or past.created_and_task(number)[1]
        # A caller's key hides the number: a task is found by one name only.
        if task is not None and task.key == key:
            return task
    raise TaskNotFoundError(key, known_as=None if task is None else task.key)


def _number_of(projection: Projection, past: PastTasks, key: str) -> int | None:
    number = projection.number_of(key)
    return past.find_keys([key]).get(key) if number is None else number
