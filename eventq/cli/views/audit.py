"""Histories, timelines, states and reasons as people see them."""

from __future__ import annotations

from eventq.audit import QueueState, Step, Why
from eventq.cli.output import Column, Listing, Pairs, listing
from eventq.cli.text import iso_text, short, time_text, visible
from eventq.cli.views.fields import TaskAtPoint
from eventq.cli.views.tasks import VALUE_CHARACTERS, cut_event_text, event_text, task_pairs
from eventq.core.durations import brief_duration, show_duration
from eventq.core.events import Completed, Created, Event, Failed, Leased, Retried, Unknown
from eventq.core.lease import LAPSED

# A reason may hold one that a person gave, of any length.
REASON_CHARACTERS = 400


def state_pairs(state: QueueState) -> Pairs:
    """A queue at a point, as names and values."""
    pairs = [("at", time_text(state.at)), ("position", str(state.seq)), ("seal", state.seal)]
    pairs += [(name, str(count)) for name, count in state.counts.items()]
    pairs.append(("total", str(state.total)))
    if state.overdue:
        pairs.append(("past expiry", f"{state.overdue} of the ready ones"))
    if state.unknown is not None:
        seq, kind = state.unknown
        pairs.append(("unknown", f"{visible(kind)} at {seq}: not counted from there on"))
    return pairs


def task_at_pairs(shown: TaskAtPoint) -> Pairs:
    """A task at a point, as names and values."""
    at, seq = time_text(shown.point.at), str(shown.point.seq)
    return [("at", at), ("position", seq), *task_pairs(shown.task)]


def why_pairs(why: Why) -> Pairs:
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


def leases_at(now: int) -> Listing:
    """How leases are listed, as of an instant."""
    return listing(
        Column("KEY", lambda held: visible(held.task.key)),
        Column("ATTEMPT", lambda held: str(held.task.attempt)),
        Column("HELD FOR", lambda held: brief_duration(now - held.leased_at)),
        Column("LAST SIGN", lambda held: f"{brief_duration(now - held.seen_at)} ago"),
        Column("LEASE", lambda held: show_duration(held.ttl_us)),
        Column("NODE", lambda held: visible(held.worker)),
    )


def tasks_by(field: str, now: int) -> Listing:
    """How tasks are listed by an instant of theirs, as seen from another."""

    def away(task: object) -> str:
        at = getattr(task, field)
        return brief_duration(at - now) if at > now else f"{brief_duration(at - now)} ago"

    return listing(
        Column("KEY", lambda task: visible(task.key)),
        Column("IN", away),
        Column("AT", lambda task: time_text(getattr(task, field))),
    )


def nodes_at(now: int) -> Listing:
    """How nodes with leases are listed, as of an instant."""
    return listing(
        Column("NODE", lambda load: visible(load.worker)),
        Column("LEASES", lambda load: str(load.leases)),
        Column("LAST SIGN", lambda load: f"{brief_duration(now - load.seen_at)} ago"),
        elastic=0,
    )


def _step_text(step: Step) -> str:
    """The reason, and what the event says that the reason does not, on one line."""
    reason = short(visible(step.reason), REASON_CHARACTERS)
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
    if isinstance(body, Created | Completed | Failed | Unknown) and not lapsed:
        return event_text(event)
    return ""


def _after(duration_us: int | None) -> str:
    return "-" if duration_us is None else f"+{brief_duration(duration_us)}"


STEPS = listing(
    Column("SEQ", lambda step: str(step.event.seq), ">8"),
    Column("AT", lambda step: time_text(step.event.at)),
    Column("SINCE", lambda step: _after(step.since_us), ">8"),
    Column("KIND", lambda step: visible(step.event.kind), "<9"),
    Column("STATE", lambda step: str(step.state), "<9"),
    Column("WHAT", _step_text),
)
MOMENTS = listing(
    Column("SEQ", lambda moment: str(moment.event.seq), ">8"),
    Column("AT", lambda moment: time_text(moment.event.at)),
    Column("GAP", lambda moment: _after(moment.gap_us), ">9"),
    # On a terminal a longer key pushes what is behind it to the right.
    Column("TASK", lambda moment: "-" if moment.key is None else visible(moment.key), ">12"),
    Column("KIND", lambda moment: visible(moment.event.kind), "<9"),
    Column("WHAT", lambda moment: cut_event_text(moment.event)),
)
RIVALS = listing(
    Column("KEY", lambda rival: visible(rival.task.key)),
    Column("DECIDED BY", lambda rival: rival.field),
    Column("PRIORITY", lambda rival: str(rival.task.priority)),
    Column("NUMBER", lambda rival: str(rival.task.number)),
    Column("SCHEDULED AT", lambda rival: iso_text(rival.task.scheduled_at)),
)
