"""Differences between points, and what a search found, as people see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from eventq.audit.bisect import Found
from eventq.audit.diff import LogDifference
from eventq.cli.output import Column, Pairs, listing
from eventq.cli.text import json_text, short, tag_text, time_text, visible
from eventq.cli.views.change import NAMES, PASSED, TaskChange
from eventq.cli.views.fields import INSTANTS
from eventq.cli.views.tasks import (
    ERROR_CHARACTERS,
    VALUE_CHARACTERS,
    backoff_text,
    error_text,
    event_text,
)
from eventq.core.events import ErrorInfo, Policy
from eventq.core.task import Task

COUNT_COLUMNS = ["COUNT", "BEFORE", "AFTER", "CHANGE"]


def point_pairs(found: LogDifference) -> Pairs:
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
        for node in found.open.holders
        for old, new in [node.fields.get("leases", (0, 0))]
        if old != new
    ]
    return rows


def found_pairs(found: Found) -> Pairs:
    """What a search found, as names and values."""
    event, task = found.event, found.task_after
    pairs = [
        ("position", str(event.seq)),
        ("at", time_text(event.at)),
        ("task", "-" if task is None else visible(task.key)),
        ("kind", visible(event.kind)),
        ("what", event_text(event)),
    ]
    if task is not None and found.task_before is not None:
        changes = task_changes(found.task_before, task)
        pairs += [("" if place else "changed", text) for place, text in enumerate(changes)]
    return pairs


def found_rows(before: dict[str, int], after: dict[str, int]) -> list[list[str]]:
    """All numbers, in cells below COUNT_COLUMNS."""
    return [[name, str(n), str(after[name]), _delta(n, after[name])] for name, n in before.items()]


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


def _delta(old: int | None, new: int | None) -> str:
    change = (new or 0) - (old or 0)
    return f"{change:+}" if change else "-"


def _ending(task: Task) -> str:
    """Why, or with which result, a task ended; to follow its state."""
    if task.final_reason:
        return f": {visible(task.final_reason)}"
    if task.result_json is not None:
        return f": {json_text(task.result)}"
    return ""


def _field_texts(fields: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    for name, (old, new) in fields.items():
        shown = NAMES.get(name, name)
        yield f"{shown.replace('_', ' ')} {_text(shown, old)} -> {_text(shown, new)}"


def _text(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name in INSTANTS and isinstance(value, int):
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


def _changes(change: TaskChange) -> str:
    task = change.final
    if task is not None and change.what == PASSED:
        return f"{task.state}{_ending(task)}"
    before, after = change.fields.get("state", ("", ""))
    if before is not None and after is not None:
        return "; ".join(_field_texts(change.fields))
    missing = "-" if task is None else str(task.recorded_state)
    ending = _ending(task) if after is None and task is not None else ""
    return f"state {before or missing} -> {after or missing}{ending}"


CHANGES = listing(
    Column("KEY", lambda change: visible(change.key)),
    Column("WHAT", lambda change: change.what),
    Column("CHANGES", lambda change: short(_changes(change), VALUE_CHARACTERS)),
)
