"""All of a task that the naive model knows too, from both sides, to be compared."""

from __future__ import annotations

from msgspec.structs import astuple

from eventq.core.task import Task, TaskState
from tests.naive import Row


def facts(task: Task) -> tuple[object, ...]:
    """All of a task that the model knows too."""
    waits = task.recorded_state is TaskState.SCHEDULED
    return (
        task.number,
        task.caller_key,
        task.priority,
        task.tags_json,
        task.policy,
        task.created_at_us,
        task.scheduled_at_us,
        task.expires_at_us,
        "waiting" if waits else str(task.recorded_state),
        task.attempt,
        task.retry_count,
        task.fence,
        task.worker,
        task.last_error.type if task.last_error else None,
        task.result_json,
        task.final_reason,
        task.name,
        task.lane,
        task.needs,
        task.lapses,
        task.snoozes,
        task.started_at_us,
        None if task.ending is None else task.ending.at_us,
        task.newer,
        None if task.progress is None else astuple(task.progress),
        task.saved_json,
        task.unique,
    )


def row_facts(row: Row) -> tuple[object, ...]:
    """The same of the model's row."""
    return (
        row.number,
        row.key,
        row.priority,
        row.tags,
        row.policy,
        row.created_at,
        row.scheduled_at,
        row.expires_at,
        row.state,
        row.attempt,
        row.retries,
        row.fence,
        row.worker,
        row.error,
        row.result,
        row.reason,
        row.name,
        row.lane,
        row.needs,
        row.lapses,
        row.snoozes,
        row.started_at,
        row.ended_at,
        row.newer,
        row.progress,
        row.saved,
        row.unique,
    )
