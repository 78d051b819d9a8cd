"""Managing one task: what a person may do to it, each thing in some of its states only."""

from __future__ import annotations

from typing import ClassVar

from msgspec import UNSET, Raw, Struct

from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.create import NewTask, created_by
from eventq.core.events import NODE, Cancelled, Reopening, Retried, Updated
from eventq.core.newer import newer_queue, newer_task
from eventq.core.projection import Projection
from eventq.core.task import (
    FINAL,
    REOPENABLE,
    Task,
    TaskState,
    instant,
    is_due,
    state_as_of,
)
from eventq.errors import ArgumentError, NotAllowedError, TaskNotFoundError


class CancelTask(Struct, frozen=True):
    """Calls an open task off; a running attempt loses its lease."""

    reason: str = ""
    by: str | None = None

    def events(self, task: Task, _now: int) -> list[Draft]:
        """What to append; nothing for a cancelled task. Raises NotAllowedError."""
        if task.recorded_state is TaskState.CANCELLED:
            return []
        if task.recorded_state in FINAL:
            raise NotAllowedError("cancel", task.key, task.recorded_state)
        return [(task.number, Cancelled(self.reason, self.by))]


class RetryTask(Struct, frozen=True):
    """Makes a waiting task ready now, or reopens an expired or cancelled one.

    A reopened task has its retries anew, and its max_age counts from now.
    """

    by: str | None = None

    def events(self, task: Task, now: int) -> list[Draft]:
        """What to append. Raises NotAllowedError when the task is running or completed."""
        if task.recorded_state is TaskState.SCHEDULED:
            if is_due(task, now):
                return []
            return [(task.number, Updated(scheduled_at=now, by=self.by))]
        if task.recorded_state not in REOPENABLE:
            raise NotAllowedError("retry", task.key, task.recorded_state)
        age_us = task.policy.max_age_us
        reopens = Reopening(
            was="expired" if task.recorded_state is TaskState.EXPIRED else "cancelled",
            policy=task.policy,
            created_at=task.created_at_us,
            attempt=task.attempt,
            key=task.caller_key,
            priority=task.priority,
            tags=Raw(task.tags_json),
            expires_at=None if age_us is None else now + age_us,
            last_error=task.last_error,
            name=task.route.name,
            lane=task.route.lane,
            needs=task.route.needs,
            snoozes=task.snoozes,
            unique=task.unique,
            saved=UNSET if task.saved_json is None else Raw(task.saved_json),
            schedule=task.schedule,
            due=task.due_us,
        )
        return [(task.number, Retried(scheduled_at=now, by=self.by, reopens=reopens))]


class UpdateTask(Struct, frozen=True):
    """Edits a pending task; None leaves a thing as it is. ``delay_us`` counts from the decision."""

    priority: int | None = None
    tags_json: bytes | None = None
    scheduled_at: int | None = None
    delay_us: int | None = None
    by: str | None = None

    def events(self, task: Task, now: int) -> list[Draft]:
        """What to append; nothing for what is equal already. Raises NotAllowedError."""
        if task.recorded_state is not TaskState.SCHEDULED:
            raise NotAllowedError("update", task.key, task.recorded_state)
        at = self.scheduled_at if self.delay_us is None else now + self.delay_us
        if at is not None and task.expires_at_us is not None and at >= task.expires_at_us:
            shown_at = instant(at).isoformat()
            raise ArgumentError("scheduled_at", shown_at, "an instant before the task expires")
        priority = None if self.priority == task.priority else self.priority
        tags_json = None if self.tags_json == task.tags_json else self.tags_json
        at = None if at == task.scheduled_at_us else at
        if priority is None and tags_json is None and at is None:
            return []
        tags = UNSET if tags_json is None else Raw(tags_json)
        return [(task.number, Updated(priority, tags, at, self.by))]


class ManageTask(Struct, frozen=True):
    """Does one of these to the task with this key. The result is the task as it was found.

    Raises TaskNotFoundError, LogTooNewError.
    """

    key: str
    edit: CancelTask | RetryTask | UpdateTask
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[Task]:
        """See Command.decide."""
        if projection.unknown is not None:
            raise newer_queue(projection.unknown)
        task = find_task(projection, past, self.key)
        drafts = self.edit.events(task, now)
        if task.unique is not None and task.recorded_state in FINAL and drafts:
            _check_free("retry", projection, task, task.unique)
        return Decision(drafts, task)


def _check_free(action: str, projection: Projection, task: Task, unique: str) -> None:
    """Raises NotAllowedError where another task is open that has the value of a final one."""
    holder = projection.holder_of(unique)
    if holder is not None:
        raise NotAllowedError(action, task.key, task.recorded_state, holder=holder.key)


class RepeatTask(Struct, frozen=True):
    """Makes a new task like a final one: all but its key, its instants and its `expires_at`.

    Raises TaskNotFoundError, and NotAllowedError for a task that is open, or where another one that
    is open has its unique value.
    """

    key: str
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[None]:
        """See Command.decide."""
        task = find_task(projection, past, self.key)
        if task.recorded_state not in FINAL:
            raise NotAllowedError("repeat", task.key, state_as_of(task, now))
        if task.unique is not None:
            _check_free("repeat", projection, task, task.unique)
        order = NewTask(
            task.tags_json,
            task.policy,
            task.priority,
            route=task.route,
            unique=task.unique,
            repeats=task.number,
        )
        return Decision([(NEW, created_by(order, now))], None)


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
