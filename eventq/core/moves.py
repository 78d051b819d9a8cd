"""How one event changes a task; nothing else moves one."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from eventq.core.events import (
    KIND_OF,
    AnyBody,
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Policy,
    Refused,
    Released,
    Retried,
    Unknown,
    Updated,
    time_of,
)
from eventq.core.task import FINAL, REOPENABLE, Task, TaskState
from eventq.errors import LogCorruptError

# Names of their own for what most events lead to: a member costs a fifth of the change to look up.
SCHEDULED, LEASED, COMPLETED = TaskState.SCHEDULED, TaskState.LEASED, TaskState.COMPLETED

# The one table of legal moves: from which recorded states each kind may come. SCHEDULED stands
# for READY too. What `retried` may reopen is final; `created` comes from nothing.
MOVES: dict[str, frozenset[TaskState]] = {
    "leased": frozenset({TaskState.SCHEDULED}),
    "completed": frozenset({TaskState.LEASED}),
    "failed": frozenset({TaskState.LEASED}),
    "released": frozenset({TaskState.LEASED}),
    "retried": frozenset({TaskState.FAILED, TaskState.EXPIRED, TaskState.CANCELLED}),
    "expired": frozenset({TaskState.SCHEDULED, TaskState.FAILED}),
    "cancelled": frozenset({TaskState.SCHEDULED, TaskState.LEASED, TaskState.FAILED}),
    "updated": frozenset({TaskState.SCHEDULED}),
}


def create(namespace: str, seq: int, at: int, body: Created, policy: Policy) -> Task:
    """The task a ``created`` event makes; ``policy`` is the event's, or an equal shared one."""
    scheduled_at = body.scheduled_at
    return Task(
        seq,
        namespace,
        body.key,
        body.priority,
        # A copy: a Raw would keep the whole decoded commit alive.
        bytes(body.tags),
        policy,
        at,
        at if scheduled_at is None else scheduled_at,
        body.expires_at,
        at,
    )


def reopen(namespace: str, number: int, seq: int, at: int, body: Retried) -> Task:
    """The task a ``retried`` event brings back from a final state, with fresh retries.

    Raises LogCorruptError when the event does not say what it brings back.
    """
    content = body.reopens
    if content is None:
        raise LogCorruptError(seq, f"task {number} is final, yet nothing says what reopens")
    return Task(
        number=number,
        namespace=namespace,
        caller_key=content.key,
        priority=content.priority,
        tags_json=bytes(content.tags),
        policy=content.policy,
        created_at_us=content.created_at,
        scheduled_at_us=body.scheduled_at,
        expires_at_us=content.expires_at,
        seen_at_us=at,
        attempt=content.attempt,
        last_error=content.last_error,
    )


def change(task: Task, seq: int, at: int, body: AnyBody | Unknown) -> Task:
    """The task after one more event of its own.

    Raises LogCorruptError when the move is not legal or the fence is not the live one.
    """
    kind = type(body)
    if kind is Refused or kind is Unknown:
        return task
    if task.recorded_state not in _LEGAL.get(kind, ()):
        raise _illegal(task, seq, body)
    return _CHANGES[kind](task, seq, at, body)


def lease(task: Task, seq: int, at: int, body: Leased) -> Task:
    """The task leased. Raises as `change` does, and takes half of its time.

    By position: this is what every node does for each lease of every other.
    """
    if task.recorded_state is not SCHEDULED:
        check_move(task, seq, body)
    return Task(
        task.number,
        task.namespace,
        task.caller_key,
        task.priority,
        task.tags_json,
        task.policy,
        task.created_at_us,
        task.scheduled_at_us,
        task.expires_at_us,
        at,
        LEASED,
        body.attempt,
        task.retry_count,
        seq,
        body.worker,
        task.last_error,
        task.result_json,
        task.result_missing,
        task.final_reason,
    )


def check_move(task: Task, seq: int, body: AnyBody | Unknown) -> None:
    """Raises LogCorruptError unless the event may come next in the task's life."""
    if task.recorded_state not in _LEGAL.get(type(body), ()):
        raise _illegal(task, seq, body)


