"""Leasing tasks: which ones, in which order, what has expired, and that their node still lives."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.events import NODE, Created, Expired, Leased, Renewed
from eventq.core.projection import Projection
from eventq.core.task import Task

# The type of the error of an attempt whose node stopped renewing.
LAPSED = "LeaseLapsed"


class Renew(Struct, frozen=True):
    """One event keeps all leases of the node alive; a node without leases appends none.

    Where the log still ends at ``unproven_seq``, the event proves that the node can append; a node
    without leases then appends it too.
    """

    worker: str
    ttl_us: int
    unproven_seq: int | None = None
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[None]:
        """See Command.decide."""
        if not projection.leases_of(self.worker) and projection.seq != self.unproven_seq:
            return Decision([], None)
        return Decision([(NODE, Renewed(self.worker, self.ttl_us))], None)


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

    Returns at most ``room`` drafts in all. Only ``free`` tasks can begin at once (None: all); the
    block ends before a task that must not wait, see `_may_wait`.
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


def lease_created(
    projection: Projection, body: Created, *, worker: str, ttl_us: int, now: int
) -> Leased | None:
    """The lease of a task that is created at ``now``, right behind what the projection holds.

    None unless it would be the next to run: then nothing else is ready.
    """
    is_due = body.scheduled_at is None or body.scheduled_at <= now
    if not is_due or projection.unknown or next(projection.ready(now), None) is not None:
        return None
    return Leased(1, worker, ttl_us)


def can_lease(projection: Projection, *, count: int, free: int, now: int) -> bool:
    """Whether `lease` would find a task to lease or to expire."""
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


def _may_wait(task: Task) -> bool:
    """Whether the task may be leased before a worker is free for it.

    A lapse costs a task an attempt, begun or not. A task that has lapsed before, or that has no
    attempt to spare, could expire because of what its neighbours did.
    """
    retries = task.policy.max_retries
    spare = retries is None or task.retry_count < retries
    return spare and (task.last_error is None or task.last_error.type != LAPSED)
