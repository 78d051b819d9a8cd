"""Tasks, events and numbers in the two forms the command shows them: for programs, for people.

The JSON forms are a promise: fields may be added, never renamed, retyped or taken away. Instants
are ISO 8601 in UTC with microseconds; durations are whole microseconds in fields ending in ``_us``.
An event's ``body`` is what the log holds, where instants are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from eventq import Event, Stats, Task
from eventq.cli.text import (
    iso_text,
    json_text,
    short,
    tag_text,
    time_text,
    visible,
    visible_lines,
)
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    ErrorInfo,
    Expired,
    Failed,
    Leased,
    Policy,
    Refused,
    Released,
    Renewed,
    Retried,
    Unknown,
    Updated,
)

# Long values are cut here where one line shows an event or a task.
VALUE_CHARACTERS = 200
ERROR_CHARACTERS = 80


def task_form(task: Task) -> dict[str, Any]:
    """A task for programs."""
    return {
        "key": task.key,
        "number": task.number,
        "namespace": task.namespace,
        "state": str(task.state),
        "priority": task.priority,
        "tags": task.tags,
        "created_at": iso_text(task.created_at),
        "scheduled_at": iso_text(task.scheduled_at),
        "expires_at": None if task.expires_at is None else iso_text(task.expires_at),
        "age_us": task.seen_at_us - task.created_at_us,
        "attempt": task.attempt,
        "retry_count": task.retry_count,
        "worker": task.worker,
        "last_error": None if task.last_error is None else _error_form(task.last_error),
        "result": task.result,
        "result_missing": task.result_missing,
        "final_reason": task.final_reason,
        "policy": {name: getattr(task.policy, name) for name in Policy.__struct_fields__},
    }


def event_form(event: Event) -> dict[str, Any]:
    """An event for programs."""
    if isinstance(event.body, Unknown):
        body: dict[str, Any] = msgspec.json.decode(event.body.raw)
    else:
        body = msgspec.json.decode(msgspec.json.encode(event.body))
    body.pop("kind")
    return {
        "seq": event.seq,
        "at": iso_text(event.at),
        "task": event.task,
        "kind": event.kind,
        "body": body,
    }


def stats_form(stats: Stats) -> dict[str, Any]:
    """A queue's numbers for programs."""
    return {**msgspec.structs.asdict(stats), "open": stats.open, "total": stats.total}


TASK_COLUMNS = ["KEY", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "DUE IN", "LAST ERROR", "TAGS"]


def task_row(task: Task) -> list[str]:
    """A task's cells below TASK_COLUMNS."""
    error = task.last_error
    return [
        visible(task.key),
        str(task.state),
        str(task.priority),
        str(task.attempt),
        brief_duration(task.seen_at_us - task.created_at_us),
        # An instant would be too wide for a terminal of 80 columns.
        brief_duration(task.scheduled_at_us - task.seen_at_us)
        if task.state == "scheduled"
        else "-",
        "-" if error is None else short(error_text(error), ERROR_CHARACTERS),
        short(tag_text(task.tags), VALUE_CHARACTERS),
    ]


def task_pairs(task: Task) -> list[tuple[str, str]]:
    """Everything about a task, as names and values."""
    policy = task.policy
    pairs = [
        ("key", visible(task.key)),
        ("number", str(task.number)),
        ("namespace", task.namespace),
        ("state", str(task.state)),
        ("priority", str(task.priority)),
        ("tags", tag_text(task.tags) or "-"),
        ("created at", time_text(task.created_at)),
        ("scheduled at", time_text(task.scheduled_at)),
        ("expires at", time_text(task.expires_at)),
        ("age", brief_duration(task.seen_at_us - task.created_at_us)),
        ("attempts", str(task.attempt)),
        ("retries", f"{task.retry_count} of {_or(policy.max_retries, 'any number')}"),
        ("backoff", backoff_text(policy)),
        ("deadline", "-" if policy.deadline_us is None else show_duration(policy.deadline_us)),
    ]
    if task.worker is not None:
        pairs.append(("worker", visible(task.worker)))
    if task.final_reason:
        pairs.append(("reason", visible(task.final_reason)))
    if task.result_json is not None:
        pairs.append(("result", json_text(task.result)))
    if task.result_missing is not None:
        pairs.append(("result missing", visible(task.result_missing)))
    if task.last_error is not None:
        pairs.append(("last error", error_text(task.last_error)))
        lines = visible_lines(task.last_error.traceback) if task.last_error.traceback else []
        pairs += [("traceback" if index == 0 else "", line) for index, line in enumerate(lines)]
    return pairs


