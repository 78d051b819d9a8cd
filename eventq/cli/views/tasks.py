"""Tasks and events as people see them; fields.py has what programs get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from eventq import Event, Stats, Task, TaskState
from eventq.audit.phrases import (
    counted,
    link_parts,
    planned_words,
    progress_words,
    ticked_words,
)
from eventq.cli.output import Listing, Pairs, cell
from eventq.cli.text import json_text, short, starred, tag_text, time_text, visible, visible_lines
from eventq.cli.views.fields import ListedTask
from eventq.cli.words import STATES
from eventq.core.commits import Unknown
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import (
    Asked,
    ByHand,
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Noted,
    Progressed,
    Refused,
    Released,
    Retried,
    Revived,
    Saved,
    Updated,
)
from eventq.core.queue_events import (
    Bulk,
    BulkEnded,
    Followed,
    Joined,
    Left,
    Limited,
    Paused,
    Planned,
    Renewed,
    Resumed,
    Shared,
    Ticked,
    Unfollowed,
    Unplanned,
)
from eventq.core.task import Progress
from eventq.core.values import Bucket, ErrorInfo, LogLine, Policy, Predecessor
from eventq.replay.rule_words import bucket_words, limit_words, scope_words, turn_words

# Long values are cut here where one line shows an event or a task.
VALUE_CHARACTERS = 200
ERROR_CHARACTERS = 80
# Told of a queue where there are any.
RULES = ("limits", "pauses", "schedules")


def task_pairs(task: Task) -> Pairs:
    """Everything about a task, as names and values."""
    policy, error = task.policy, task.last_error
    hidden = partial(starred, tags_json=task.tags_json, secret=task.secret)
    most_retries = "any number" if policy.max_retries is None else policy.max_retries
    pairs = [
        ("key", task.key),
        ("number", task.number),
        ("namespace", task.namespace),
        ("name", task.name),
        ("lane", task.lane),
        ("state", task.state),
        ("priority", task.priority),
        ("tags", tag_text(task.tags, task.secret) or "-"),
        ("created at", task.created_at),
        ("scheduled at", task.scheduled_at),
        ("expires at", task.expires_at),
        ("started at", task.started_at),
        ("finished at", task.finished_at),
        ("age", brief_duration(task.seen_at_us - task.created_at_us)),
        ("attempts", task.attempt),
        ("retries", f"{task.retry_count} of {most_retries}"),
        ("backoff", backoff_text(policy)),
        ("deadline", "-" if policy.deadline_us is None else show_duration(policy.deadline_us)),
    ]
    some = [
        ("schedule", task.schedule),
        ("due", task.due),
        ("after", after_text(task.after) or None),
        ("if failed", task.if_failed if task.after else None),
        ("given", ", ".join(f"{n} of {of}" for n, of in task.given.items()) or None),
        ("flow", task.flow),
        ("role", None if task.flow is None else task.role),
        ("cause", task.cause),
        ("limits", hidden(buckets_text(task.buckets)) or None),
        ("share", task.share and hidden(task.share)),
        ("unique", task.unique and hidden(task.unique)),
        ("needs", ", ".join(task.needs) or None),
        ("lapses in a row", task.lapses or None),
        ("lapses allowed", policy.max_lapses),
        ("snoozes", task.snoozes or None),
        ("trace", task.trace),
        ("progress", None if task.progress is None else progress_text(task.progress)),
        ("saved", None if task.saved_json is None else json_text(task.saved)),
        ("unknown", None if task.newer is None else newer_text(task.newer)),
        ("worker", task.worker),
        ("reason", hidden(task.final_reason or "") or None),
        ("result", None if task.result_json is None else json_text(task.result)),
        ("result missing", task.result_missing),
        ("last error", None if error is None else error_text(error)),
    ]
    pairs += [(name, value) for name, value in some if value is not None]
    return pairs + traceback_pairs("traceback", error)


def count_pairs(counts: Mapping[str, int]) -> Pairs:
    """How many tasks are in each state; unknown ones are named where there are some."""
    return [(name, n) for name, n in counts.items() if n or name != TaskState.UNKNOWN]


def stats_pairs(stats: Stats) -> Pairs:
    """A queue in numbers, as names and values."""
    names = (*STATES, "total", "attempts", "failures", "refused")
    nodes = " ".join(stats.nodes) or "-"
    return [
        *count_pairs({name: getattr(stats, name) for name in names}),
        ("events", stats.seq),
        ("log begins", stats.first_at),
        ("log ends", stats.last_at),
        ("nodes", nodes),
        *((f"unhandled {visible(name)}", count) for name, count in stats.unhandled.items()),
        *((f"held by {visible(what)}", count) for what, count in stats.held.items()),
        *((name, n) for name in RULES if (n := getattr(stats, name))),
    ]


def progress_text(progress: Progress) -> str:
    """How far an attempt has come, and when it said so."""
    return f"{_progress(progress)}, at {time_text(progress.at_us)}"


def _progress(told: Progress | Progressed) -> str:
    note = f" {visible(told.note)}" if told.note else ""
    return progress_words(told.done, told.total) + note


def line_text(line: LogLine) -> str:
    """What a worker logged, on one line."""
    return visible(f"{line.level}: {line.text}")


def newer_text(newer: tuple[int, str]) -> str:
    """What made a task unknown: position and kind of the event that only a newer eventq knows."""
    seq, kind = newer
    return f"event {seq} is of the unknown kind {visible(kind)}"


def traceback_pairs(name: str, error: ErrorInfo | None) -> Pairs:
    """An error's traceback, a pair a line, of which the first has the name."""
    lines = visible_lines(error.traceback) if error is not None and error.traceback else []
    return [("" if index else name, line) for index, line in enumerate(lines)]


