"""What several pages say of tasks: rows, states, what keeps one from running."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from eventq.core.plain import sorted_json
from eventq.core.task import Task
from eventq.eventlog.contract import EventLog
from eventq.web.naming import by_number, veils_of
from eventq.web.showing import TaskVeil, Veil


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


def task_row(
    task: Task, now: int, veil: Veil, hidden: TaskVeil, waits: Mapping[int, str] | None = None
) -> TaskRow:
    """A task as a list has it, as of an instant; ``hidden`` is what is shown of this one."""
    seen = task.as_of(now)
    error = hidden.error(task.last_error)
    words = (waits or {}).get(task.number)
    return TaskRow(
        key=hidden.key(task.key, task.number),
        number=task.number,
        name=task.name,
        lane=task.lane,
        state=str(seen.state),
        priority=task.priority,
        attempts=task.attempt,
        created_at=task.created_at,
        scheduled_at=task.scheduled_at,
        age_us=now - task.created_at_us,
        waits_for=None if words is None else hidden.words(words, values_of(task, veil)),
        error=None if error is None else f"{error.type}: {error.message}".rstrip(": "),
        tags=hidden.tags(task.tags),
    )


def values_of(task: Task, veil: Veil) -> list[str]:
    """What may stand in words of ours about a task, and is hidden from who sees no values."""
    if not veil.hides_values:
        return []
    values = [bucket.value for bucket in task.buckets if bucket.value]
    # A pause names a tag with its value.
    return values + [f"{name}={sorted_json(value).decode()}" for name, value in _items(task.tags)]


def task_rows(
    log: EventLog,
    tasks: Iterable[Task],
    now: int,
    veil: Veil,
    waits: Mapping[int, str] | None = None,
) -> list[TaskRow]:
    """The same for all that a person may look into."""
    seen = veil.seen_of(tasks)
    hidden = veils_of(log, by_number(seen), veil)
    return [task_row(task, now, veil, hidden(task.number), waits) for task in seen]


def _items(tags: object) -> Iterable[tuple[str, object]]:
    return tags.items() if isinstance(tags, dict) else ()
