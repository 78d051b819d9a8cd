"""Tasks and events as people see them; fields.py has what programs get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from eventq import Event, Stats, Task
from eventq.cli.output import Column, Pairs, listing
from eventq.cli.text import json_text, short, tag_text, time_text, visible, visible_lines
from eventq.cli.words import STATES
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


def task_pairs(task: Task) -> Pairs:
    """Everything about a task, as names and values."""
    policy = task.policy
    most_retries = "any number" if policy.max_retries is None else policy.max_retries
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
        ("retries", f"{task.retry_count} of {most_retries}"),
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
        pairs += traceback_pairs("traceback", task.last_error)
    return pairs


def stats_pairs(stats: Stats) -> Pairs:
    """A queue in numbers, as names and values."""
    names = (*STATES, "total", "attempts", "failures", "refused")
    return [
        *((name, str(getattr(stats, name))) for name in names),
        ("events", str(stats.seq)),
        ("nodes", " ".join(visible(node) for node in stats.nodes) or "-"),
    ]


def traceback_pairs(name: str, error: ErrorInfo | None) -> Pairs:
    """An error's traceback, a pair a line, of which the first has the name."""
    lines = visible_lines(error.traceback) if error is not None and error.traceback else []
    return [("" if index else name, line) for index, line in enumerate(lines)]


def error_text(error: ErrorInfo) -> str:
    """An error on one line."""
    return visible(f"{error.type}: {error.message}" if error.message else error.type)


def backoff_text(policy: Policy) -> str:
    """How long a retry waits, as ``--backoff`` takes it."""
    text = f"{policy.backoff}:{show_duration(policy.backoff_us)}"
    return (
        text if policy.backoff_cap_us is None else f"{text}:{show_duration(policy.backoff_cap_us)}"
    )


def event_text(event: Event) -> str:
    """What an event says besides its kind, on one line."""
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


def _completed(body: Completed) -> str:
    if body.result_missing is not None:
        return f"result missing: {visible(body.result_missing)}"
    return "" if body.result is UNSET else f"result {json_text(body.result)}"


def _retried(body: Retried) -> str:
    what = "reopened for" if body.reopens is not None else "for"
    return f"{what} {time_text(body.scheduled_at)}{_by(body.by)}"


def _updated(body: Updated) -> str:
    parts = []
    if body.priority is not None:
        parts.append(f"priority {body.priority}")
    if body.scheduled_at is not None:
        parts.append(f"for {time_text(body.scheduled_at)}")
    if body.tags is not UNSET:
        parts.append(tag_text(msgspec.json.decode(body.tags)) or "no tags")
    return ", ".join(parts) + _by(body.by)


_TEXTS: dict[type, Callable[[Any], str]] = {
    Created: _created,
    Leased: lambda body: (
        f"attempt {body.attempt} on {visible(body.worker)}, lease {show_duration(body.ttl_us)}"
    ),
    Completed: _completed,
    Failed: lambda body: error_text(body.error),
    Retried: _retried,
    Expired: lambda body: body.reason,
    Cancelled: lambda body: f"{visible(body.reason)}{_by(body.by)}".strip(),
    Renewed: lambda body: f"{visible(body.worker)} for {show_duration(body.ttl_us)}",
    Released: lambda body: visible(body.reason),
    Updated: _updated,
    Refused: lambda body: f"{body.outcome} came too late from {visible(body.worker)}",
    Unknown: lambda body: visible(body.raw),
}


def _by(by: str | None) -> str:
    return "" if by is None else f" by {visible(by)}"


def _due(task: Task) -> str:
    # An instant would be too wide for a terminal of 80 columns.
    is_waiting = task.state == "scheduled"
    return brief_duration(task.scheduled_at_us - task.seen_at_us) if is_waiting else "-"


def _last_error(task: Task) -> str:
    return "-" if task.last_error is None else short(error_text(task.last_error), ERROR_CHARACTERS)


def cut_event_text(event: Event) -> str:
    """`event_text`, cut where one line shows an event."""
    return short(event_text(event), VALUE_CHARACTERS)


TASKS = listing(
    Column("KEY", lambda task: visible(task.key)),
    Column("STATE", lambda task: str(task.state)),
    Column("PRIORITY", lambda task: str(task.priority)),
    Column("ATTEMPTS", lambda task: str(task.attempt)),
    Column("AGE", lambda task: brief_duration(task.seen_at_us - task.created_at_us)),
    Column("DUE IN", _due),
    Column("LAST ERROR", _last_error),
    Column("TAGS", lambda task: short(tag_text(task.tags), VALUE_CHARACTERS)),
    elastic=2,
)
EVENTS = listing(
    Column("SEQ", lambda event: str(event.seq), ">8"),
    Column("AT", lambda event: time_text(event.at)),
    Column("TASK", lambda event: str(event.task) if event.task else "-", ">7"),
    Column("KIND", lambda event: visible(event.kind), "<9"),
    Column("WHAT", cut_event_text),
)
