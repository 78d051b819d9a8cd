"""Histories, timelines, states and reasons as people see them."""

from __future__ import annotations

from functools import partial

from eventq.audit import QueueState, Step, Why
from eventq.cli.output import Listing, Pairs
from eventq.cli.text import short, starred, time_text, visible
from eventq.cli.views.fields import TaskAtPoint
from eventq.cli.views.tasks import (
    VALUE_CHARACTERS,
    count_pairs,
    cut_event_text,
    event_text,
    result_text,
    task_pairs,
)
from eventq.core.commits import Event, Unknown
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import Completed, Created, Failed, Leased, Retried
from eventq.core.values import LAPSED
from eventq.replay.rule_words import turn_words

# A reason may hold one that a person gave, of any length.
REASON_CHARACTERS = 400


def state_pairs(state: QueueState) -> Pairs:
    """A queue at a point, as names and values."""
    pairs = [("at", time_text(state.at)), ("position", state.seq), ("seal", state.seal)]
    pairs += [*count_pairs(state.counts), ("total", state.total)]
    if state.overdue:
        pairs.append(("past expiry", f"{state.overdue} of the ready ones"))
    if state.turns is not None:
        pairs.append(("turns", visible(turn_words(state.turns))))
    if state.unknown is not None:
        seq, kind = state.unknown
        pairs.append(("unknown", f"{kind} at {seq}: not counted from there on"))
    return pairs


def task_at_pairs(shown: TaskAtPoint) -> Pairs:
    """A task at a point, as names and values."""
    point = shown.point
    return [("at", time_text(point.at)), ("position", point.seq), *task_pairs(shown.task)]


def why_pairs(why: Why) -> Pairs:
    """An answer of `why`, as names and values."""
    task = why.task
    hidden = partial(starred, tags_json=task.tags_json, secret=task.secret)
    words = [short(hidden(text), REASON_CHARACTERS) for text in (why.verdict, *why.notes)]
    return [
        ("key", task.key),
        ("number", task.number),
        ("at", time_text(why.at)),
        ("position", why.seq),
        ("state", task.state),
        ("priority", task.priority),
        ("scheduled at", time_text(task.scheduled_at)),
        *(("" if index else "why", text) for index, text in enumerate(words)),
    ]


def leases_at(now: int) -> Listing:
    """How leases are listed, as of an instant."""
    return Listing(
        ("KEY", "task.key"),
        ("ATTEMPT", "task.attempt"),
        ("HELD FOR", lambda held: brief_duration(now - held.leased_at)),
        ("LAST SIGN", lambda held: f"{brief_duration(now - held.seen_at)} ago"),
        ("LEASE", lambda held: show_duration(held.ttl_us)),
        ("NODE", "worker"),
    )


def tasks_by(field: str, now: int) -> Listing:
    """How tasks are listed by an instant of theirs, as seen from another."""

    def away(task: object) -> str:
        at = getattr(task, field)
        return brief_duration(at - now) if at > now else f"{brief_duration(at - now)} ago"

    return Listing(
        ("KEY", "key"), ("IN", away), ("AT", lambda task: time_text(getattr(task, field)))
    )


def nodes_at(now: int) -> Listing:
    """How nodes with leases are listed, as of an instant."""
    return Listing(
        ("NODE", "worker"),
        ("LEASES", "leases"),
        ("LAST SIGN", lambda load: f"{brief_duration(now - load.seen_at)} ago"),
        elastic=0,
    )


def _step_text(step: Step) -> str:
    """The reason, and what the event says that the reason does not, on one line."""
    hidden = starred(step.reason, step.task.tags_json, step.task.secret)
    reason = short(hidden, REASON_CHARACTERS)
    content = short(_content(step.event), VALUE_CHARACTERS)
    return f"{reason}; {content}" if content else reason


def _content(event: Event) -> str:
    """What the event says that its reason leaves out."""
    body = event.body
    if isinstance(body, Leased):
        return f"lease {show_duration(body.ttl_us)}"
    if isinstance(body, Retried):
        return f"for {time_text(body.scheduled_at)}"
    lapsed = isinstance(body, Failed) and body.error.type == LAPSED
    if isinstance(body, Completed):
        return result_text(body)
    if isinstance(body, Created | Failed | Unknown) and not lapsed:
        return event_text(event)
    return ""


def _after(duration_us: int | None) -> str:
    return "-" if duration_us is None else f"+{brief_duration(duration_us)}"


STEPS = Listing(
    ("SEQ", "event.seq", ">8"),
    ("AT", lambda step: time_text(step.event.at)),
    ("SINCE", lambda step: _after(step.since_us), ">8"),
    ("KIND", "event.kind", "<9"),
    ("STATE", "state", "<9"),
    ("WHAT", _step_text),
)
MOMENTS = Listing(
    ("SEQ", "event.seq", ">8"),
    ("AT", lambda moment: time_text(moment.event.at)),
    ("GAP", lambda moment: _after(moment.gap_us), ">9"),
    # On a terminal a longer key pushes what is behind it to the right.
    ("TASK", "key", ">12"),
    ("KIND", "event.kind", "<9"),
    ("WHAT", lambda moment: cut_event_text(moment.event)),
)
RIVALS = Listing(
    ("KEY", "task.key"),
    ("DECIDED BY", "field"),
    ("PRIORITY", "task.priority"),
    ("NUMBER", "task.number"),
    ("SCHEDULED AT", lambda rival: time_text(rival.task.scheduled_at)),
)
