"""Differences between points, and what a search found, as people see them."""

from __future__ import annotations

from typing import Any

from eventq.audit.bisect import Found
from eventq.audit.diff import LogDifference
from eventq.cli.output import Listing, Pairs
from eventq.cli.text import json_text, short, time_text, visible
from eventq.cli.views.change import NAMES, PASSED, TaskChange
from eventq.cli.views.tasks import ERROR_CHARACTERS, VALUE_CHARACTERS, event_text, field_text
from eventq.core.task import Task
from eventq.snapshot.comparing import task_fields

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
    numbers: list[tuple[str, tuple[int | None, int | None]]] = [*found.open.counts.items()]
    numbers += [(f"{kind} events", pair) for kind, pair in found.open.events.items()]
    numbers += [
        (f"leases of {visible(node.worker)}", node.fields.get("leases", (0, 0)))
        for node in found.open.holders
    ]
    return [_count_row(name, old, new) for name, (old, new) in numbers if old != new]


def found_pairs(found: Found) -> Pairs:
    """What a search found, as names and values."""
    event, task = found.event, found.task_after
    pairs = [
        ("position", event.seq),
        ("at", time_text(event.at)),
        ("task", None if task is None else task.key),
        ("kind", event.kind),
        ("what", event_text(event)),
    ]
    if task is not None and found.task_before is not None:
        changes = task_changes(found.task_before, task)
        pairs += [("" if place else "changed", text) for place, text in enumerate(changes)]
    return pairs


def found_rows(before: dict[str, int], after: dict[str, int]) -> list[list[str]]:
    """All numbers, in cells below COUNT_COLUMNS."""
    return [_count_row(name, count, after[name]) for name, count in before.items()]


def task_changes(before: Task, after: Task) -> list[str]:
    """What an event changed in its task, one text a field."""
    states = (before.state, after.state)
    state = {} if states[0] is states[1] else {"state": states}
    return _field_texts({**state, **task_fields(before, after)})


def _count_row(name: str, old: int | None, new: int | None) -> list[str]:
    change = (new or 0) - (old or 0)
    return [name, str(old or 0), str(new or 0), f"{change:+}" if change else "-"]


def _ending(task: Task) -> str:
    """Why, or with which result, a task ended; to follow its state."""
    if task.final_reason:
        return f": {visible(task.final_reason)}"
    if task.result_json is not None:
        return f": {json_text(task.result)}"
    return ""


def _field_texts(fields: dict[str, tuple[Any, Any]]) -> list[str]:
    return [
        f"{NAMES.get(name, name).replace('_', ' ')} {_text(name, old)} -> {_text(name, new)}"
        for name, (old, new) in fields.items()
    ]


def _text(name: str, value: object) -> str:
    text = field_text(name, value) or ("no tags" if name == "tags" else "-")
    return short(text, ERROR_CHARACTERS)


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


CHANGES = Listing(
    ("KEY", "key"),
    ("WHAT", "what"),
    ("CHANGES", lambda change: short(_changes(change), VALUE_CHARACTERS)),
)
