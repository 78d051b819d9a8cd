"""How one event changes a task; nothing else moves one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from eventq.core.commits import KIND_OF, AnyBody, Event, Unknown, time_of
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Refused,
    Released,
    Reopening,
    Restoring,
    Retried,
    Revived,
    Told,
    Updated,
)
from eventq.core.rare import brought_back, made_with, rare, told
from eventq.core.task import (
    FINAL,
    NOTHING_RARE,
    PLAIN_ROUTE,
    REOPENABLE,
    Ending,
    Rarity,
    Route,
    Task,
    TaskState,
)
from eventq.core.values import LAPSED, IfFailed, Policy
from eventq.errors import LogCorruptError

# Names of their own for what most events lead to: a member costs a fifth of the change to look up.
SCHEDULED, LEASED, COMPLETED = TaskState.SCHEDULED, TaskState.LEASED, TaskState.COMPLETED
WAITING = TaskState.WAITING
# Behind an event of a newer eventq these are not believed; a task's end is.
DOUBTED = frozenset({Leased, Failed, Retried, Released, Updated})
# What lets a task run that comes after another, by its rule for those that fail.
MET_BY: dict[IfFailed, frozenset[str | None]] = {
    "cancel": frozenset({"completed", "waived"}),
    "hold": frozenset({"completed", "waived"}),
    "run": frozenset({"completed", "failed", "waived"}),
}

# The one table of legal moves: from which recorded states each kind may come. SCHEDULED stands
# for READY too. What `retried` may reopen is final; `created` comes from nothing.
MOVES: dict[str, frozenset[TaskState]] = {
    "leased": frozenset({TaskState.SCHEDULED}),
    "completed": frozenset({TaskState.LEASED}),
    "failed": frozenset({TaskState.LEASED}),
    "released": frozenset({TaskState.LEASED}),
    "retried": frozenset({TaskState.FAILED, TaskState.EXPIRED, TaskState.CANCELLED}),
    "expired": frozenset({TaskState.WAITING, TaskState.SCHEDULED, TaskState.FAILED}),
    "cancelled": frozenset(
        {TaskState.WAITING, TaskState.SCHEDULED, TaskState.LEASED, TaskState.FAILED}
    ),
    "updated": frozenset({TaskState.WAITING, TaskState.SCHEDULED}),
}
# What ends a lease, if the task has one.
ENDS_LEASE = frozenset(kind for kind, states in MOVES.items() if TaskState.LEASED in states)


def create(
    namespace: str, seq: int, at: int, body: Created, shared: tuple[Policy, Route] | None = None
) -> Task:
    """The task a ``created`` event makes; what is ``shared`` is equal to the event's own."""
    policy, route = (body.policy, route_of(body)) if shared is None else shared
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
        SCHEDULED if body.flow is None and not body.after else first_state(body),
        route=route,
        rarity=made_with(body),
    )


def first_state(body: Created | Reopening) -> TaskState:
    """Whether a task that is made or reopened waits for others; its flow knows more."""
    if body.role != "member":
        return WAITING
    met = MET_BY[body.if_failed]
    for each in body.after:
        if each.verdict not in met:
            return WAITING
    return SCHEDULED


def route_of(body: Created | Reopening) -> Route:
    """Which nodes may run the task; the common one is always the same object."""
    if body.name is None and body.lane is None and not body.needs and not body.limits:
        return PLAIN_ROUTE
    return Route(body.name, body.lane, body.needs, body.limits)


def reopen(
    namespace: str, number: int, seq: int, at: int, body: Retried, *, route: Route | None = None
) -> Task:
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
        recorded_state=first_state(content),
        attempt=content.attempt,
        retry_count=content.retries,
        last_error=content.last_error,
        route=route or route_of(content),
        started_at_us=content.started_at,
        rarity=brought_back(content),
    )


def change(task: Task, seq: int, at: int, body: AnyBody | Unknown) -> Task:
    """The task after one more event of its own.

    Raises LogCorruptError when the move is not legal or the fence is not the live one.
    """
    kind = type(body)
    if kind is Refused or kind is Revived:
        return task
    if isinstance(body, Told):
        return told(task, at, body)
    if kind is Unknown or task.newer is not None:
        return _beside_newer(task, seq, at, body)
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
        task.route,
        at,
        None,
        None if task.rarity is None else _begun(task),
    )


def _begun(task: Task) -> Rarity | None:
    """What is rare about a task that is leased: how far its last attempt came is over."""
    rarity = task.rarity
    return rarity if rarity is None or rarity.progress is None else rare(task, progress=None)


def wait_over(task: Task) -> Task:
    """The task once nothing is in its way any more but its instant."""
    return replace(task, recorded_state=SCHEDULED)


