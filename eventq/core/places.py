"""Places for tasks on a node: how many it may lease, in all or lane by lane, and how many begin.

Nothing here knows which task comes next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.audience import Audience
from eventq.core.choosing import Choosing
from eventq.core.projection import Projection
from eventq.core.task import Task, is_overdue
from eventq.core.values import LAPSED


class Vacancy(Struct, frozen=True):
    """How many tasks a node has places for, and for how many a worker is free now (None: all)."""

    count: int
    free: int | None = None


# In all, or for each lane that has places of its own.
Wanted = Vacancy | Mapping[str, Vacancy]


class Places:
    """How many tasks may be taken in all, or lane by lane, while they are chosen on trial."""

    def __init__(self, wanted: Wanted, audience: Audience) -> None:
        self._audience = audience
        self._all = Openings(wanted) if isinstance(wanted, Vacancy) else None
        self._lanes = {} if isinstance(wanted, Vacancy) else places_by_lane(wanted)
        self._is_over = False
        if self._all is None:
            self._narrow()

    def chosen(self, choice: Choosing, now: int, before: Sequence[Task] = ()) -> Iterator[Task]:
        """The tasks to lease, in order, each taken on trial; see `next_task`."""
        while (task := self.next_task(choice, now, before)) is not None:
            choice.take(task)
            yield task

    def next_task(self, choice: Choosing, now: int, before: Sequence[Task] = ()) -> Task | None:
        """The next task to lease, which gets a place but is not taken on trial; None for none.

        None as well where one of ``before``, which become ready in the same commit, might come
        first.
        """
        while not self._is_over and (task := choice.first(self._audience)) is not None:
            if is_overdue(task, now):
                choice.pass_over(task)
                continue
            if any(self._wants(other) and choice.precedes(other, task) for other in before):
                return None
            place = self._all or self._lanes[task.lane]
            if place.takes(task):
                return task
            if self._all is not None:
                self._is_over = True
            else:
                # Looked at no more: behind its first there may be any number of others.
                del self._lanes[task.lane]
                self._narrow()
        return None

    def _wants(self, task: Task) -> bool:
        if not self._audience.accepts(task.route):
            return False
        return self._all is not None or not self._lanes[task.lane].is_full

    def _narrow(self) -> None:
        self._audience = replace(self._audience, lanes=tuple(self._lanes))
        self._is_over = not self._lanes


def takeable(
    projection: Projection, now: int, audience: Audience, wanted: Wanted
) -> Iterator[Task]:
    """The tasks to lease where no rule says who may run when; as `Places.chosen`, in less time."""
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


def places_by_lane(wanted: Mapping[str, Vacancy]) -> dict[str, Openings]:
    """The places of each lane."""
    return {lane: Openings(each) for lane, each in wanted.items()}


class Openings:
    """How many tasks may still be taken, and how many of them can begin at once."""

    def __init__(self, wanted: Vacancy) -> None:
        self._count = wanted.count
        self._free = wanted.free

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be taken."""
        return self._count <= 0

    def takes(self, task: Task) -> bool:
        """Takes the task if there is a place for it, and a worker unless it may wait for one."""
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
    attempt or lapse to spare, could expire because of what its neighbours did. One that takes a
    place in a bucket would keep others from it while nothing of it runs.
    """
    if task.route.buckets:
        return False
    policy = task.policy
    if policy.max_retries is not None and task.retry_count >= policy.max_retries:
        return False
    return policy.max_lapses != 0 and (task.last_error is None or task.last_error.type != LAPSED)