def error_text(error: ErrorInfo) -> str:
    """An error on one line."""
    return visible(f"{error.type}: {error.message}" if error.message else error.type)


def backoff_text(policy: Policy) -> str:
    """How long a retry waits, as ``--backoff`` takes it."""
    cap_us = policy.backoff_cap_us
    cap = "" if cap_us is None else f":{show_duration(cap_us)}"
    return f"{policy.backoff}:{show_duration(policy.backoff_us)}{cap}"


def after_text(after: Iterable[Predecessor]) -> str:
    """The tasks that one comes after, each with how it stood if it was final."""
    return ", ".join(f"{e.task} {e.verdict}" if e.verdict else str(e.task) for e in after)


def buckets_text(buckets: Iterable[Bucket]) -> str:
    """The buckets that a task takes a place in, each by its limit and its value."""
    return visible(", ".join(map(bucket_words, buckets)))


def field_text(name: str, value: object) -> str:
    """A field of Task on one line, by its name there; a hyphen for none."""
    if value is None:
        return "-"
    return _FIELD_TEXTS.get(name, cell)(value)


_FIELD_TEXTS: dict[str, Callable[[Any], str]] = {
    "created_at_us": time_text,
    "scheduled_at_us": time_text,
    "expires_at_us": time_text,
    "policy": backoff_text,
    "last_error": error_text,
    "tags": tag_text,
    "tags_json": lambda text: tag_text(msgspec.json.decode(text)) or "-",
    "finished_at_us": time_text,
    "started_at_us": time_text,
    "needs": lambda needs: visible(" ".join(needs)) or "-",
    "buckets": lambda buckets: buckets_text(buckets) or "-",
    "after": lambda after: after_text(after) or "-",
    "given": lambda given: ", ".join(f"{name} of {of}" for name, of in given.items()) or "-",
    "newer": newer_text,
    "progress": progress_text,
    "saved_json": lambda text: json_text(msgspec.json.decode(text)),
    "result_json": lambda text: json_text(msgspec.json.decode(text)),
}


def event_text(event: Event) -> str:
    """What an event says besides its kind, on one line."""
    return _TEXTS[type(event.body)](event.body)


