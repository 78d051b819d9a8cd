"""Creating tasks: what is drafted, what may never run, and what a caller's key means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from msgspec import Raw, Struct
from msgspec.json import decode

from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.durations import show_duration
from eventq.core.events import Created, Event, Policy
from eventq.core.plain import sorted_json
from eventq.core.projection import Projection
from eventq.core.task import PLAIN_ROUTE, Route, Task, instant
from eventq.errors import ArgumentError, KeyConflictError


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
    route: Route = PLAIN_ROUTE
    repeats: int | None = None


class CreateTasks(Struct, frozen=True):
    """Creates all tasks or none. The result says for each order which task is its own.

    That is a task that has the order's key already, or the index of the event that creates one.
    Raises KeyConflictError when a key is taken by other content.
    """

    orders: list[NewTask]
    unconditional: ClassVar[bool] = True
    leasing: ClassVar[bool] = False

    def decide(
        self, _projection: Projection, past: PastTasks, now: int
    ) -> Decision[list[int | Task]]:
        """See Command.decide."""
        if len(self.orders) == 1 and self.orders[0].key is None:
            return Decision([(NEW, created_by(self.orders[0], now))], [0])
        drafts: list[Draft] = []
        places: list[int | Task] = []
        existing = _existing(self.orders, past, now)
        keyed: dict[str, int] = {}
        for order in self.orders:
            key = order.key
            if key is not None:
                if (index := keyed.get(key)) is not None:
                    _check_same(key, order, drafts[index][1], created_at=now, task=NEW)
                    places.append(index)
                    continue
                if key in existing:
                    places.append(_same(key, order, existing[key]))
                    continue
                keyed[key] = len(drafts)
            places.append(len(drafts))
            drafts.append((NEW, created_by(order, now)))
        return Decision(drafts, places)


class ChildDrafts:
    """Drafts of the tasks that attempts make with their completions, all in one commit."""

    def __init__(self, past: PastTasks, now: int) -> None:
        self._past = past
        self._now = now
        self._keyed: dict[str, Created] = {}

    def make(self, orders: Sequence[NewTask]) -> list[Draft]:
        """The ``created`` events of one attempt's orders, but for tasks that are there already.

        Raises KeyConflictError, and ArgumentError where a task could not run any more; then none of
        them are made.
        """
        existing = _existing(orders, self._past, self._now)
        keyed: dict[str, Created] = {}
        drafts: list[Draft] = []
        for order in orders:
            key = order.key
            if key is not None:
                if (twin := keyed.get(key) or self._keyed.get(key)) is not None:
                    _check_same(key, order, twin, created_at=self._now, task=NEW)
                    continue
                if key in existing:
                    _same(key, order, existing[key])
                    continue
            body = created_by(order, self._now)
            if key is not None:
                keyed[key] = body
            drafts.append((NEW, body))
        self._keyed |= keyed
        return drafts


def check_order(order: NewTask, now: int) -> None:
    """Raises ArgumentError for a task that could never run if it were made now."""
    created_by(order, now)


def _same(key: str, order: NewTask, there: tuple[Event, Task]) -> Task:
    """The task that has the key. Raises KeyConflictError when it is another one."""
    event, task = there
    _check_same(key, order, event.body, created_at=event.decided_at, task=event.task)
    return task


def _existing(
    orders: Sequence[NewTask], past: PastTasks, now: int
) -> dict[str, tuple[Event, Task]]:
    """The ``created`` event and the task of every key that is taken."""
    found: dict[str, tuple[Event, Task]] = {}
    keys = [order.key for order in orders if order.key is not None]
    if not keys:
        return found
    for key, number in past.find_keys(keys).items():
        created, task = past.created_and_task(number)
        assert created is not None, "a key in the log has a created event"
        assert task is not None
        found[key] = created, task.as_of(now)
    return found


def created_by(order: NewTask, now: int) -> Created:
    """What the log says of a task that is made now. Raises ArgumentError if it can never run."""
    policy, scheduled_at, expires_at = order.policy, order.scheduled_at, order.expires_at
    if order.delay_us:
        scheduled_at = now + order.delay_us
    if expires_at is None and policy.max_age_us is not None:
        expires_at = now + policy.max_age_us
    if expires_at is not None and expires_at <= max(now, scheduled_at or now):
        if order.expires_at is None:
            age = show_duration(expires_at - now)
            raise ArgumentError("max_age", age, "longer than the wait until the task may run")
        shown_at = instant(expires_at).isoformat()
        raise ArgumentError("expires_at", shown_at, "an instant after both now and scheduled_at")
    return Created(
        policy=policy,
        key=order.key,
        priority=order.priority,
        tags=Raw(order.tags_json),
        scheduled_at=scheduled_at,
        expires_at=expires_at,
        name=order.route.name,
        lane=order.route.lane,
        needs=order.route.needs,
        repeats=order.repeats,
    )


def _check_same(key: str, order: NewTask, there: object, *, created_at: int, task: int) -> None:
    """Raises KeyConflictError unless the same call would have made the same task.

    It compares what a task is to its caller: name, lane, tags, priority, and when it runs. It does
    not compare the policy, so that a queue whose default for retries has changed still knows its
    own tasks. A delay is compared as a length, since each call resolves it against its own now.
    """
    assert type(there) is Created
    scheduled_at = order.scheduled_at
    if order.delay_us:
        scheduled_at = created_at + order.delay_us
    expires_at = there.expires_at
    if order.expires_at is None and there.policy.max_age_us is not None:
        expires_at = None
    pairs = {
        "name": (order.route.name, there.name),
        "lane": (order.route.lane, there.lane),
        "tags": (sorted_json(decode(order.tags_json)), sorted_json(decode(there.tags))),
        "priority": (order.priority, there.priority),
        "scheduled_at": (scheduled_at, there.scheduled_at),
        "expires_at": (order.expires_at, expires_at),
    }
    for field, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise KeyConflictError(key, task, field)