def check_fence(task: Task, seq: int, fence: int) -> None:
    """Raises LogCorruptError unless what ends an attempt names its lease."""
    if fence != task.fence:
        raise LogCorruptError(
            seq, f"fence {fence} of task {task.number} is not the live one, {task.fence}"
        )


def fold_history(
    namespace: str, history: list[tuple[int, int, AnyBody | Unknown]], task: Task | None = None
) -> Task | None:
    """The task its whole history, (seq, at, body) in order, leads to; None for no history.

    Given the ``task`` as it stood before it, the rest of a history will do.
    """
    for seq, at, body in history:
        task = advance(namespace, task, seq, at, body)
    return task


def advance(namespace: str, task: Task | None, seq: int, at: int, body: AnyBody | Unknown) -> Task:
    """The task after the next event of its history; None stands for the task before its first.

    Raises LogCorruptError as `change` does, and when the history does not begin with `created`.
    """
    at = time_of(at, body)
    if task is None:
        if type(body) is not Created:
            raise LogCorruptError(seq, f"a task's history begins with {body.kind}")
        return create(namespace, seq, at, body, body.policy)
    if type(body) is Retried and task.recorded_state in REOPENABLE:
        return reopen(namespace, task.number, seq, at, body)
    return change(task, seq, at, body)


def _illegal(task: Task, seq: int, body: AnyBody | Unknown) -> LogCorruptError:
    problem = f"task {task.number} is {task.recorded_state}, so {body.kind} is no legal move"
    return LogCorruptError(seq, problem)


def _completed(task: Task, seq: int, at: int, body: Completed) -> Task:
    check_fence(task, seq, body.fence)
    return replace(
        task,
        recorded_state=COMPLETED,
        fence=0,
        worker=None,
        seen_at_us=at,
        result_json=None if body.result is UNSET else bytes(body.result),
        result_missing=body.result_missing,
    )


def _failed(task: Task, seq: int, at: int, body: Failed) -> Task:
    check_fence(task, seq, body.fence)
    return replace(
        task,
        recorded_state=TaskState.FAILED,
        fence=0,
        worker=None,
        seen_at_us=at,
        last_error=body.error,
    )


def _retried(task: Task, seq: int, at: int, body: Retried) -> Task:
    if body.reopens is not None or task.recorded_state in FINAL:
        raise LogCorruptError(seq, f"task {task.number} is {task.recorded_state}, not to reopen")
    return replace(
        task,
        recorded_state=TaskState.SCHEDULED,
        retry_count=task.retry_count + 1,
        scheduled_at_us=body.scheduled_at,
        seen_at_us=at,
    )


def _expired(task: Task, _seq: int, at: int, body: Expired) -> Task:
    return replace(task, recorded_state=TaskState.EXPIRED, seen_at_us=at, final_reason=body.reason)


def _cancelled(task: Task, _seq: int, at: int, body: Cancelled) -> Task:
    return replace(
        task,
        recorded_state=TaskState.CANCELLED,
        fence=0,
        worker=None,
        seen_at_us=at,
        final_reason=body.reason,
    )


def _released(task: Task, seq: int, at: int, body: Released) -> Task:
    check_fence(task, seq, body.fence)
    return replace(
        task,
        recorded_state=TaskState.SCHEDULED,
        attempt=task.attempt - 1,
        fence=0,
        worker=None,
        seen_at_us=at,
    )


def _updated(task: Task, _seq: int, at: int, body: Updated) -> Task:
    return replace(
        task,
        priority=task.priority if body.priority is None else body.priority,
        tags_json=task.tags_json if body.tags is UNSET else bytes(body.tags),
        scheduled_at_us=task.scheduled_at_us if body.scheduled_at is None else body.scheduled_at,
        seen_at_us=at,
    )


_CHANGES: dict[type, Callable[..., Task]] = {
    Leased: lease,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Expired: _expired,
    Cancelled: _cancelled,
    Released: _released,
    Updated: _updated,
}
_LEGAL: dict[type, frozenset[TaskState]] = {body: MOVES[KIND_OF[body]] for body in _CHANGES}