def _created(body: Created) -> str:
    hidden = partial(starred, tags_json=bytes(body.tags), secret=body.secret)
    facts = [
        ("key", body.key and visible(body.key)),
        ("", body.name and visible(body.name)),
        ("lane", body.lane and visible(body.lane)),
        ("priority", str(body.priority)),
        ("for", body.scheduled_at and time_text(body.scheduled_at)),
        ("until", body.expires_at and time_text(body.expires_at)),
        ("unique", body.unique and hidden(body.unique)),
        ("needs", visible(" ".join(body.needs))),
        ("limits", hidden(buckets_text(body.limits))),
        ("share", body.share and hidden(body.share)),
        ("like task", body.repeats and str(body.repeats)),
        ("by schedule", body.schedule and visible(body.schedule)),
        ("due", body.due and time_text(body.due)),
        ("flow key", body.flow_key and visible(body.flow_key)),
        ("trace", body.trace and visible(body.trace)),
    ]
    parts = [f"{name} {text}".lstrip() for name, text in facts if text]
    parts += [*link_parts(body), tag_text(msgspec.json.decode(body.tags), body.secret)]
    return ", ".join(filter(None, parts))


def result_text(body: Completed) -> str:
    """What an attempt returned, or why that was not kept; nothing where it returned nothing."""
    if body.result_missing is not None:
        return f"result missing: {visible(body.result_missing)}"
    return "" if body.result is UNSET else f"result {json_text(body.result)}"


def _completed(body: Completed) -> str:
    made = f"made {counted(body.made, 'task')}" if body.made else ""
    return ", ".join(part for part in (made, result_text(body)) if part)


def _failed(body: Failed) -> str:
    rule = "" if body.rule is None else f" (rule {visible(body.rule)})"
    return error_text(body.error) + rule


def _released(body: Released) -> str:
    if body.scheduled_at is None:
        return visible(body.reason)
    reason = f": {visible(body.reason)}" if body.reason else ""
    return f"snoozed until {time_text(body.scheduled_at)}{reason}"


def _joined(body: Joined) -> str:
    names = [*map(visible, body.names), *(["what has no name"] if body.unnamed else [])]
    slots = {"slots": body.slots} if body.lanes is None else body.lanes
    lanes = ", ".join(f"{visible(lane)} {count}" for lane, count in slots.items())
    return f"{visible(body.worker)} runs {' '.join(names) or 'nothing'}; {lanes or 'no lanes'}"


def _followed(body: Followed) -> str:
    words = f"{visible(body.follower)} at {body.seq}, by {visible(body.worker)}"
    if body.error is not None:
        words += f"; failed {body.failures} times: {error_text(body.error)}"
    return words if body.ttl_us else f"{words}, given back"


def _retried(body: Retried) -> str:
    what = "reopened for" if body.reopens is not None else "for"
    if body.revived_by is not None:
        what = f"brought back with task {body.revived_by}, for"
    return f"{what} {time_text(body.scheduled_at)}{_asked(body)}"


def _cancelled(body: Cancelled) -> str:
    cause = "" if body.cause is None else f" ({body.cause})"
    return f"{visible(body.reason)}{cause}{_by(body.by)}{_part(body)}".strip()


def _updated(body: Updated) -> str:
    parts = []
    if body.priority is not None:
        parts.append(f"priority {body.priority}")
    if body.lane is not None:
        parts.append(f"lane {visible(body.lane)}")
    if body.scheduled_at is not None:
        parts.append(f"for {time_text(body.scheduled_at)}")
    if body.tags is not UNSET:
        parts.append(tag_text(msgspec.json.decode(body.tags), body.secret) or "no tags")
    if body.waives:
        parts.append("waives what has failed")
    return ", ".join(parts) + _asked(body)


def _paused(body: Paused) -> str:
    until = "" if body.until is None else f" until {time_text(body.until)}"
    return f"{visible(scope_words(body.scope))}{until}{_asked(body)}"


def _asked(body: Asked) -> str:
    why = f": {visible(body.reason)}" if body.reason else ""
    return _by(body.by) + _part(body) + why


