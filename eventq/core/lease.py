"""Leasing tasks: which ones, in which order, what has expired, and that their node still lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.events import LAPSED, NODE, Created, Expired, Leased, Left, Renewed
from eventq.core.moves import first_state, route_of
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState, is_overdue


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


class Leave(Struct, frozen=True):
    """The node runs nothing more; one that has not joined has nothing to say."""

    worker: str
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, projection: Projection, _past: PastTasks, _now: int) -> Decision[None]:
        """See Command.decide."""
        is_known = self.worker in projection.members.by_name
        return Decision([(NODE, Left(self.worker))] if is_known else [], None)


class Vacancy(Struct, frozen=True):
    """How many tasks a node has places for, and for how many a worker is free now (None: all)."""

    count: int
    free: int | None = None


# In all, or for each lane that has places of its own.
Wanted = Vacancy | Mapping[str, Vacancy]


def lease(
    projection: Projection,
    *,
    worker: str,
    ttl_us: int,
    wanted: Wanted,
    room: int,
    now: int,
    audience: Audience = PLAIN_AUDIENCE,
) -> list[Draft]:
    """Leases of the tasks that are ``wanted``, in dispatch order; expires those past their time.

    Returns at most ``room`` drafts in all. Where not all can begin at once, the block ends before a
    task that must not wait, see `_may_wait`. Lanes are those of the audience; one that is full is
    passed over.

    Nothing is leased or expired once a newer eventq has said something about the queue; and nothing
    is leased beside the end of a task that others wait for, since these may rank first then.
    """
    if projection.unknown is not None:
        return []
    drafts = expire(projection, room=room, now=now)
    if projection.waits.by_task and any(_is_awaited(projection, number) for number, _ in drafts):
        return drafts
    takeable = _takeable(projection, now, audience, wanted)
    for task in islice(takeable, room - len(drafts)):
        drafts.append((task.number, Leased(task.attempt + 1, worker, ttl_us)))
    return drafts


def lease_created(
    projection: Projection,
    body: Created,
    *,
    worker: str,
    ttl_us: int,
    now: int,
    audience: Audience = PLAIN_AUDIENCE,
) -> Leased | None:
    """The lease of a task that is created at ``now``, right behind what the projection holds.

    None unless it would be the next to run: then the audience has nothing else that is ready.
    """
    is_due = body.scheduled_at is None or body.scheduled_at <= now
    if (body.after or body.flow is not None) and first_state(body) is TaskState.WAITING:
        return None
    if not is_due or projection.unknown or not audience.accepts(route_of(body)):
        return None
    if next(projection.ready(now, audience), None) is not None:
        return None
    return Leased(1, worker, ttl_us)


def can_lease(
    projection: Projection,
    wanted: Wanted,
    *,
    now: int,
    audience: Audience = PLAIN_AUDIENCE,
) -> bool:
    """Whether `lease` would find a task to lease."""
    if projection.unknown is not None:
        return False
    return next(_takeable(projection, now, audience, wanted), None) is not None


def expire(projection: Projection, *, room: int, now: int) -> list[Draft]:
    """Expires pending tasks that are past their time, at most ``room`` of them."""
    drafts: list[Draft] = []
    for task in projection.past_expiry(now):
        if len(drafts) == room:
            break
        drafts.append((task.number, Expired("max_age")))
    return drafts


def _is_awaited(projection: Projection, number: int) -> bool:
    """Whether the end of a task may let another one run."""
    return number in projection.waits.by_predecessor or projection.tasks[number].flow is not None


def _takeable(
    projection: Projection, now: int, audience: Audience, wanted: Wanted
) -> Iterator[Task]:
    """The tasks to lease, in dispatch order, until all that is wanted has been taken."""
    if isinstance(wanted, Vacancy):
        place = _Place(wanted)
        for task in projection.ready(now, audience):
            if is_overdue(task, now):
                continue
            if not place.takes(task):
                return
            yield task
        return
    places = {lane: _Place(each) for lane, each in wanted.items()}
    taken: set[int] = set()
    while places:
        full = None
        for task in projection.ready(now, replace(audience, lanes=tuple(places))):
            if task.number in taken or is_overdue(task, now):
                continue
            if not places[task.lane].takes(task):
                full = task.lane
                break
            taken.add(task.number)
            yield task
        if full is None:
            return
        # Looked at no more: behind its first there may be any number of others.
        del places[full]


class _Place:
    """How many tasks may still be taken, and how many of them can begin at once."""

    def __init__(self, wanted: Vacancy) -> None:
        self._count = wanted.count
        self._free = wanted.free

    def takes(self, task: Task) -> bool:
        """Takes the task if there is a place for it."""
        if self._count <= 0:
            return False
        if self._free is not None:
            if self._free <= 0 and not _may_wait(task):
                return False
            self._free -= 1
        self._count -= 1
        return True


def _may_wait(task: Task) -> bool:
    """Whether the task may be leased before a worker is free for it.

    A lapse costs a task an attempt, begun or not. A task that has lapsed before, or that has no
    attempt or lapse to spare, could expire because of what its neighbours did.
    """
    policy = task.policy
    if policy.max_retries is not None and task.retry_count >= policy.max_retries:
        return False
    return policy.max_lapses != 0 and (task.last_error is None or task.last_error.type != LAPSED)
