"""Taking back what a person did to a task: the inverse of an event that is the task's last one.

What it was before is folded from the task's own history; nothing here looks a log up.
"""

from __future__ import annotations

from msgspec import UNSET, Raw

from eventq.core.asking import Asking
from eventq.core.cascade import Revival
from eventq.core.commits import Event
from eventq.core.events import Cancelled, Created, Expired, Restoring, Retried, Updated
from eventq.core.moves import fold_events
from eventq.core.task import FINAL, PENDING, Task, TaskState
from eventq.errors import NotUndoableError

# Why events of these kinds are never taken back.
NEVER = {
    "created": "the task exists; cancel it instead",
    "completed": "its work is done; repeat it instead",
    "expired": "the queue gave the task up; retry it instead",
    "leased": "an attempt began; cancel the task instead",
}
WAIVED = "the log does not say what failed task it no longer minded"
BY_A_NODE = "a node decided it by itself"


def take_back(
    revival: Revival, task: Task, history: list[Event], last: Event, asking: Asking
) -> None:
    """Makes the task again what it was before the ``last`` event that has changed it.

    Raises NotUndoableError.
    """
    seq, body = last.seq, last.body
    before = before_event(task.namespace, history, last)
    if isinstance(body, Updated):
        if task.recorded_state not in PENDING:
            raise NotUndoableError(seq, f"the task is {task.recorded_state}")
        revival.add(task.number, _fields_of(before, body, seq, asking))
    elif isinstance(body, Retried):
        revival.add(task.number, _end_of(before, asking))
    else:
        if task.unique is not None and revival.is_taken(task.unique):
            raise NotUndoableError(seq, "another open task has its unique value")
        life = _life(history)
        if any(isinstance(event.body, Updated) and event.body.waives for event in life):
            raise NotUndoableError(seq, WAIVED)
        revival.bring_back(task, before, asking, opened=life[0].seq)


def before_event(namespace: str, history: list[Event], last: Event) -> Task:
    """The task before an event of its history. Raises NotUndoableError where it is never undone."""
    body = last.body
    if not isinstance(body, (Updated, Retried, Cancelled, Expired)) or (
        isinstance(body, Expired) and body.restores is None
    ):
        raise NotUndoableError(last.seq, NEVER.get(last.kind, f"it is of the kind {last.kind}"))
    if type(history[0].body) is not Created:
        raise NotUndoableError(last.seq, "what came before it has been archived")
    before = fold_events(namespace, history, until=last.seq - 1)
    if before is None or before.newer is not None:
        raise NotUndoableError(last.seq, "a newer eventq has written to the task")
    if before.recorded_state is TaskState.FAILED:
        raise NotUndoableError(last.seq, "it is how an attempt ended")
    if isinstance(body, Retried) and body.revived_by is not None:
        why = f"it came with event about task {body.revived_by}; undo that"
        raise NotUndoableError(last.seq, why)
    if isinstance(body, Cancelled) and body.cause is not None and body.restores is None:
        raise NotUndoableError(last.seq, f"the end of task {body.cause} caused it; undo that")
    if isinstance(body, Updated) and body.waives:
        raise NotUndoableError(last.seq, WAIVED)
    return before


def _fields_of(before: Task, body: Updated, seq: int, asking: Asking) -> Updated:
    """An edit that makes the fields that were edited what they were."""
    if before.recorded_state in FINAL:
        raise NotUndoableError(seq, BY_A_NODE)
    return Updated(
        None if body.priority is None else before.priority,
        UNSET if body.tags is UNSET else Raw(before.tags_json),
        None if body.scheduled_at is None else before.scheduled_at_us,
        secret=() if body.tags is UNSET else before.secret,
        lane=None if body.lane is None else before.lane,
        **asking.marks,
    )


def _end_of(before: Task, asking: Asking) -> Cancelled | Expired:
    """The end that a task had which was brought back."""
    assert before.ending is not None, "what is reopened was final"
    restores = Restoring(
        before.scheduled_at_us,
        before.ending.at_us,
        before.retry_count,
        before.lapses,
        before.expires_at_us,
        before.started_at_us,
        asking.reason,
    )
    reason = before.final_reason or ""
    if before.recorded_state is TaskState.CANCELLED:
        marks = {**asking.marks, "reason": reason}
        return Cancelled(before.cause, restores, **marks)
    # It is one of them: the log has it so.
    return Expired(reason, restores, **asking.marks_but_reason)  # type: ignore[arg-type]


def _life(history: list[Event]) -> list[Event]:
    """The events since the task was made, or reopened last."""
    begin = 0
    for place, event in enumerate(history):
        if isinstance(event.body, Retried) and event.body.reopens is not None:
            begin = place
    return history[begin:]
