"""The deciding functions, one a command: (projection or task, command, now) -> drafts of events.

Nothing here reads a clock, draws chance, or changes what it was given: a draft becomes a fact
only when a log has appended it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct

from eventq.core.durations import show_duration
from eventq.core.events import (
    NODE,
    AnyBody,
    Cancelled,
    Completed,
    Created,
    ErrorInfo,
    Event,
    Expired,
    Failed,
    Leased,
    Policy,
    Refused,
    Released,
    Renewed,
    Reopening,
    Retried,
    Updated,
)
from eventq.core.policy import after_failure
from eventq.core.projection import Projection
from eventq.core.task import FINAL, REOPENABLE, Task, TaskState, instant
from eventq.errors import ArgumentError, KeyConflictError, NotAllowedError

# Stands for the number of a task that its own commit will create.
NEW = -1

# The type of the error of an attempt whose node stopped renewing.
LAPSED = "LeaseLapsed"

# One event of a decision: the task's number (NEW, or NODE for none) and what happened.
Draft = tuple[int, AnyBody]


class NewTask(Struct, frozen=True, gc=False):
    """A checked order for a task. Instants and durations in microseconds.

    Either ``scheduled_at`` or ``delay_us`` may be set, and either ``expires_at`` or the policy's
    ``max_age_us``.
    """

    tags_json: bytes
    policy: Policy
    priority: int = 0
    key: str | None = None
    scheduled_at: int | None = None
    delay_us: int | None = None
    expires_at: int | None = None


class Outcome(Struct, frozen=True, gc=False):
    """How an attempt ended. ``draw`` is a random number from 0 up to 1, for jitter."""

    task: int
    fence: int
    kind: Literal["completed", "failed", "cancelled", "released"]
    result_json: bytes | None = None
    result_missing: str | None = None
    error: ErrorInfo | None = None
    delay_us: int | None = None
    draw: float = 0.0
    reason: str = ""


def create(
    orders: list[NewTask], existing: dict[str, Event], *, now: int
) -> tuple[list[Draft], list[int]]:
    """Drafts for the orders, and for each order where its task is.

    ``existing`` holds the ``created`` event of every key that is taken. A place is the number of
    a task that is there already, or ``-1 - index`` into the drafts. Raises KeyConflictError
    when a key is taken by other content.
    """
    drafts: list[Draft] = []
    places: list[int] = []
    keyed: dict[str, int] = {}
    for order in orders:
        if order.key is not None:
            index = keyed.get(order.key)
            if index is not None:
                twin = drafts[index][1]
                assert type(twin) is Created
                _check_same(order.key, order, twin, created_at=now, task=NEW)
                places.append(-1 - index)
                continue
            event = existing.get(order.key)
            if event is not None:
                assert type(event.body) is Created
                _check_same(order.key, order, event.body, created_at=event.at, task=event.task)
                places.append(event.task)
                continue
            keyed[order.key] = len(drafts)
        places.append(-1 - len(drafts))
        drafts.append((NEW, _created(order, now)))
    return drafts, places


def lease(
    projection: Projection,
    *,
    worker: str,
    ttl_us: int,
    count: int,
    room: int,
    now: int,
    free: int | None = None,
) -> list[Draft]:
    """Leases of up to ``count`` tasks in dispatch order; expires those found past their time.

    Gives at most ``room`` drafts in all. Only ``free`` tasks can begin at once (None: all); the
    block ends before one that must not wait, see `_may_wait`.
    """
    drafts = expire(projection, room=room, now=now)
    limit = min(count, room - len(drafts))
    if limit <= 0:
        return drafts
    for task in projection.ready(now):
        if task.expires_at_us is not None and task.expires_at_us <= now:
            continue
        if free is not None:
            if free <= 0 and not _may_wait(task):
                break
            free -= 1
        drafts.append((task.number, Leased(task.attempt + 1, worker, ttl_us)))
        limit -= 1
        if limit == 0:
            break
    return drafts


def can_lease(projection: Projection, *, count: int, free: int, now: int) -> bool:
    """Whether `lease` would find a task; also when it is one to expire."""
    first = next(projection.ready(now), None)
    return count > 0 and first is not None and (free > 0 or _may_wait(first))


def expire(projection: Projection, *, room: int, now: int) -> list[Draft]:
    """Expires pending tasks that are past their time, at most ``room`` of them."""
    drafts: list[Draft] = []
    for task in projection.past_expiry(now):
        if len(drafts) == room:
            break
        drafts.append((task.number, Expired("max_age")))
    return drafts


def settle(
    projection: Projection,
    outcomes: list[Outcome],
    *,
    worker: str,
    now: int,
    history: Callable[[int], list[Event]] = lambda _: [],
) -> list[Draft]:
    """Records how attempts ended. An outcome whose lease was lost is refused, not applied.

    So is a second outcome of one attempt: the first has given its lease back. ``history`` gives a
    task's events, asked where a lease is over: the log may hold the very outcome already.
    """
    drafts: list[Draft] = []
    settled: set[int] = set()
    for outcome in outcomes:
        task = projection.tasks.get(outcome.task)
        if task is None or task.fence != outcome.fence or outcome.fence in settled:
            if outcome.kind != "released" and not is_recorded(outcome, history(outcome.task)):
                ended: Literal["completed", "failed"] = (
                    "completed" if outcome.kind == "completed" else "failed"
                )
                drafts.append((outcome.task, Refused(outcome.fence, worker, ended)))
            continue
        settled.add(outcome.fence)
        if outcome.kind == "completed":
            result = UNSET if outcome.result_json is None else Raw(outcome.result_json)
            drafts.append((task.number, Completed(outcome.fence, result, outcome.result_missing)))
        elif outcome.kind == "released":
            drafts.append((task.number, Released(outcome.fence, outcome.reason)))
        else:
            drafts += _fail(task, outcome, worker=worker, now=now)
    return drafts


def is_recorded(outcome: Outcome, history: list[Event]) -> bool:
    """Whether the task's history holds this very outcome already.

    So it is when the append that recorded it was reported as of unknown outcome, and was made.
    """
    for event in history:
        body = event.body
        if type(body) is Completed and body.fence == outcome.fence:
            return outcome.kind == "completed"
        if type(body) is Failed and body.fence == outcome.fence:
            return body.error == _error_of(outcome)
    return False


def lapse(
    projection: Projection, *, worker: str, seen_seq: int, room: int, now: int
) -> list[Draft]:
    """Fails the attempts of a node that stopped renewing, at most ``room`` drafts of two each.

    ``seen_seq`` is the node's last sign of life as the judge knew it: if there has been another
    since, nothing is done.
    """
    holder = projection.holders.get(worker)
    if holder is None or holder.seen_seq != seen_seq:
        return []
    error = ErrorInfo(type=LAPSED, message=f"node {worker} stopped renewing")
    drafts: list[Draft] = []
    for number in sorted(holder.tasks)[: room // 2]:
        task = projection.tasks[number]
        # The ttl has been the wait: a dead node's tasks are leased again at once.
        outcome = Outcome(number, task.fence, "failed", error=error, delay_us=0)
        drafts += _fail(task, outcome, worker=worker, now=now)
    return drafts


def renew(projection: Projection, *, worker: str, ttl_us: int) -> list[Draft]:
    """One event keeps all leases of the node alive; none when it holds none."""
    if not projection.leases_of(worker):
        return []
    return [(NODE, Renewed(worker, ttl_us))]


def cancel(task: Task, *, reason: str, by: str | None) -> list[Draft]:
    """Calls an open task off; a running attempt loses its lease. Raises NotAllowedError."""
    if task.recorded_state is TaskState.CANCELLED:
        return []
    if task.recorded_state in FINAL:
        raise NotAllowedError("cancel", task.key, task.recorded_state)
    return [(task.number, Cancelled(reason, by))]


def retry(task: Task, *, by: str | None, now: int) -> list[Draft]:
    """Makes a waiting task ready now, or reopens an expired or cancelled one.

    A reopened task has its retries anew, and its max_age counts from now. Raises
    NotAllowedError when the task is running or completed.
    """
    if task.recorded_state is TaskState.SCHEDULED:
        if task.scheduled_at_us <= now:
            return []
        return [(task.number, Updated(scheduled_at=now, by=by))]
    if task.recorded_state not in REOPENABLE:
        raise NotAllowedError("retry", task.key, task.recorded_state)
    age_us = task.policy.max_age_us
    reopens = Reopening(
        was="expired" if task.recorded_state is TaskState.EXPIRED else "cancelled",
        policy=task.policy,
        created_at=task.created_at_us,
        attempt=task.attempt,
        key=task.caller_key,
        priority=task.priority,
        tags=Raw(task.tags_json),
        expires_at=None if age_us is None else now + age_us,
        last_error=task.last_error,
    )
    return [(task.number, Retried(scheduled_at=now, by=by, reopens=reopens))]


def update(
    task: Task,
    *,
    priority: int | None,
    tags_json: bytes | None,
    scheduled_at: int | None,
    by: str | None,
) -> list[Draft]:
    """Edits a pending task; what is equal already makes no event. Raises NotAllowedError."""
    if task.recorded_state is not TaskState.SCHEDULED:
        raise NotAllowedError("update", task.key, task.recorded_state)
    if (
        scheduled_at is not None
        and task.expires_at_us is not None
        and scheduled_at >= task.expires_at_us
    ):
        shown_at = instant(scheduled_at).isoformat()
        raise ArgumentError("scheduled_at", shown_at, "an instant before the task expires")
    priority = None if priority == task.priority else priority
    tags_json = None if tags_json == task.tags_json else tags_json
    scheduled_at = None if scheduled_at == task.scheduled_at_us else scheduled_at
    if priority is None and tags_json is None and scheduled_at is None:
        return []
    tags = UNSET if tags_json is None else Raw(tags_json)
    return [(task.number, Updated(priority, tags, scheduled_at, by))]


def _may_wait(task: Task) -> bool:
    """Whether the task may be leased before a worker is free for it.

    A lapse costs a task an attempt, begun or not. One that falls with its node again and again, or
    that has no attempt to spare, would be given up because of what its neighbours did.
    """
    retries = task.policy.max_retries
    spare = retries is None or task.retry_count < retries
    return spare and (task.last_error is None or task.last_error.type != LAPSED)


def _created(order: NewTask, now: int) -> Created:
    scheduled_at = order.scheduled_at
    if order.delay_us:
        scheduled_at = now + order.delay_us
    expires_at = order.expires_at
    if expires_at is None and order.policy.max_age_us is not None:
        expires_at = now + order.policy.max_age_us
    if expires_at is not None and expires_at <= max(now, scheduled_at or now):
        if order.expires_at is None:
            age = show_duration(expires_at - now)
            raise ArgumentError("max_age", age, "longer than the wait until the task may run")
        shown_at = instant(expires_at).isoformat()
        raise ArgumentError("expires_at", shown_at, "an instant after both now and scheduled_at")
    return Created(
        policy=order.policy,
        key=order.key,
        priority=order.priority,
        tags=Raw(order.tags_json),
        scheduled_at=scheduled_at,
        expires_at=expires_at,
    )


def _check_same(key: str, order: NewTask, there: Created, *, created_at: int, task: int) -> None:
    """Raises KeyConflictError unless the same call would have made the same task.

    That is what a task is to its caller: tags, priority, and when. Its policy is how it is run: a
    queue whose default for retries has changed since still knows its own tasks. A delay is
    compared as a length, since each call resolves it against its own now.
    """
    scheduled_at = order.scheduled_at
    if order.delay_us:
        scheduled_at = created_at + order.delay_us
    expires_at = there.expires_at
    if order.expires_at is None and there.policy.max_age_us is not None:
        expires_at = None
    pairs = {
        "tags": (_sorted_json(order.tags_json), _sorted_json(bytes(there.tags))),
        "priority": (order.priority, there.priority),
        "scheduled_at": (scheduled_at, there.scheduled_at),
        "expires_at": (order.expires_at, expires_at),
    }
    for field, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise KeyConflictError(key, task, field)


def _sorted_json(text: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(text), order="sorted")


def _fail(task: Task, outcome: Outcome, *, worker: str, now: int) -> list[Draft]:
    error = _error_of(outcome)
    assert error is not None, "a failure says what failed"
    failed = (task.number, Failed(outcome.fence, error))
    if outcome.kind == "cancelled":
        return [failed, (task.number, Cancelled(outcome.reason, worker))]
    following = after_failure(
        task.policy,
        retry_count=task.retry_count,
        failed_at=now,
        expires_at=task.expires_at_us,
        draw=outcome.draw,
        delay_us=outcome.delay_us,
    )
    if isinstance(following, str):
        return [failed, (task.number, Expired(following))]
    return [failed, (task.number, Retried(scheduled_at=following))]


def _error_of(outcome: Outcome) -> ErrorInfo | None:
    """The error that its `failed` event tells."""
    if outcome.kind == "cancelled" and outcome.error is None:
        return ErrorInfo(type="eventq.Cancel", message=outcome.reason)
    return outcome.error