def _part(body: ByHand) -> str:
    """What it is a part of, what it takes back, and by what way it was asked for."""
    parts = [
        "" if body.bulk is None else f" in bulk {body.bulk}",
        "" if body.undoes is None else f", undoes {body.undoes}",
        "" if body.via == "code" else f", via {body.via}",
    ]
    return "".join(parts)


def _bulk(body: Bulk) -> str:
    return f"{body.action} of {counted(body.count, 'task')}{_asked(body)}"


def _bulk_ended(body: BulkEnded) -> str:
    return f"of {body.bulk}: {body.changed} changed, {body.moved_on} moved on"


_TEXTS: dict[type, Callable[[Any], str]] = {
    Created: _created,
    Leased: lambda body: (
        f"attempt {body.attempt} on {visible(body.worker)}, lease {show_duration(body.ttl_us)}"
    ),
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Expired: lambda body: f"{body.reason}{_by(body.by)}{_part(body)}",
    Bulk: _bulk,
    BulkEnded: _bulk_ended,
    Revived: lambda body: f"skipped {', '.join(map(str, body.skipped))}" if body.skipped else "",
    Cancelled: _cancelled,
    Renewed: lambda body: f"{visible(body.worker)} for {show_duration(body.ttl_us)}",
    Released: _released,
    Joined: _joined,
    Left: lambda body: visible(body.worker),
    Followed: _followed,
    Unfollowed: lambda body: f"{visible(body.follower)}{_asked(body)}",
    Planned: lambda body: f"{visible(body.schedule)} {visible(planned_words(body))}",
    Unplanned: lambda body: f"{visible(body.schedule)}{_by(body.by)}",
    Ticked: lambda body: f"{visible(body.schedule)}: {visible(ticked_words(body))}",
    Paused: _paused,
    Resumed: lambda body: f"{visible(scope_words(body.scope))}{_asked(body)}",
    Limited: lambda body: f"{visible(limit_words(body))}{_asked(body)}",
    Shared: lambda body: f"{visible(turn_words(body))}{_asked(body)}",
    Progressed: _progress,
    Saved: lambda body: f"value {json_text(body.value)}",
    Noted: lambda body: " | ".join(line_text(line) for line in body.lines),
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


def _waits_for(listed: ListedTask) -> str:
    task = listed.task
    return starred(listed.waits_for or _due(task), task.tags_json, task.secret)


def _last_error(task: Task) -> str:
    return "-" if task.last_error is None else short(error_text(task.last_error), ERROR_CHARACTERS)


def cut_event_text(event: Event) -> str:
    """`event_text`, cut where one line shows an event."""
    return short(event_text(event), VALUE_CHARACTERS)


TASKS = Listing(
    ("KEY", "task.key"),
    ("STATE", "task.state"),
    ("NAME", "task.name"),
    ("LANE", "task.route.lane"),
    ("PRIORITY", "task.priority"),
    ("ATTEMPTS", "task.attempt"),
    ("AGE", lambda one: brief_duration(one.task.seen_at_us - one.task.created_at_us)),
    ("WAITS FOR", _waits_for),
    ("LAST ERROR", lambda one: _last_error(one.task)),
    ("TAGS", lambda one: short(tag_text(one.task.tags, one.task.secret), VALUE_CHARACTERS)),
    elastic=2,
)
ATTEMPTS = Listing(
    ("ATTEMPT", "attempt"),
    ("NODE", "node"),
    ("STARTED AT", "started_at"),
    ("ENDED AT", "ended_at"),
    ("OUTCOME", "outcome"),
    ("LATE", "late"),
    ("ERROR", lambda each: "-" if each.error is None else error_text(each.error)),
)
EVENTS = Listing(
    ("SEQ", "event.seq", ">8"),
    ("AT", lambda named: time_text(named.event.at)),
    ("TASK", "key", ">12"),
    ("KIND", "event.kind", "<9"),
    ("WHAT", lambda named: cut_event_text(named.event)),
)
# One task's, as they come: nothing of what it tells is cut.
STORY = Listing(
    ("SEQ", "seq", ">8"),
    ("AT", lambda event: time_text(event.at)),
    ("KIND", "kind", "<10"),
    ("WHAT", event_text),
)
