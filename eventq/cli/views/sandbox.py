"""What `rerun` and `whatif` found, as people see it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from eventq.audit.phrases import counted
from eventq.cli.output import Listing, Pairs
from eventq.cli.text import json_text, short, time_text, visible
from eventq.cli.views.tasks import ERROR_CHARACTERS, error_text, traceback_pairs
from eventq.core.durations import SECOND_US, UNITS_US, brief_duration, show_duration
from eventq.sandbox import Ended, Miss, Numbers, Rerun, Waits, WhatIf
from eventq.sandbox.whatif.meeting import TIME_SHARE

WHATIF_COLUMNS = ["", "RECORDED", "AS IT WAS", "WHAT IF"]
# Of so many shares, people are told.
SHARES = 10
COUNTED = (
    "workers", "tasks", "completed", "expired", "cancelled", "open", "attempts", "failures",
    "drawn",
)  # fmt: skip


def rerun_pairs(one: Rerun) -> Pairs:
    """A rerun as names and values."""
    recorded, task = one.recorded, one.recorded.task
    then = _ended_text(recorded.ended)
    verdict = f"{one.verdict}: {one.differs}"
    pairs = [
        ("key", task.key),
        ("attempt", task.attempt),
        ("leased at", f"{time_text(recorded.leased_at)} by {task.worker or '-'}"),
        ("recorded", then if one.recorded_us is None else f"{then} ({took(one.recorded_us)})"),
        ("here", f"{_ended_text(one.here)} ({took(one.here_us)})"),
        ("verdict", one.verdict if one.differs in {None, "outcome"} else verdict),
    ]
    if one.verdict != "same":
        pairs += traceback_pairs("traceback then", recorded.ended.error)
    return pairs + traceback_pairs("traceback here", one.here.error)


def took(duration_us: int | None) -> str:
    """How long something took, for people: exact enough to compare, short enough to read."""
    if duration_us is None:
        return "-"
    if duration_us < SECOND_US:
        return f"{duration_us / 1_000:.1f} ms"
    if duration_us < UNITS_US["m"]:
        return f"{duration_us / SECOND_US:.2f} s"
    return brief_duration(duration_us)


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
    rows += _wait_rows("task first wait", [numbers.first_waits for numbers in three])
    rows += _wait_rows("task duration", [numbers.durations for numbers in three])
    by_share = [numbers.by_share for numbers in three]
    for share in _most_attempted(found.what_if):
        waits = [each.get(share) for each in by_share]
        rows += _wait_rows(f"share {visible(share) or '-'} wait", waits)
    priorities = sorted({p for numbers in three for p in numbers.by_priority}, reverse=True)
    if len(priorities) > 1:
        for priority in priorities:
            waits = [numbers.by_priority.get(priority) for numbers in three]
            rows += _wait_rows(f"priority {priority} wait", waits)
    return rows


def misses_text(found: WhatIf) -> str | None:
    """Where the simulation of what was does not meet the record, in words; None where it does."""
    if not found.misses:
        return None
    told = [
        f"{each.measure.removesuffix('_us').replace('_', ' ')} {_value(each, each.recorded)} "
        f"recorded, {_value(each, each.simulated)} simulated"
        for each in found.misses
    ]
    return f"the simulation cannot repeat this record, so do not trust WHAT IF: {'; '.join(told)}"


def fewer_text(found: WhatIf) -> str | None:
    """That the record did not have its workers all the time, in words; None where it did."""
    most, mean = found.recorded.workers, found.mean_workers
    if mean > (1 - TIME_SHARE) * most:
        return None
    supposed = counted(found.what_if.workers, "worker")
    return (
        f"WHAT IF has {supposed} all the time that a node was there; the record had {most} at the "
        f"most and {mean:.1f} on average, since nodes came later or left earlier"
    )


def _value(miss: Miss, value: int | None) -> str:
    return took(value) if miss.measure.endswith("_us") else f"{value:,}"


def _most_attempted(numbers: Numbers) -> list[str]:
    """The shares with the most attempts, by name."""
    shares = numbers.by_share
    most = sorted(shares, key=lambda share: -shares[share].attempts)[:SHARES]
    return sorted(most)


def _wait_rows(name: str, waits: Sequence[Waits | None]) -> list[list[str]]:
    return [
        [f"{name} {label}", *[took(getattr(each, field, None)) for each in waits]]
        for label, field in (("median", "median_us"), ("p95", "p95_us"), ("max", "max_us"))
    ]


def _ended_text(ended: Ended) -> str:
    """How an attempt ended, on one line."""
    text = _ENDINGS.get(ended.kind, ended.kind)
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
    "cancelled": "cancelled by the worker",
    "lapsed": "no outcome: its lease lapsed",
    "released": "no outcome: it was given back",
    "called off": "no outcome: it was called off",
    "running": "no outcome: it still runs",
}


RERUNS = Listing(
    ("KEY", "recorded.task.key"),
    ("ATTEMPT", "recorded.task.attempt"),
    ("VERDICT", "verdict"),
    ("THEN TOOK", lambda one: took(one.recorded_us)),
    ("NOW TOOK", lambda one: took(one.here_us)),
    ("THEN", lambda one: short(_ended_text(one.recorded.ended), ERROR_CHARACTERS)),
    ("NOW", lambda one: short(_ended_text(one.here), ERROR_CHARACTERS)),
    elastic=2,
)
