"""What spans of tasks are called and say, by OpenTelemetry's conventions for messaging.

Live ones (`otel`) and those of recorded histories (`otlp`) agree by this module. Tags and results
are never told.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from eventq.core.task import Task
from eventq.core.values import ErrorInfo

SYSTEM = "eventq"
DEFAULT_NAMESPACE = "default"
_PARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

Operation = Literal["send", "process"]
Value = str | int | bool
Attributes = dict[str, Value]


def destination_of(name: str | None, lane: str) -> str:
    """Where a task goes: to the handler of its name, or to whoever takes its lane."""
    return lane if name is None else name


def making_attributes(destinations: Sequence[str], count: int) -> Attributes:
    """Of the span in which tasks are made."""
    found = operation_attributes("send", destinations[0] if len(destinations) == 1 else None)
    if count > 1:
        found["messaging.batch.message_count"] = count
    return found


def attempt_attributes(task: Task) -> Attributes:
    """Of the span of an attempt, from the task as it was leased."""
    found = operation_attributes("process", destination_of(task.name, task.lane))
    found |= task_attributes(task)
    found["messaging.client.id"] = task.worker or ""
    found["eventq.attempt"] = task.attempt
    return found


def operation_attributes(operation: Operation, destination: str | None) -> Attributes:
    """What metrics tell as well."""
    found: Attributes = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if destination is not None:
        found["messaging.destination.name"] = destination
    return found


def task_attributes(task: Task) -> Attributes:
    """Which task it is about; what is as ever is left out, since each costs at each attempt."""
    found: Attributes = {"messaging.message.id": task.key}
    if task.caller_key is not None:
        found["eventq.task"] = task.number
    if task.route.lane is not None:
        found["eventq.lane"] = task.route.lane
    if task.namespace != DEFAULT_NAMESPACE:
        found["eventq.namespace"] = task.namespace
    return found


def exception_attributes(error: ErrorInfo) -> Attributes:
    """Of the event ``exception``."""
    found: Attributes = {
        "exception.type": error.type,
        "exception.message": error.message,
    }
    if error.traceback:
        found["exception.stacktrace"] = error.traceback
    return found


def status_of(error: ErrorInfo) -> str:
    """What the status of a span says of an error."""
    return f"{error.type}: {error.message}" if error.message else error.type


def ids_of(context: str) -> tuple[str, str, str, str] | None:
    """Trace, span, flags and state of a W3C trace context; None for one that is not understood.

    That may be one of a newer version of W3C's, or of a log that somebody has altered.
    """
    parent, _, state = context.partition(" ")
    found = _PARENT.fullmatch(parent)
    if found is None:
        return None
    trace, span, flags = found.groups()
    return (trace, span, flags, state) if int(trace, 16) and int(span, 16) else None
