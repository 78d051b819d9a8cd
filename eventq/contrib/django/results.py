"""Tasks of eventq's as Django's results: what is in the log, and what still waits in an outbox."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, TypeGuard

from django.apps import apps
from django.conf import settings
from django.utils import timezone

from eventq.contrib.django.calls import TaskCall
from eventq.contrib.django.framework import Task as DjangoTask
from eventq.contrib.django.framework import (
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
)
from eventq.contrib.outbox.row import OutboxRow, RowError, order_of_row
from eventq.core.commits import Event
from eventq.core.events import Created
from eventq.core.task import Task, TaskState, instant
from eventq.core.values import LAPSED, ErrorInfo
from eventq.errors import EventqError, TaskFailedError
from eventq.replay.attempts import past_attempts

STATUSES = {
    TaskState.LEASED: TaskResultStatus.RUNNING,
    TaskState.COMPLETED: TaskResultStatus.SUCCESSFUL,
    TaskState.EXPIRED: TaskResultStatus.FAILED,
    TaskState.CANCELLED: TaskResultStatus.FAILED,
}
"""All other states are READY: to be run, or run again."""


class WorkerDiedError(EventqError):
    """The process that ran the task stopped without a word; the attempt counts as failed."""


def is_task(found: object) -> TypeGuard[DjangoTask[..., Any]]:
    """Whether it is one; unlike `isinstance` it wakes none of Django's lazy objects."""
    return issubclass(type(found), DjangoTask)


def find_task(path: str) -> DjangoTask[..., Any] | None:
    """The task whose function has this path; None where there is none.

    Its module is imported if it is of an installed application: the path comes from a log, which
    shall not choose among all that there is.
    """
    parts = path.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = _imported(".".join(parts[:count]))
        if module is not None:
            own = vars(module).get(parts[count])
            # Or under another name than its function's.
            named = (each for each in [own, *vars(module).values()] if is_task(each))
            return next((each for each in named if each.module_path == path), None)
    return None


def result_of(
    alias: str, task: Task, history: Sequence[Event], *, of: DjangoTask[..., Any] | None = None
) -> TaskResult[Any]:
    """What Django is to see of a task; ``history`` may be empty before its first attempt.

    ``of`` is the task that was called, where that is known. Raises TaskResultDoesNotExist for one
    that is none of Django's.
    """
    own = of if of is not None or task.name is None else find_task(task.name)
    if own is None:
        raise TaskResultDoesNotExist(task.key)
    call = TaskCall.read(task.tags)
    attempts = [
        each for each in past_attempts(task.namespace, list(history)) if each.outcome != "released"
    ]
    status = STATUSES.get(task.state, TaskResultStatus.READY)
    errors = [_error(each.error) for each in attempts if each.error is not None]
    if status == TaskResultStatus.FAILED and not (attempts and attempts[-1].error):
        errors.append(_unrun(task))
    result: TaskResult[Any] = TaskResult(
        task=_unchecked(
            own,
            priority=task.priority,
            queue_name=task.lane,
            run_after=_shown(_run_after(task, history)),
            backend=alias,
        ),
        id=task.key,
        status=status,
        enqueued_at=_shown(task.created_at),
        started_at=_shown(attempts[0].started_at) if attempts else None,
        last_attempted_at=_shown(attempts[-1].started_at) if attempts else None,
        finished_at=_shown(task.finished_at),
        args=call.args,
        kwargs=call.kwargs,
        backend=alias,
        errors=errors,
        worker_ids=[each.node for each in attempts],
    )
    object.__setattr__(result, "_return_value", task.result)
    return result


def result_of_row(alias: str, row: OutboxRow) -> TaskResult[Any]:
    """The same of a row that no relay has taken yet. Raises TaskResultDoesNotExist."""
    try:
        order = order_of_row(row)
    except RowError as error:
        raise TaskResultDoesNotExist(row.key) from error
    made = Task(
        number=0,
        namespace=row.namespace,
        caller_key=row.key,
        priority=order.priority,
        tags_json=order.tags_json,
        policy=order.policy,
        created_at_us=row.made_at,
        scheduled_at_us=order.scheduled_at or row.made_at,
        expires_at_us=None,
        seen_at_us=row.made_at,
        route=order.route,
    )
    return result_of(alias, made, ())


def _unchecked(task: DjangoTask[..., Any], **changes: object) -> DjangoTask[..., Any]:
    """The task as it was made, also where the settings would not let it be made today."""
    kind = type(task)
    other = object.__new__(kind)
    for name in kind.__dataclass_fields__:
        object.__setattr__(other, name, changes.get(name, getattr(task, name)))
    return other


def _error(error: ErrorInfo) -> TaskError:
    path = error.type
    if path == LAPSED:
        path = f"{WorkerDiedError.__module__}.{WorkerDiedError.__qualname__}"
    elif "." not in path:
        path = f"builtins.{path}"
    text = error.traceback or f"{error.type}: {error.message}\n"
    return TaskError(exception_class_path=path, traceback=text)


def _unrun(task: Task) -> TaskError:
    """Why a task ended that no attempt has ended: called off, or out of time."""
    problem = TaskFailedError(task.key, task.state, reason=task.final_reason, error=None)
    path = f"{TaskFailedError.__module__}.{TaskFailedError.__qualname__}"
    return TaskError(exception_class_path=path, traceback=f"{path}: {problem}\n")


def _run_after(task: Task, history: Sequence[Event]) -> datetime | None:
    """When it was made to run, whatever its retries have made of that; None for at once."""
    made = next((event.body for event in history if isinstance(event.body, Created)), None)
    begins_us = task.scheduled_at_us if made is None else made.scheduled_at
    return instant(begins_us) if begins_us and begins_us > task.created_at_us else None


def _shown(at: datetime | None) -> datetime | None:
    """As `timezone.now()` would have it under the settings."""
    return at if at is None or settings.USE_TZ else timezone.make_naive(at)


def _imported(name: str) -> Any:  # noqa: ANN401 - a module, or None
    is_own = any(f"{name}.".startswith(f"{app.name}.") for app in apps.get_app_configs())
    if not is_own:
        return sys.modules.get(name)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # A module that itself lacks something is not there in another way.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            return None
        raise
