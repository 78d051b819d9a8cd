"""What was found, as people see it: columns by name, counts, and over what it was looked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from eventq.audit import Findings
from eventq.audit.phrases import counted
from eventq.catalog.orders import GroupBy
from eventq.catalog.passing_attempts import AttemptRecord
from eventq.catalog.record import TaskRecord
from eventq.cli.output import Listing
from eventq.cli.text import short, tag_text, time_text, visible
from eventq.core.durations import brief_duration

ERROR_CHARACTERS = 60
OF_TASKS = ["key", "name", "state", "attempts", "created", "ended", "waited", "ran", "error"]
OF_ATTEMPTS = [
    "key",
    "name",
    "attempt",
    "node",
    "started",
    "ended",
    "waited",
    "ran",
    "outcome",
    "error",
]

OF_LAST_ATTEMPT = frozenset({"waited", "ran", "error", "place"})

Shown = TaskRecord | AttemptRecord


def listing(columns: Sequence[str], each: str) -> Listing:
    """A table of these columns, which are of COLUMNS, of tasks or of attempts."""
    return Listing(*[(_title(name, each), COLUMNS[name]) for name in columns])


def _title(name: str, each: str) -> str:
    title = name.upper().replace("_", " ")
    # A task has had more attempts than the one that is told of.
    return f"LAST {title}" if each == "task" and name in OF_LAST_ATTEMPT else title


def grouped_listing(by: GroupBy) -> Listing:
    """A table of how many there are of each."""
    return Listing((by.upper(), lambda pair: visible(pair[0])), ("COUNT", lambda pair: pair[1]))


def span_text(after: int, seq: int) -> str:
    """Which events these are."""
    if seq > after:
        return f"events {after + 1} to {seq}"
    return f"no event after {seq}" if seq else "an empty log"


def reach_words(answer: Findings) -> str:
    """Over what it was looked, and how."""
    since = "" if answer.since is None else f"since {time_text(answer.since)} "
    how = "by the catalog" if answer.source == "catalog" else "by a pass over the log"
    span = span_text(answer.after, answer.seq)
    return f"{since}over {span}, as of {time_text(answer.at)}, {how}"


def found_words(answer: Findings, each: str) -> str:
    """How many there are, and where it was looked."""
    return f"{counted(answer.count, each)} {reach_words(answer)}"


def _of_task(get: Callable[[TaskRecord], object]) -> Callable[[Any], object]:
    return lambda found: get(found.task if isinstance(found, AttemptRecord) else found)


def _time(at: int | None) -> str:
    return time_text(at)


def _took(length_us: int | None) -> str:
    return "-" if length_us is None else brief_duration(length_us)


def _error(task: TaskRecord) -> str:
    if task.error_type is None:
        return "-"
    message = f"{task.error_type}: {task.error_message}" if task.error_message else task.error_type
    return short(visible(message), ERROR_CHARACTERS)


def _names(names: Sequence[str]) -> str:
    return visible(" ".join(names)) or "-"


def _open_time(found: Shown) -> str:
    return _time(found.ended_at)


def _of_attempt(get: Callable[[AttemptRecord], object]) -> Callable[[Any], object]:
    return lambda found: get(found) if isinstance(found, AttemptRecord) else None


COLUMNS: dict[str, Callable[[Any], object]] = {
    "key": _of_task(lambda task: visible(task.key)),
    "number": _of_task(lambda task: task.number),
    "name": _of_task(lambda task: task.name),
    "lane": _of_task(lambda task: task.lane),
    "state": _of_task(lambda task: task.state),
    "priority": _of_task(lambda task: task.priority),
    "tags": _of_task(lambda task: tag_text(msgspec.json.decode(task.tags_json)) or "-"),
    "attempts": _of_task(lambda task: task.attempts),
    "created": _of_task(lambda task: _time(task.created_at)),
    "scheduled": _of_task(lambda task: _time(task.scheduled_at)),
    "ended": _open_time,
    "changed": _of_task(lambda task: _time(task.last_at)),
    "waited": _of_task(lambda task: _took(task.waited_us)),
    "ran": _of_task(lambda task: _took(task.ran_us)),
    "error": _of_task(_error),
    "place": _of_task(lambda task: visible(task.error_place) or "-"),
    "nodes": _of_task(lambda task: _names(task.nodes)),
    "lapses": _of_task(lambda task: task.lapses),
    "refused": _of_task(lambda task: task.refused),
    "ran_twice": _of_task(lambda task: "yes" if task.ran_twice else "no"),
    "flow": _of_task(lambda task: task.flow),
    "schedule": _of_task(lambda task: task.schedule),
    "by": _of_task(lambda task: _names(task.by)),
    "attempt": _of_attempt(lambda found: found.attempt),
    "node": _of_attempt(lambda found: visible(found.node)),
    "fence": _of_attempt(lambda found: found.fence),
    "started": _of_attempt(lambda found: _time(found.started_at)),
    "outcome": _of_attempt(lambda found: found.outcome),
    "late": _of_attempt(lambda found: found.late),
}
OF_ATTEMPTS_ALONE = frozenset({"attempt", "node", "fence", "started", "outcome", "late"})
