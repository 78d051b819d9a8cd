"""Leasing tasks: which ones, in which order, what has expired, and that their node still lives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import ClassVar, Self

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.choosing import Choosing, choosing
from eventq.core.command import Decision, Draft, PastTasks
from eventq.core.events import NODE, Created, Expired, Leased, Left, Refused, Renewed
from eventq.core.moves import change, create, route_of
from eventq.core.places import Openings, Places, Vacancy, places_by_lane
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState, is_due, is_overdue

# Stands for that of a task to be made: no task has a higher one.
LAST_NUMBER = 2**63 - 1


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
    count: int,
    room: int,
    now: int,
    free: int | None = None,
    audience: Audience = PLAIN_AUDIENCE,
    lanes: Mapping[str, Vacancy] | None = None,
) -> list[Draft]:
    """Leases of up to ``count`` tasks in dispatch order; expires those found past their time.

    Returns at most ``room`` drafts in all. Only ``free`` tasks can begin at once (None: all); the
    block ends before a task that must not wait, see `_may_wait`. ``lanes``, where they are given,
    are those of the audience; each has bounds of its own, and one that is full is passed over.

    Nothing is leased or expired once a newer eventq has said something about the queue.
    """
    vacancy: Vacancy | Mapping[str, Vacancy] = lanes or Vacancy(count, free)
    with Leasing(projection, worker=worker, ttl_us=ttl_us, now=now) as leasing:
        return leasing.early(vacancy, audience=audience, room=room)


class Leasing:
    """The leases of one commit: first those of what is ready, later of what the commit frees."""

    def __init__(self, projection: Projection, *, worker: str, ttl_us: int, now: int) -> None:
        self._projection = projection
        self._worker = worker
        self._ttl_us = ttl_us
        self._now = now
        self._choice: Choosing | None = None
        self._places: Places | None = None
        self._left = 0

    def __enter__(self) -> Self:
        """Chooses on trial where any rule says who may run when."""
        projection = self._projection
        if projection.governing.is_on:
            projection.advance_to(self._now)
            self._choice = Choosing(projection.governing, projection.tasks, self._now)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Puts back what was taken on trial; what was broken off is folded anew."""
        if self._choice is not None and error is None:
            self._choice.put_back()

    def early(
        self, wanted: Vacancy | Mapping[str, Vacancy], *, audience: Audience, room: int
    ) -> list[Draft]:
        """The leases that are right at the beginning of the commit; see `lease`."""
        projection = self._projection
        if projection.unknown is not None:
            return []
        drafts = expire(projection, room=room, now=self._now)
        self._left = room - len(drafts)
        if self._choice is None:
            takeable = _takeable(projection, self._now, audience, wanted)
        else:
            self._places = Places(wanted, audience)
            takeable = self._places.chosen(self._choice, self._now)
        return drafts + self._leases(takeable)

    def late(self, settled: list[Draft]) -> list[Draft]:
        """The leases that are right behind the commit's outcomes, which end other leases.

        None is chosen that a task might come before which the same commit makes ready.
        """
        choice, places = self._choice, self._places
        if choice is None or places is None or not self._left:
            return []
        ended, ready = _freed(self._projection, settled, self._now)
        if not ended:
            return []
        choice.let_go(ended)
        return self._leases(places.chosen(choice, self._now, before=ready))

    def _leases(self, takeable: Iterable[Task]) -> list[Draft]:
        worker, ttl_us = self._worker, self._ttl_us
        drafts: list[Draft] = [
            (task.number, Leased(task.attempt + 1, worker, ttl_us))
            for task in islice(takeable, self._left)
        ]
        self._left -= len(drafts)
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
    projection.advance_to(now)
    with choosing(projection.governing, projection.tasks, now) as choice:
        return choice.first(audience)


def can_lease(
    projection: Projection,
    wanted: Vacancy | Mapping[str, Vacancy],
    *,
    now: int,
    audience: Audience = PLAIN_AUDIENCE,
) -> bool:
    """Whether `lease` would find a task to lease; ``wanted`` in all, or by lane."""
    if projection.unknown is not None:
        return False
    if not projection.governing.is_on:
        return next(_takeable(projection, now, audience, wanted), None) is not None
    projection.advance_to(now)
    with choosing(projection.governing, projection.tasks, now) as choice:
        return next(Places(wanted, audience).chosen(choice, now), None) is not None


def expire(projection: Projection, *, room: int, now: int) -> list[Draft]:
    """Expires pending tasks that are past their time, at most ``room`` of them."""
    drafts: list[Draft] = []
    for task in projection.past_expiry(now):
        if len(drafts) == room:
            break
        drafts.append((task.number, Expired("max_age")))
    return drafts


def _takeable(
    projection: Projection, now: int, audience: Audience, wanted: Vacancy | Mapping[str, Vacancy]
) -> Iterator[Task]:
    """The tasks to lease, in dispatch order, until all that is wanted has been taken."""
    if isinstance(wanted, Vacancy):
        place = Openings(wanted)
        for task in projection.ready(now, audience):
            if is_overdue(task, now):
                continue
            if not place.takes(task):
                return
            yield task
        return
    places = places_by_lane(wanted)
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


def _freed(projection: Projection, settled: list[Draft], now: int) -> tuple[list[Task], list[Task]]:
    """The tasks whose leases these drafts end, and those that they make ready by ``now``.

    None where no task among them takes a place in a bucket: then nobody waits for their end.
    """
    tasks = projection.tasks
    if not any(number in tasks and tasks[number].route.buckets for number, _ in settled):
        return [], []
    moved: dict[int, Task] = {}
    made: list[Task] = []
    for number, body in settled:
        if type(body) is Created:
            # Its number will be higher than all that there are.
            made.append(create(projection.namespace, LAST_NUMBER, now, body))
        elif type(body) is not Refused and number in tasks:
            moved[number] = change(moved.get(number, tasks[number]), 0, now, body)
    ended = [tasks[number] for number, task in moved.items() if tasks[number].fence != task.fence]
    pending = (
        task for task in (*moved.values(), *made) if task.recorded_state is TaskState.SCHEDULED
    )
    return ended, [task for task in pending if is_due(task, now)]
