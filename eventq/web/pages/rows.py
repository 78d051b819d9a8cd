"""What several pages say of tasks: rows, states, what keeps one from running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from eventq.core.task import Task
from eventq.web.showing import Veil


class TaskRow(Struct, frozen=True):
    """A task in a list."""

    key: str
    number: int
    name: str | None
    lane: str
    state: str
    priority: int
    attempts: int
    created_at: datetime
    scheduled_at: datetime
    age_us: int
    waits_for: str | None
    """What keeps it from running, where something does."""
    error: str | None
    """Type and message of its last failed attempt."""
    tags: Any


def task_row(task: Task, now: int, veil: Veil, waits: Mapping[int, str] | None = None) -> TaskRow:
    """A task as a list has it, as of an instant."""
    seen = task.as_of(now)
    hidden = veil.of_task(task)
    error = hidden.error(task.last_error)
    words = (waits or {}).get(task.number)
    values = [bucket.value or "" for bucket in task.buckets]
    return TaskRow(
        key=hidden.words(task.key),
        number=task.number,
        name=task.name,
        lane=task.lane,
        state=str(seen.state),
        priority=task.priority,
        attempts=task.attempt,
        created_at=task.created_at,
        scheduled_at=task.scheduled_at,
        age_us=now - task.created_at_us,
        waits_for=None if words is None else hidden.words(words, values),
        error=None if error is None else f"{error.type}: {error.message}".rstrip(": "),
        tags=veil.tags(task.tags),
    )


def task_rows(
    tasks: Iterable[Task], now: int, veil: Veil, waits: Mapping[int, str] | None = None
) -> list[TaskRow]:
    """The same for all that a person may look into."""
    return [task_row(task, now, veil, waits) for task in tasks if veil.sees(task.lane)]
