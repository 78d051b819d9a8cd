"""Steps, states and reasons in the two forms the command shows them: for programs, for people.

The JSON forms are a promise, as in forms.py.
"""

from __future__ import annotations

from typing import Any

from eventq.audit import Grant, Held, Load, QueueState, Rank, Rival, Step, Why
from eventq.cli.text import iso_text, short, time_text, visible
from eventq.cli.views.tasks import VALUE_CHARACTERS, event_form, event_text, task_form
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import Completed, Created, Event, Failed, Leased, Retried, Unknown
from eventq.core.lease import LAPSED
from eventq.core.task import Task

# A reason may hold one that a person gave, of any length.
REASON_CHARACTERS = 400

STEP_COLUMNS = ["SEQ", "AT", "SINCE", "KIND", "STATE", "WHAT"]
LEASE_COLUMNS = ["KEY", "ATTEMPT", "HELD FOR", "LAST SIGN", "LEASE", "NODE"]
RIVAL_COLUMNS = ["KEY", "DECIDED BY", "PRIORITY", "NUMBER", "SCHEDULED AT"]
SCHEDULE_COLUMNS = ["KEY", "IN", "AT"]
LOAD_COLUMNS = ["NODE", "LEASES", "LAST SIGN"]


def step_form(step: Step) -> dict[str, Any]:
    """A step of a history for programs: the event, and what is known beside it."""
    return {
        **event_form(step.event),
        "since_us": step.since_us,
        "node": step.node,
        "state": str(step.state),
        "attempt": step.task.attempt,
        "retry_count": step.task.retry_count,
        "reason": step.reason,
        "is_damage": step.is_damage,
    }


def step_row(step: Step) -> list[str]:
    """A step's cells below STEP_COLUMNS."""
    event = step.event
    return [
        str(event.seq),
        time_text(event.at),
        "-" if step.since_us is None else f"+{brief_duration(step.since_us)}",
        visible(event.kind),
        str(step.state),
        step_text(step),
    ]


def step_text(step: Step) -> str:
    """The reason, and what the event says that the reason does not, on one line."""
    reason = short(visible(step.reason), REASON_CHARACTERS)
    content = short(_content(step.event), VALUE_CHARACTERS)
    return f"{reason}; {content}" if content else reason


def state_form(state: QueueState) -> dict[str, Any]:
    """A queue at a point for programs."""
    unknown = None if state.unknown is None else {"seq": state.unknown[0], "kind": state.unknown[1]}
    return {
        "seq": state.seq,
        "at": iso_text(state.at),
        "seal": state.seal,
        "counts": state.counts,
        "total": state.total,
        "overdue": state.overdue,
        "ready": [task_form(task) for task in state.ready],
        "leases": [_held_form(held) for held in state.leases],
        "waiting": [task_form(task) for task in state.waiting],
        "expiring": [task_form(task) for task in state.expiring],
        "unknown": unknown,
    }


def state_pairs(state: QueueState) -> list[tuple[str, str]]:
    """What a queue at a point is in one line each."""
    pairs = [("at", time_text(state.at)), ("position", str(state.seq)), ("seal", state.seal)]
    pairs += [(name, str(count)) for name, count in state.counts.items()]
    pairs.append(("total", str(state.total)))
    if state.overdue:
        pairs.append(("past expiry", f"{state.overdue} of the ready ones"))
    if state.unknown is not None:
        seq, kind = state.unknown
        pairs.append(("unknown", f"{visible(kind)} at {seq}: not counted from there on"))
    return pairs


def held_row(held: Held, now: int) -> list[str]:
    """A lease's cells below LEASE_COLUMNS."""
    return [
        visible(held.task.key),
        str(held.task.attempt),
        brief_duration(now - held.leased_at),
        f"{brief_duration(now - held.seen_at)} ago",
        show_duration(held.ttl_us),
        visible(held.worker),
    ]


def instant_row(task: Task, at: int, now: int) -> list[str]:
    """A task's cells below SCHEDULE_COLUMNS, for what comes at an instant."""
    away = brief_duration(at - now)
    return [visible(task.key), away if at > now else f"{away} ago", time_text(at)]


