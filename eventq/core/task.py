"""The task: what it is, its states, and how one event changes it; nothing else moves a task.

A Task never changes: each event makes a new one, so whoever holds a Task may read it at leisure.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from eventq.core.events import (
    KIND_OF,
    AnyBody,
    Cancelled,
    Completed,
    Created,
    ErrorInfo,
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
from eventq.errors import LogCorruptError

T = TypeVar("T")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a calendar has.
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


class TaskState(enum.StrEnum):
    """Where a task stands. SCHEDULED and READY are one recorded state, told apart by the time."""

    SCHEDULED = "scheduled"
    """Waits for its instant; entered by created, retried, released and updated."""
    READY = "ready"
    """Its instant has come; left by leased, cancelled and expired."""
    LEASED = "leased"
    """An attempt runs on a node; left by completed, failed, released and cancelled."""
    FAILED = "failed"
    """Only inside a commit: retried, expired or cancelled follows at once."""
    COMPLETED = "completed"
    """Final: the work is done."""
    EXPIRED = "expired"
    """Final, given up; a retry by hand reopens it."""
    CANCELLED = "cancelled"
    """Final, called off; a retry by hand reopens it."""


FINAL = frozenset({TaskState.COMPLETED, TaskState.EXPIRED, TaskState.CANCELLED})
# What a retry by hand brings back.
REOPENABLE = frozenset({TaskState.EXPIRED, TaskState.CANCELLED})

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


class Task(Struct, frozen=True, gc=False):
    """One task as it stood at an instant. Fields ending in ``_us`` or named raw are for tools.

    Instants are microseconds since 1970 (UTC) inside, and aware datetimes in the properties.
    """

    number: int
    namespace: str
    caller_key: str | None
    priority: int
    """Higher runs first."""
    tags_json: bytes
    policy: Policy
    created_at_us: int
    scheduled_at_us: int
    expires_at_us: int | None
    seen_at_us: int
    """The instant for which this view holds: `state` and `age` are as of then."""
    recorded_state: TaskState = TaskState.SCHEDULED
    attempt: int = 0
    """Attempts begun so far; the running one's number while leased."""
    retry_count: int = 0
    """Retries used since the task was created, or since it was last reopened."""
    fence: int = 0
    """Position of the live lease; 0 when not leased."""
    worker: str | None = None
    """The node that holds the lease."""
    last_error: ErrorInfo | None = None
    result_json: bytes | None = None
    result_missing: str | None = None
    """Why a completed task's result was not kept, when it could not be."""
    final_reason: str | None = None
    """Why the task expired or was cancelled."""

    @property
    def key(self) -> str:
        """The caller's key, or else the task's number."""
        return str(self.number) if self.caller_key is None else self.caller_key

    @property
    def tags(self) -> dict[str, Any]:
        """The tags, decoded anew at each call."""
        return cast("dict[str, Any]", msgspec.json.decode(self.tags_json))

    @property
    def state(self) -> TaskState:
        """The state at `seen_at_us`."""
        return state_as_of(self, self.seen_at_us)

    @property
    def created_at(self) -> datetime:
        """When the task was created."""
        return instant(self.created_at_us)

    @property
    def scheduled_at(self) -> datetime:
        """When it may run, or might at the earliest have run."""
        return instant(self.scheduled_at_us)

    @property
    def expires_at(self) -> datetime | None:
        """When it is given up; None for never."""
        return None if self.expires_at_us is None else instant(self.expires_at_us)

    @property
    def age(self) -> timedelta:
        """Time from its creation to the instant of this view."""
        return timedelta(microseconds=self.seen_at_us - self.created_at_us)

    @property
    def result(self) -> Any:  # noqa: ANN401 - whatever JSON value the worker returned
        """The value the worker returned; None before that, or where none was kept."""
        return None if self.result_json is None else msgspec.json.decode(self.result_json)

    def parse(self, into: type[T]) -> T:
        """The tags as a msgspec Struct, dataclass or TypedDict; ``"640"`` becomes an int.

        Raises msgspec.ValidationError, naming the tag, when they do not fit.
        """
        return msgspec.convert(self.tags, into, strict=False)

    def as_of(self, now: int) -> Task:
        """The same task as viewed at ``now`` (microseconds)."""
        return replace(self, seen_at_us=now)

    def __repr__(self) -> str:
        """Short, and free of tag values."""
        return f"<Task {self.key!r} {self.state} priority={self.priority}>"


def state_as_of(task: Task, now: int) -> TaskState:
    """The task's state at ``now`` (microseconds), for less than `Task.as_of` costs."""
    if task.recorded_state is TaskState.SCHEDULED and is_due(task, now):
        return TaskState.READY
    return task.recorded_state


def is_due(task: Task, now: int) -> bool:
    """Whether a pending task's instant has come.

    One made to run at once is due for good, also where the clock that made it was ahead.
    """
    return task.scheduled_at_us <= now or task.scheduled_at_us == task.created_at_us


def instant(at_us: int) -> datetime:
    """The aware datetime of microseconds since 1970; of what no calendar has, the nearest."""
    try:
        return EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        # No eventq writes these; a log that somebody has altered is to be shown all the same.
        return FIRST if at_us < 0 else LAST


def show_instant(at: datetime | int) -> str:
    """An instant in UTC as text, to the millisecond.

    >>> show_instant(1_700_000_000_123_456)
    '2023-11-14 22:13:20.123Z'
    """
    at = instant(at) if isinstance(at, int) else at
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"


def create(namespace: str, seq: int, at: int, body: Created, policy: Policy) -> Task:
    """The task a ``created`` event makes; ``policy`` is the event's, or an equal shared one."""
    return Task(
        number=seq,
        namespace=namespace,
        caller_key=body.key,
        priority=body.priority,
        # bytes() copies: a Raw would keep the whole decoded commit alive.
        tags_json=bytes(body.tags),
        policy=policy,
        created_at_us=at,
        scheduled_at_us=at if body.scheduled_at is None else body.scheduled_at,
        expires_at_us=body.expires_at,
        seen_at_us=at,
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
    check_move(task, seq, body)
    return _CHANGES[kind](task, seq, at, body)


def check_move(task: Task, seq: int, body: AnyBody | Unknown) -> None:
    """Raises LogCorruptError unless the event may come next in the task's life."""
    kind = type(body)
    legal = _LEGAL.get(kind)
    if legal is None or task.recorded_state not in legal:
        problem = f"task {task.number} is {task.recorded_state}, so {body.kind} is no legal move"
        raise LogCorruptError(seq, problem)


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


def _leased(task: Task, seq: int, at: int, body: Leased) -> Task:
    return replace(
        task,
        recorded_state=TaskState.LEASED,
        attempt=body.attempt,
        fence=seq,
        worker=body.worker,
        seen_at_us=at,
    )


def _completed(task: Task, seq: int, at: int, body: Completed) -> Task:
    check_fence(task, seq, body.fence)
    return replace(
        task,
        recorded_state=TaskState.COMPLETED,
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
    Leased: _leased,
    Completed: _completed,
    Failed: _failed,
    Retried: _retried,
    Expired: _expired,
    Cancelled: _cancelled,
    Released: _released,
    Updated: _updated,
}
_LEGAL: dict[type, frozenset[TaskState]] = {body: MOVES[KIND_OF[body]] for body in _CHANGES}
