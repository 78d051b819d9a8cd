"""The story of one task: each event of its history with its reason in words.

Everything comes from the task's own events, found by index; only the words about a lapse read a
little of the log around it, for the last sign of life of the node.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from eventq.audit.lookup import read_history
from eventq.audit.reasons import EventContext, LeaseEnd, ending_of, reason_of
from eventq.audit.waiting import unblocked_at
from eventq.core.commits import Event
from eventq.core.events import Failed, Leased, Refused
from eventq.core.moves import advance
from eventq.core.task import REOPENABLE, Task, TaskState, is_due
from eventq.errors import LogCorruptError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point


class Step(Struct, frozen=True):
    """One event of a task, what it left behind, and why it happened."""

    event: Event
    since_us: int | None
    """Time since the task's event before; None for the first."""
    node: str | None
    """The node whose lease the event is about."""
    task: Task
    """The task after the event, as of its instant."""
    ready_at: int
    """When the task became ready, or will: of use while it is pending."""
    ready_seq: int | None
    """The event that made it ready; None when nothing but time did, or will."""
    reason: str
    """Why, in words. Names in it may hold any character: escape before printing."""
    is_damage: bool = False
    """Whether the event is no legal move, so that it changed nothing."""

    @property
    def state(self) -> TaskState:
        """The state after the event."""
        return self.task.state


class Ready(NamedTuple):
    """Since when a task is ready, or from when on it will be, and by which event."""

    at: int
    seq: int | None


def story(log: EventLog, key: str, point: Point | None = None) -> list[Step]:
    """Everything that happened to a task up to the point, oldest first.

    An event that is no legal move is told as damage and changes nothing. Raises
    TaskNotFoundError, also when the task was created after the point; LogCorruptError for a
    body that cannot be understood.
    """
    return list(steps_of(log, read_history(log, key, point)))


def steps_of(log: EventLog, history: list[Event]) -> Iterator[Step]:
    """The steps of a history that has been read, from its ``created`` event on."""
    task: Task | None = None
    endings: dict[int, LeaseEnd] = {}
    ready = Ready(0, None)
    opened_at = leased_at = 0
    for index, event in enumerate(history):
        seq, at, body = event.seq, event.decided_at, event.body
        since_us = at - history[index - 1].decided_at if index else None
        try:
            after = advance(log.namespace, task, seq, at, body)
        except LogCorruptError as error:
            if task is None:
                raise
            words = f"damage: {error.problem}"
            yield Step(event, since_us, None, task.as_of(at), *ready, words, is_damage=True)
            continue
        if task is None or (task.recorded_state in REOPENABLE and after is not task):
            opened_at = at
        if type(body) is Leased and task is not None and task.recorded_state is TaskState.WAITING:
            ready = _unblocked(log, task, seq)
        before = history[index - 1].body if index else None
        context = EventContext(
            log,
            event,
            task,
            after,
            opened_at,
            ready.at,
            leased_at,
            endings,
            before.rule if isinstance(before, Failed) else None,
        )
        reason = reason_of(context)
        ready = _ready(task, after, ready, event)
        node = _node(task, event)
        yield Step(event, since_us, node, after.as_of(at), ready.at, ready.seq, reason)
        if type(body) is Leased:
            leased_at = at
        elif (
            task is not None
            and task.fence
            and (ending := ending_of(event, leased_at=leased_at)) is not None
        ):
            endings[task.fence] = ending
        task = after


def _unblocked(log: EventLog, task: Task, seq: int) -> Ready:
    """Since when a task was ready that came after others, and was leased at this position."""
    found = unblocked_at(log, task, seq)
    if found is None or task.scheduled_at_us > found[1]:
        return Ready(task.scheduled_at_us, None)
    return Ready(found[1], found[0])


def _ready(before: Task | None, after: Task, known: Ready, event: Event) -> Ready:
    """What the event makes of that."""
    if after.recorded_state is not TaskState.SCHEDULED:
        return known
    at, due_at = event.decided_at, after.scheduled_at_us
    if due_at > at:
        return Ready(due_at, None)
    was_ready = (
        before is not None and before.recorded_state is TaskState.SCHEDULED and is_due(before, at)
    )
    return known if was_ready else Ready(at, event.seq)


def _node(before: Task | None, event: Event) -> str | None:
    """The node that the event names, or the one that held the lease until then."""
    if isinstance(event.body, Leased | Refused):
        return event.body.worker
    return None if before is None else before.worker