def rival_row(rival: Rival) -> list[str]:
    """A rival's cells below RIVAL_COLUMNS."""
    task = rival.task
    scheduled = iso_text(task.scheduled_at)
    return [visible(task.key), rival.field, str(task.priority), str(task.number), scheduled]


def load_row(load: Load, now: int) -> list[str]:
    """A node's cells below LOAD_COLUMNS."""
    silent = brief_duration(now - load.seen_at)
    return [visible(load.worker), str(load.leases), f"{silent} ago"]


def why_form(why: Why) -> dict[str, Any]:
    """An answer of `why` for programs."""
    return {
        "key": why.task.key,
        "seq": why.seq,
        "at": iso_text(why.at),
        "state": str(why.task.state),
        "verdict": why.verdict,
        "notes": why.notes,
        "ready_at": None if why.ready_at is None else iso_text(why.ready_at),
        "ready_rank": _rank_form(why.ready_rank),
        "rank": _rank_form(why.rank),
        "leases_since": why.leases_since,
        "grant": None if why.grant is None else _grant_form(why.grant),
        "loads": [
            {"worker": load.worker, "leases": load.leases, "seen_at": iso_text(load.seen_at)}
            for load in why.loads
        ],
        "task": task_form(why.task),
    }


def why_pairs(why: Why) -> list[tuple[str, str]]:
    """An answer of `why`, as names and values."""
    words = [why.verdict, *why.notes]
    return [
        ("key", visible(why.task.key)),
        ("number", str(why.task.number)),
        ("at", time_text(why.at)),
        ("position", str(why.seq)),
        ("state", str(why.task.state)),
        ("priority", str(why.task.priority)),
        ("scheduled at", iso_text(why.task.scheduled_at)),
        *(
            ("" if index else "why", short(visible(text), REASON_CHARACTERS))
            for index, text in enumerate(words)
        ),
    ]


def _content(event: Event) -> str:
    """What the event says that its reason leaves out."""
    body = event.body
    if isinstance(body, Leased):
        return f"lease {show_duration(body.ttl_us)}"
    if isinstance(body, Retried):
        return f"for {time_text(body.scheduled_at)}"
    lapsed = isinstance(body, Failed) and body.error.type == LAPSED
    if isinstance(body, Created | Completed | Failed | Unknown) and not lapsed:
        return event_text(event)
    return ""


def _held_form(held: Held) -> dict[str, Any]:
    return {
        "key": held.task.key,
        "number": held.task.number,
        "fence": held.task.fence,
        "attempt": held.task.attempt,
        "worker": held.worker,
        "leased_at": iso_text(held.leased_at),
        "ttl_us": held.ttl_us,
        "seen_seq": held.seen_seq,
        "seen_at": iso_text(held.seen_at),
        "lapses_at": iso_text(held.lapses_at),
    }


def _grant_form(grant: Grant) -> dict[str, Any]:
    return {
        "seq": grant.seq,
        "at": iso_text(grant.at),
        "worker": grant.worker,
        "attempt": grant.attempt,
        "in_order": grant.in_order,
        "rank": _rank_form(grant.rank),
    }


def _rank_form(rank: Rank | None) -> dict[str, Any] | None:
    if rank is None:
        return None
    return {
        "seq": rank.seq,
        "at": iso_text(rank.at),
        "place": rank.place,
        "ahead_count": rank.ahead_count,
        "ahead_by": rank.ahead_by,
        "ahead": [_rival_form(rival) for rival in rank.ahead],
        "behind_count": rank.behind_count,
        "behind_by": rank.behind_by,
        "behind": [_rival_form(rival) for rival in rank.behind],
        "overdue": rank.overdue,
    }


def _rival_form(rival: Rival) -> dict[str, Any]:
    task = rival.task
    return {
        "key": task.key,
        "number": task.number,
        "priority": task.priority,
        "scheduled_at": iso_text(task.scheduled_at),
        "field": rival.field,
    }
