"""Leasing tasks: which ones, in which order, what has expired, and that their node still lives."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import ClassVar, Self

from msgspec import Struct

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.choosing import Choosing
from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.events import Created, Expired, Leased
from eventq.core.freed import freed_by, takes_buckets
from eventq.core.moves import first_state, route_of
from eventq.core.places import Places, Wanted, takeable
from eventq.core.projection import Projection
from eventq.core.queue_events import Left, Renewed
from eventq.core.task import Task, TaskState
from eventq.core.values import NODE


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
    task that must not wait, see `Openings`. Lanes are those of the audience; one that is full is
    passed over.

    Nothing is leased or expired once a newer eventq has said something about the queue; and nothing
    is leased beside ends that let others run, since these may rank first then.
    """
    with Leasing(projection, worker=worker, ttl_us=ttl_us, now=now) as leasing:
        return leasing.early(wanted, audience=audience, room=room)


class Leasing:
    """The leases of one commit: first those of what is ready, later of what the commit frees."""

    def __init__(self, projection: Projection, *, worker: str, ttl_us: int, now: int) -> None:
        self._projection = projection
        self._worker = worker
        self._ttl_us = ttl_us
        self._now = now
        self._choice: Choosing | None = None
        self._places: Places | None = None
        self._expired: list[Draft] = []

    def __enter__(self) -> Self:
        """Chooses on trial where any rule says who may run when."""
        if self._projection.governing.is_on:
            self._choice = Choosing(self._projection, self._now).__enter__()
        return self

    def __exit__(self, error: object, *rest: object) -> None:
        """Puts back what was taken on trial."""
        if self._choice is not None:
            self._choice.__exit__(error, *rest)

    def early(self, wanted: Wanted, *, audience: Audience, room: int) -> list[Draft]:
        """The leases that are right at the beginning of the commit; see `lease`."""
        projection = self._projection
        if projection.unknown is not None:
            return []
        self._expired = expire(projection, room=room, now=self._now)
        room -= len(self._expired)
        if self._expired and freed_by(projection, self._expired, self._now)[1]:
            # What these let run may come before all others, but is in no index yet.
            room = 0
        if self._choice is None:
            chosen = takeable(projection, self._now, audience, wanted)
        else:
            self._places = Places(wanted, audience)
            chosen = self._places.chosen(self._choice, self._now)
        return self._expired + self._leases(chosen, room)

    def late(self, between: list[Draft], *, room: int) -> list[Draft]:
        """The leases that are right behind all of the commit, whose outcomes end other leases.

        ``between`` is what it has beside early leases. None is chosen that a task might come before
        which the same commit makes ready.
        """
        choice, places = self._choice, self._places
        if choice is None or places is None or room <= 0:
            return []
        if not takes_buckets(self._projection, between):
            return []
        let_go, ready = freed_by(self._projection, self._expired + between, self._now)
        if not let_go:
            return []
        choice.let_go(let_go)
        return self._leases(places.chosen(choice, self._now, before=ready), room)

    def _leases(self, chosen: Iterable[Task], room: int) -> list[Draft]:
        worker, ttl_us = self._worker, self._ttl_us
        return [
            (task.number, Leased(task.attempt + 1, worker, ttl_us)) for task in islice(chosen, room)
        ]


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
    governing = projection.governing
    if (governing.is_on or body.limits) and not governing.would_bear(body, now):
        return None
    if next_eligible(projection, now, audience) is not None:
        return None
    return Leased(1, worker, ttl_us)


def next_eligible(projection: Projection, now: int, audience: Audience) -> Task | None:
    """The next task that the audience may be given; also one that is past its expiry."""
    if not projection.governing.is_on:
        return next(projection.ready(now, audience), None)
    with Choosing(projection, now) as choice:
        return choice.first(audience)


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
    if not projection.governing.is_on:
        return next(takeable(projection, now, audience, wanted), None) is not None
    with Choosing(projection, now) as choice:
        return Places(wanted, audience).next_task(choice, now) is not None


def expire(projection: Projection, *, room: int, now: int) -> list[Draft]:
    """Expires pending tasks that are past their time, at most ``room`` of them."""
    drafts: list[Draft] = []
    for task in projection.past_expiry(now):
        if len(drafts) == room:
            break
        drafts.append((task.number, Expired("max_age")))
    return drafts
