"""Differences and findings in the two forms the command shows them: for programs, for people.

The JSON forms are a promise, as in forms.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from eventq.audit.bisect import Found
from eventq.audit.diff import LogDifference
from eventq.cli.text import iso_text, json_text, short, tag_text, time_text, visible
from eventq.cli.views.tasks import (
    ERROR_CHARACTERS,
    VALUE_CHARACTERS,
    backoff_text,
    error_text,
    event_form,
    task_form,
)
from eventq.core.events import ErrorInfo, Policy
from eventq.core.task import Task
from eventq.replay.points import Point
from eventq.snapshot import HolderDifference, TaskDifference

# How fields of Task are called here, where another name is theirs than that of the struct.
_NAMES = {
    "created_at_us": "created_at",
    "scheduled_at_us": "scheduled_at",
    "expires_at_us": "expires_at",
    "caller_key": "key",
    "result_json": "result",
}
_INSTANTS = {"created_at", "scheduled_at", "expires_at", "seen_at"}

TASK_CHANGE_COLUMNS = ["KEY", "WHAT", "CHANGES"]
COUNT_COLUMNS = ["COUNT", "BEFORE", "AFTER", "CHANGE"]


def points_form(found: LogDifference) -> dict[str, Any]:
    """What two points differ in, without the tasks, for programs."""
    return {
        "equal": found.is_empty,
        "before": _point_form(found.before),
        "after": _point_form(found.after),
        "same_until": found.same_until,
        "counts": found.open.counts,
        "events": found.open.events,
        "passed": found.passed,
        "nodes": [
            {"worker": node.worker, "fields": _field_forms(node.fields)}
            for node in found.open.holders
        ],
    }


def change_form(task: TaskDifference, other: Task | None = None) -> dict[str, Any]:
    """A task that differs, for programs; ``other`` is what it is where it is not open."""
    return {
        "key": task.key,
        "number": task.number,
        "what": change_word(task, other),
        "fields": _field_forms(task.fields),
        "final": None if other is None else task_form(other),
    }


def passed_form(task: Task) -> dict[str, Any]:
    """A task that came and went between two points, for programs."""
    return {
        "key": task.key,
        "number": task.number,
        "what": "passed",
        "fields": {"state": [None, str(task.state)]},
        "final": task_form(task),
    }


def change_word(task: TaskDifference, other: Task | None) -> str:
    """What happened to the task, in one word."""
    if task.appeared:
        return "appeared" if other is None else "reopened"
    if task.vanished:
        return "vanished" if other is None else str(other.recorded_state)
    return "changed"


def change_row(task: TaskDifference, other: Task | None = None) -> list[str]:
    """A task that differs, in cells below TASK_CHANGE_COLUMNS."""
    word = change_word(task, other)
    if other is not None:
        states = [
            str(other.recorded_state) if state is None else str(state)
            for state in task.fields["state"]
        ]
        text = f"state {states[0]} -> {states[1]}{_ending(other) if task.vanished else ''}"
    elif task.appeared or task.vanished:
        text = " -> ".join("-" if state is None else str(state) for state in task.fields["state"])
        text = f"state {text}"
    else:
        text = "; ".join(_field_texts(task.fields))
    return [visible(task.key), word, short(text, VALUE_CHARACTERS)]


def passed_row(task: Task) -> list[str]:
    """A task that came and went, in cells below TASK_CHANGE_COLUMNS."""
    return [visible(task.key), "passed", short(f"{task.state}{_ending(task)}", VALUE_CHARACTERS)]


def point_pairs(found: LogDifference) -> list[tuple[str, str]]:
    """From where to where, as names and values."""
    return [
        ("from", f"position {found.before.seq}, {time_text(found.before.at)}"),
        ("to", f"position {found.after.seq}, {time_text(found.after.at)}"),
        ("same until", f"position {found.same_until}"),
    ]


def count_rows(found: LogDifference) -> list[list[str]]:
    """The numbers that differ, in cells below COUNT_COLUMNS."""
    numbers = [*found.open.counts.items()]
    numbers += [(f"{kind} events", pair) for kind, pair in found.open.events.items()]
    rows = [
        [name, str(old), str(new), f"{new - old:+}"] for name, (old, new) in numbers if old != new
    ]
    rows += [
        [f"leases of {visible(node.worker)}", str(old or 0), str(new or 0), _delta(old, new)]
        for node, (old, new) in _lease_counts(found.open.holders)
    ]
    return rows


def found_form(found: Found) -> dict[str, Any]:
    """What a search found, for programs."""
    return {
        "event": event_form(found.event),
        "before": found.before,
        "after": found.after,
        "task_before": None if found.task_before is None else task_form(found.task_before),
        "task_after": None if found.task_after is None else task_form(found.task_after),
    }


def found_rows(before: dict[str, int], after: dict[str, int]) -> list[list[str]]:
    """All numbers, in cells below COUNT_COLUMNS."""
    return [
        [name, str(old), str(after[name]), _delta(old, after[name])] for name, old in before.items()
    ]


def task_changes(before: Task, after: Task) -> list[str]:
    """What an event changed in its task, one text a field."""
    names = [name for name in Task.__struct_fields__ if name not in {"seen_at_us", "tags_json"}]
    fields = {
        name: (getattr(before, name), getattr(after, name))
        for name in names
        if name != "recorded_state" and getattr(before, name) != getattr(after, name)
    }
    if before.state is not after.state:
        fields = {"state": (before.state, after.state), **fields}
    if before.tags_json != after.tags_json:
        fields["tags"] = (before.tags, after.tags)
    return list(_field_texts(fields))


def _lease_counts(
    nodes: list[HolderDifference],
) -> Iterator[tuple[HolderDifference, tuple[Any, Any]]]:
    for node in nodes:
        if "leases" in node.fields:
            yield node, node.fields["leases"]


def _delta(old: int | None, new: int | None) -> str:
    change = (new or 0) - (old or 0)
    return f"{change:+}" if change else "-"


def _point_form(point: Point) -> dict[str, Any]:
    return {"seq": point.seq, "at": iso_text(point.at)}


def _ending(task: Task) -> str:
    """Why or with what a task has ended, to stand behind its state."""
    if task.final_reason:
        return f": {visible(task.final_reason)}"
    if task.result_json is not None:
        return f": {json_text(task.result)}"
    return ""


def _field_forms(fields: dict[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    return {
        _NAMES.get(name, name): [_value_form(_NAMES.get(name, name), value) for value in pair]
        for name, pair in fields.items()
    }


def _value_form(name: str, value: object) -> Any:  # noqa: ANN401 - any JSON value
    if value is None:
        return None
    if name in _INSTANTS and isinstance(value, int):
        return iso_text(value)
    if isinstance(value, bytes):
        return msgspec.json.decode(value)
    if isinstance(value, ErrorInfo | Policy):
        return {field: getattr(value, field) for field in value.__struct_fields__}
    return value


def _field_texts(fields: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    for name, (old, new) in fields.items():
        shown = _NAMES.get(name, name)
        yield f"{shown.replace('_', ' ')} {_text(shown, old)} -> {_text(shown, new)}"


def _text(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name in _INSTANTS and isinstance(value, int):
        return time_text(value)
    if isinstance(value, Policy):
        return backoff_text(value)
    return short(_long_text(value), ERROR_CHARACTERS)


def _long_text(value: object) -> str:
    if isinstance(value, ErrorInfo):
        return error_text(value)
    if isinstance(value, bytes):
        return json_text(msgspec.json.decode(value))
    if isinstance(value, dict):
        return tag_text(value) or "no tags"
    return visible(str(value)) or "-"