def error_text(error: ErrorInfo) -> str:
    """An error on one line."""
    return visible(f"{error.type}: {error.message}" if error.message else error.type)


def backoff_text(policy: Policy) -> str:
    """How long a retry waits, as ``--backoff`` takes it."""
    text = f"{policy.backoff}:{show_duration(policy.backoff_us)}"
    return (
        text if policy.backoff_cap_us is None else f"{text}:{show_duration(policy.backoff_cap_us)}"
    )


EVENT_COLUMNS = ["SEQ", "AT", "TASK", "KIND", "WHAT"]


def event_row(event: Event) -> list[str]:
    """An event's cells below EVENT_COLUMNS."""
    return [
        str(event.seq),
        time_text(event.at),
        str(event.task) if event.task else "-",
        visible(event.kind),
        short(event_text(event), VALUE_CHARACTERS),
    ]


def event_text(event: Event) -> str:
    """What an event says beside its kind, on one line."""
    return _TEXTS[type(event.body)](event.body)


def _created(body: Created) -> str:
    parts = [f"priority {body.priority}"]
    if body.key is not None:
        parts.insert(0, f"key {visible(body.key)}")
    if body.scheduled_at is not None:
        parts.append(f"for {time_text(body.scheduled_at)}")
    if body.expires_at is not None:
        parts.append(f"until {time_text(body.expires_at)}")
    tags = tag_text(msgspec.json.decode(body.tags))
    return ", ".join([*parts, tags] if tags else parts)


def _leased(body: Leased) -> str:
    return f"attempt {body.attempt} on {visible(body.worker)}, lease {show_duration(body.ttl_us)}"


def _completed(body: Completed) -> str:
    if body.result_missing is not None:
        return f"result missing: {visible(body.result_missing)}"
    return "" if body.result is UNSET else f"result {json_text(body.result)}"


def _failed(body: Failed) -> str:
    return error_text(body.error)


def _retried(body: Retried) -> str:
    what = "reopened for" if body.reopens is not None else "for"
    return f"{what} {time_text(body.scheduled_at)}{_by(body.by)}"


def _expired(body: Expired) -> str:
    return body.reason


def _cancelled(body: Cancelled) -> str:
    return f"{visible(body.reason)}{_by(body.by)}".strip()


def _renewed(body: Renewed) -> str:
    return f"{visible(body.worker)} for {show_duration(body.ttl_us)}"


def _released(body: Released) -> str:
    return visible(body.reason)


def _updated(body: Updated) -> str:
    parts = []
    if body.priority is not None:
        parts.append(f"priority {body.priority}")
    if body.scheduled_at is not None:
        parts.append(f"for {time_text(body.scheduled_at)}")
    if body.tags is not UNSET:
        parts.append(tag_text(msgspec.json.decode(body.tags)) or "no tags")
    return ", ".join(parts) + _by(body.by)


def _refused(body: Refused) -> str:
    return f"{body.outcome} came too late from {visible(body.worker)}"


def _unknown(body: Unknown) -> str:
    return visible(body.raw)


_TEXTS: dict[type, Callable[[Any], str]] = {
    Created: _created,
    Leased: _leased,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Expired: _expired,
    Cancelled: _cancelled,
    Renewed: _renewed,
    Released: _released,
    Updated: _updated,
    Refused: _refused,
    Unknown: _unknown,
}


def _by(by: str | None) -> str:
    return "" if by is None else f" by {visible(by)}"


def _error_form(error: ErrorInfo) -> dict[str, str]:
    return {"type": error.type, "message": error.message, "traceback": error.traceback}


def _or(value: object, otherwise: str) -> str:
    return otherwise if value is None else str(value)
