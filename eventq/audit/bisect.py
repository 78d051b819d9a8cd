"""The first event after which a condition holds; nothing here assumes that it holds ever after."""

from __future__ import annotations

from msgspec import Struct

from eventq.audit.expression.parser import Expression
from eventq.audit.expression.view import View
from eventq.core.commits import Event
from eventq.core.moves import fold_events
from eventq.core.task import Task
from eventq.core.values import NODE
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_events
from eventq.replay.points import Point
from eventq.snapshot import projection_at


class Found(Struct, frozen=True):
    """The event that made a condition hold, and what it changed."""

    event: Event
    before: dict[str, int]
    """The numbers after the event before this one, as of that one's instant."""
    after: dict[str, int]
    task_before: Task | None
    """The event's task right before it; None for an event of a node, and before its creation."""
    task_after: Task | None


class NotFound(Struct, frozen=True):
    """There is no such event: after none of those looked at does the condition hold."""

    events: int
    """How many were looked at."""
    by_time: bool
    """Whether it holds at the end all the same, since time alone has made it hold."""


def bisect(log: EventLog, expression: Expression, *, good: Point, bad: Point) -> Found | NotFound:
    """The first event behind ``good``, up to ``bad``, after which the expression holds.

    Each event is looked at, so it is the first also of a condition that comes and goes. One fold
    from ``good``; memory for the open tasks. Raises ArgumentError when ``bad`` is not behind
    ``good``, or when it holds at ``good`` already; TaskNotFoundError for a task that the log does
    not have; LogCorruptError where a seal, an order or a move is wrong.
    """
    if (bad.seq, bad.at) < (good.seq, good.at):
        raise ArgumentError("bad", bad.seq, f"a point after the good one, position {good.seq}")
    view = View(log, projection_at(log, good), keys=expression.keys)
    expression.begin(view)
    if expression.holds(view):
        expected = (
            f"a condition that does not hold at the good point, position {good.seq}; "
            "since_good(...) counts from there"
        )
        raise ArgumentError(expression.argument, expression.text, expected)
    holds, counts = expression.holds, view.counts
    before = counts()
    for event in view.steps(until=bad.seq):
        if holds(view):
            return _found(log, event, before, counts())
        before = counts()
    view.projection.advance_to(bad.at)
    return NotFound(events=bad.seq - good.seq, by_time=holds(view))


def _found(log: EventLog, event: Event, before: dict[str, int], after: dict[str, int]) -> Found:
    history = [] if event.task == NODE else decode_events(log.history(event.task))
    task_before = fold_events(log.namespace, history, until=event.seq - 1)
    task_after = fold_events(log.namespace, history, until=event.seq)
    return Found(event, before, after, task_before, task_after)
