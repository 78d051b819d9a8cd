"""What `rerun` and `whatif` found, in the two forms the command shows: for programs, for people.

The JSON forms are a promise, as those in forms.py are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from eventq.cli.text import iso_text, json_text, short, visible, visible_lines
from eventq.cli.views.tasks import ERROR_CHARACTERS, error_text
from eventq.core.durations import SECOND_US, UNITS_US, brief_duration, show_duration
from eventq.sandbox import Ended, Numbers, Rerun, Waits, WhatIf

RERUN_COLUMNS = ["KEY", "ATTEMPT", "VERDICT", "THEN TOOK", "NOW TOOK", "THEN", "NOW"]


def rerun_form(one: Rerun) -> dict[str, Any]:
    """A rerun for programs."""
    recorded = one.recorded
    return {
        "key": recorded.task.key,
        "number": recorded.task.number,
        "attempt": recorded.task.attempt,
        "fence": recorded.task.fence,
        "worker": recorded.task.worker,
        "leased_at": iso_text(recorded.leased_at),
        "verdict": one.verdict,
        "differs": one.differs,
        "recorded": _ended_form(recorded.ended),
        "here": _ended_form(one.here),
        "recorded_us": one.recorded_us,
        "here_us": one.here_us,
    }


def rerun_row(one: Rerun) -> list[str]:
    """A rerun's cells below RERUN_COLUMNS."""
    return [
        visible(one.recorded.task.key),
        str(one.recorded.task.attempt),
        one.verdict,
        took(one.recorded_us),
        took(one.here_us),
        short(_ended_text(one.recorded.ended), ERROR_CHARACTERS),
        short(_ended_text(one.here), ERROR_CHARACTERS),
    ]


def rerun_pairs(one: Rerun) -> list[tuple[str, str]]:
    """A rerun as names and values."""
    recorded = one.recorded
    then = _ended_text(recorded.ended)
    verdict = f"{one.verdict}: {one.differs}"
    pairs = [
        ("key", visible(recorded.task.key)),
        ("attempt", str(recorded.task.attempt)),
        ("leased at", f"{iso_text(recorded.leased_at)} by {visible(recorded.task.worker or '-')}"),
        ("recorded", then if one.recorded_us is None else f"{then} ({took(one.recorded_us)})"),
        ("here", f"{_ended_text(one.here)} ({took(one.here_us)})"),
        ("verdict", one.verdict if one.differs in {None, "outcome"} else verdict),
    ]
    if one.verdict != "same":
        pairs += _traceback("traceback then", recorded.ended)
    return pairs + _traceback("traceback here", one.here)


def took(duration_us: int | None) -> str:
    """How long something took, for people: exact enough to compare, short enough to read."""
    if duration_us is None:
        return "-"
    if duration_us < SECOND_US:
        return f"{duration_us / 1_000:.1f} ms"
    if duration_us < UNITS_US["m"]:
        return f"{duration_us / SECOND_US:.2f} s"
    return brief_duration(duration_us)


def _ended_form(ended: Ended) -> dict[str, Any]:
    error = ended.error
    return {
        "outcome": ended.kind,
        "result": None if ended.result_json is None else msgspec.json.decode(ended.result_json),
        "result_missing": ended.result_missing,
        "error": None if error is None else msgspec.structs.asdict(error),
        "delay_us": ended.delay_us,
        "late": ended.late,
    }


def _ended_text(ended: Ended) -> str:
    """How an attempt ended, on one line."""
    text = _ENDINGS[ended.kind]
    if ended.result_missing is not None:
        text += f", result missing: {visible(ended.result_missing)}"
    if ended.result_json is not None:
        text += f", result {json_text(msgspec.json.decode(ended.result_json))}"
    if ended.error is not None:
        text += f", {error_text(ended.error)}"
    if ended.delay_us is not None:
        text += f", again after {show_duration(ended.delay_us)}"
    if ended.late is not None:
        text += f"; {ended.late} came too late"
    return text


_ENDINGS = {
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled by the worker",
    "lapsed": "no outcome: its lease lapsed",
    "released": "no outcome: it was given back",
    "called off": "no outcome: it was called off",
    "running": "no outcome: it still runs",
}


def _traceback(name: str, ended: Ended) -> list[tuple[str, str]]:
    text = "" if ended.error is None else ended.error.traceback
    lines = visible_lines(text) if text else []
    return [(name if index == 0 else "", line) for index, line in enumerate(lines)]


WHATIF_COLUMNS = ["", "RECORDED", "AS IT WAS", "WHAT IF"]


def whatif_form(found: WhatIf) -> dict[str, Any]:
    """A what-if for programs."""
    return {
        **msgspec.structs.asdict(found),
        "recorded": _numbers_form(found.recorded),
        "as_it_was": _numbers_form(found.as_it_was),
        "what_if": _numbers_form(found.what_if),
    }


def whatif_rows(found: WhatIf) -> list[list[str]]:
    """A what-if's cells below WHATIF_COLUMNS."""
    three = (found.recorded, found.as_it_was, found.what_if)
    rows = [
        [name.replace("_", " "), *[f"{getattr(numbers, name):,}" for numbers in three]]
        for name in COUNTED
    ]
    rows.append(["makespan", *[took(numbers.makespan_us) for numbers in three]])
    rates = [numbers.completed_per_s for numbers in three]
    rows.append(["completed/s", *["-" if rate is None else f"{rate:,.3g}" for rate in rates]])
    rows += _wait_rows("wait", [numbers.waits for numbers in three])
    priorities = sorted({p for numbers in three for p in numbers.by_priority}, reverse=True)
    if len(priorities) > 1:
        for priority in priorities:
            waits = [numbers.by_priority.get(priority) for numbers in three]
            rows += _wait_rows(f"priority {priority} wait", waits)
    return rows


COUNTED = (
    "workers", "tasks", "completed", "expired", "cancelled", "open", "attempts", "failures",
    "drawn",
)  # fmt: skip


def _wait_rows(name: str, waits: Sequence[Waits | None]) -> list[list[str]]:
    return [
        [f"{name} {label}", *[took(getattr(each, field, None)) for each in waits]]
        for label, field in (("median", "median_us"), ("p95", "p95_us"), ("max", "max_us"))
    ]


def _numbers_form(numbers: Numbers) -> dict[str, Any]:
    form = msgspec.structs.asdict(numbers)
    form["waits"] = msgspec.structs.asdict(numbers.waits)
    form["by_priority"] = [
        {"priority": priority, **msgspec.structs.asdict(waits)}
        for priority, waits in numbers.by_priority.items()
    ]
    return form