def changes(body: AnyBody | Unknown) -> bool:
    """Whether an event moves its task on: what is said beside it does not, nor a late outcome."""
    if type(body) is Unknown:
        return not body.skip
    return not isinstance(body, (Told, Refused, Revived))


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

    None also for a task that an event of a newer eventq made: it is none that is known here. Given
    the ``task`` as it stood before it, the rest of a history will do.
    """
    for seq, at, body in history:
        if task is None and type(body) is Unknown:
            return None
        task = advance(namespace, task, seq, at, body)
    return task


def fold_events(namespace: str, history: list[Event], *, until: int | None = None) -> Task | None:
    """The task that its history leads to, up to a position; None for no history."""
    events = [
        (event.seq, event.at, event.body)
        for event in history
        if until is None or event.seq <= until
    ]
    return fold_history(namespace, events)


def advance(namespace: str, task: Task | None, seq: int, at: int, body: AnyBody | Unknown) -> Task:
    """The task after the next event of its history; None stands for the task before its first.

    Raises LogCorruptError as `change` does, and when the history does not begin with `created`.
    """
    at = time_of(at, body)
    if task is None:
        if type(body) is not Created:
            raise LogCorruptError(seq, f"a task's history begins with {body.kind}")
        return create(namespace, seq, at, body)
    if type(body) is Retried and task.recorded_state in REOPENABLE and task.newer is None:
        return reopen(namespace, task.number, seq, at, body)
    if type(body) is Leased and task.recorded_state is WAITING:
        # Its own history does not tell when that ended.
        task = wait_over(task)
    return change(task, seq, at, body)


def _beside_newer(task: Task, seq: int, at: int, body: AnyBody | Unknown) -> Task:
    """The task after an event of a newer eventq, or after one that followed such an event.

    Nobody here knows where it stands between the two, so only its end is believed, until something
    follows that too: a newer eventq may have brought it back.
    """
    if type(body) is Unknown:
        if body.skip or task.newer is not None:
            return task
        rarity = replace(task.rarity or NOTHING_RARE, newer=(seq, body.kind))
        state = task.recorded_state if task.recorded_state in FINAL else TaskState.UNKNOWN
        return replace(task, recorded_state=state, fence=0, worker=None, rarity=rarity)
    if type(body) is Completed:
        return _completed(replace(task, fence=body.fence), seq, at, body)
    if type(body) is Expired or type(body) is Cancelled:
        return _CHANGES[type(body)](task, seq, at, body)
    if task.recorded_state in FINAL:
        return replace(task, recorded_state=TaskState.UNKNOWN, ending=None, seen_at_us=at)
    return task


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
        ending=Ending(
            at, None if body.result is UNSET else bytes(body.result), body.result_missing
        ),
        rarity=None if task.rarity is None else rare(task, progress=None, saved_json=None),
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
        rarity=rare(task, lapses=task.lapses + 1 if body.error.type == LAPSED else 0),
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
    ended = replace(
        task, recorded_state=TaskState.EXPIRED, seen_at_us=at, ending=Ending(at, reason=body.reason)
    )
    return ended if body.restores is None else _restored(ended, body.restores)


def _cancelled(task: Task, _seq: int, at: int, body: Cancelled) -> Task:
    ended = replace(
        task,
        recorded_state=TaskState.CANCELLED,
        fence=0,
        worker=None,
        seen_at_us=at,
        ending=Ending(at, reason=body.reason),
        rarity=task.rarity if body.cause is None else rare(task, cause=body.cause),
    )
    return ended if body.restores is None else _restored(ended, body.restores)


def _restored(ended: Task, end: Restoring) -> Task:
    """A task that has ended as it did before: its coming back was taken back."""
    assert ended.ending is not None, "it has just ended"
    return replace(
        ended,
        retry_count=end.retries,
        scheduled_at_us=end.scheduled_at,
        expires_at_us=end.expires_at,
        started_at_us=end.started_at,
        ending=replace(ended.ending, at_us=end.ended_at),
        rarity=rare(ended, lapses=end.lapses),
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
        **_snoozed(task, body.scheduled_at),
    )


def _snoozed(task: Task, scheduled_at: int | None) -> dict[str, Any]:
    """What changes when a lease is given back; without an instant it was no snooze."""
    if scheduled_at is None:
        return {"rarity": rare(task, lapses=0)}
    rarity = rare(task, lapses=0, snoozes=task.snoozes + 1)
    return {"rarity": rarity, "scheduled_at_us": scheduled_at}


def _updated(task: Task, _seq: int, at: int, body: Updated) -> Task:
    return replace(
        task,
        priority=task.priority if body.priority is None else body.priority,
        tags_json=task.tags_json if body.tags is UNSET else bytes(body.tags),
        scheduled_at_us=task.scheduled_at_us if body.scheduled_at is None else body.scheduled_at,
        seen_at_us=at,
        route=task.route if body.lane is None else task.route.in_lane(body.lane),
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
