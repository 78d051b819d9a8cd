"""Creating tasks: what is drafted, what may never run, what a key and a unique value mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from msgspec import Raw, Struct
from msgspec.json import decode
from msgspec.structs import replace

from eventq.core.buckets import FIT, all_buckets
from eventq.core.command import NEW, Decision, Draft, PastTasks
from eventq.core.durations import show_duration
from eventq.core.events import Bucket, Created, Event, Expired, Policy
from eventq.core.limits import tag_text
from eventq.core.moves import change
from eventq.core.plain import sorted_json
from eventq.core.projection import Projection
from eventq.core.task import PLAIN_ROUTE, Route, Task, TaskState, instant, is_overdue
from eventq.core.unique import OnDuplicate, replacement
from eventq.errors import ArgumentError, DuplicateTaskError, KeyConflictError


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
    """With its buckets, as far as their values are known."""
    unique: str | None = None
    on_duplicate: OnDuplicate = "return"
    repeats: int | None = None
    share: str | None = None


class CreateTasks(Struct, frozen=True):
    """Creates all tasks or none. The result says for each order which task is its own.

    That is a task that is there already, by the order's key or unique value, or the index of the
    event that creates or replaces one. Only orders without a unique value are unconditional; see
    `creating`. Raises KeyConflictError when a key is taken by other content, and
    DuplicateTaskError.
    """

    orders: list[NewTask]
    unconditional: bool = True
    leasing: ClassVar[bool] = False

    def decide(
        self, projection: Projection, past: PastTasks, now: int
    ) -> Decision[list[int | Task]]:
        """See Command.decide."""
        if self.unconditional and len(self.orders) == 1 and self.orders[0].key is None:
            return Decision([(NEW, created_by(self.orders[0], now))], [0])
        drafts: list[Draft] = []
        places: list[int | Task] = []
        uniques, orders = None, self.orders
        if not self.unconditional:
            uniques = _Uniques(projection, now)
            orders = resolved(orders, projection.governing.limits.per_of)
        existing = existing_by_key(orders, past, now)
        keyed: dict[str, int] = {}
        for order in orders:
            key = order.key
            if key is not None:
                if (index := keyed.get(key)) is not None:
                    check_same(key, order, drafts[index][1], created_at=now, task=NEW)
                    places.append(index)
                    continue
                if key in existing:
                    places.append(task_of_key(key, order, existing[key]))
                    continue
            if order.unique is not None:
                assert uniques is not None, "who holds a value is asked of the projection"
                place = uniques.place(order.unique, order, drafts)
                if place is not None:
                    places.append(place)
                    continue
            if key is not None:
                keyed[key] = len(drafts)
            places.append(len(drafts))
            drafts.append((NEW, created_by(order, now)))
        return Decision(drafts, places)


def creating(
    orders: list[NewTask], pers: Mapping[str, str | None] = MappingProxyType({})
) -> CreateTasks:
    """The command for these orders; ``pers`` are the tags of the limits that this process defines.

    One with a unique value, or a limit that is defined elsewhere, is decided by the projection.
    Raises ArgumentError for a task that lacks the tag of its limit.
    """
    is_plain = True
    for order in orders:
        is_plain = is_plain and order.unique is None
        for bucket in order.route.buckets:
            is_plain = is_plain and (bucket.value is not None or bucket.limit in pers)
    return CreateTasks(resolved(orders, pers.get) if pers else orders, is_plain)


def resolved(orders: list[NewTask], per_of: Callable[[str], str | None]) -> list[NewTask]:
    """The orders with the value that their tags have for each bucket that is counted by a tag.

    Raises ArgumentError where they have none that is fit.
    """
    if not any(order.route.buckets for order in orders):
        return orders
    many = len(orders) > 1
    return [
        resolve(order, per_of, f"tasks[{index}]: limits" if many else "limits")
        for index, order in enumerate(orders)
    ]


def resolve(order: NewTask, per_of: Callable[[str], str | None], argument: str) -> NewTask:
    """As `resolved`, for one order."""
    found = []
    for bucket in order.route.buckets:
        per = per_of(bucket.limit) if bucket.value is None else None
        value = bucket.value if per is None else tag_text(order.tags_json, per)
        if per is not None and value is None:
            raise ArgumentError(argument, bucket.limit, f"a tag {per!r} beside it, {FIT}")
        found.append(Bucket(bucket.limit, value))
    buckets = all_buckets(tuple(found))
    if buckets == order.route.buckets:
        return order
    return replace(order, route=replace(order.route, buckets=buckets))


class _Uniques:
    """Which tasks hold the values of a call's orders, in the log or by an order before."""

    def __init__(self, projection: Projection, now: int) -> None:
        self._projection = projection
        self._now = now
        self._changed: dict[int, Task] = {}
        self._ordered: dict[str, int] = {}

    def place(self, unique: str, order: NewTask, drafts: list[Draft]) -> int | Task | None:
        """What the order's caller gets instead of a new task; None where there is to be one.

        Adds the events of a replacement to the drafts, and the end of a holder that is past its
        expiry. Raises DuplicateTaskError.
        """
        if (index := self._ordered.get(unique)) is not None:
            return self._ordered_before(unique, index, order, drafts)
        holder = self._projection.holder_of(unique)
        if holder is not None and has_expired(holder, self._now):
            drafts.append((holder.number, Expired("max_age")))
            holder = None
        if holder is None:
            self._ordered[unique] = len(drafts)
            return None
        holder = self._changed.get(holder.number, holder)
        if order.on_duplicate == "raise":
            raise DuplicateTaskError(unique, key=holder.key, task=holder.number)
        if order.on_duplicate == "replace":
            body = replacement(holder, order.tags_json, start_of(order, self._now), self._now)
            if body is not None:
                changed = change(holder, 0, self._now, body)
                self._changed[holder.number] = changed
                drafts.append((holder.number, body))
                return len(drafts) - 1
        return holder.as_of(self._now)

    def _ordered_before(self, unique: str, index: int, order: NewTask, drafts: list[Draft]) -> int:
        """The place of the task that an earlier order of this call makes."""
        if order.on_duplicate == "raise":
            raise DuplicateTaskError(unique, key=None, task=0)
        if order.on_duplicate == "replace":
            number, made = drafts[index]
            assert type(made) is Created
            drafts[index] = number, superseded(made, order, self._now)
        return index


def superseded(made: Created, order: NewTask, now: int) -> Created:
    """What is made by an order that a later one of the same commit replaces."""
    start = start_of(order, now)
    if made.expires_at is not None and start is not None and start >= made.expires_at:
        start = made.scheduled_at
    return replace(made, tags=Raw(order.tags_json), scheduled_at=start)


def has_expired(task: Task, now: int) -> bool:
    """Whether the task is pending and past its time, so that its next event is its end."""
    return task.recorded_state is TaskState.SCHEDULED and is_overdue(task, now)


def start_of(order: NewTask, now: int) -> int | None:
    """The instant before which it must not run; None: it may at once."""
    return now + order.delay_us if order.delay_us else order.scheduled_at


def check_order(order: NewTask, now: int) -> None:
    """Raises ArgumentError for a task that could never run if it were made now."""
    created_by(order, now)


def task_of_key(key: str, order: NewTask, there: tuple[Event, Task]) -> Task:
    """The task that has the key. Raises KeyConflictError when it is another one."""
    event, task = there
    check_same(key, order, event.body, created_at=event.decided_at, task=event.task)
    return task


def existing_by_key(
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
    policy, scheduled_at, expires_at = order.policy, start_of(order, now), order.expires_at
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
        unique=order.unique,
        limits=order.route.buckets,
        share=order.share,
    )


def check_same(key: str, order: NewTask, there: object, *, created_at: int, task: int) -> None:
    """Raises KeyConflictError unless the same call would have made the same task.

    It compares what a task is to its caller: name, lane, tags, priority, unique value, and when it
    runs. It does not compare the policy, so that a queue whose default for retries has changed
    still knows its own tasks. A delay is compared as a length, since each call resolves it against
    its own now.
    """
    assert type(there) is Created
    scheduled_at = start_of(order, created_at)
    expires_at = there.expires_at
    if order.expires_at is None and there.policy.max_age_us is not None:
        expires_at = None
    pairs = {
        "name": (order.route.name, there.name),
        "lane": (order.route.lane, there.lane),
        "tags": (sorted_json(decode(order.tags_json)), sorted_json(decode(there.tags))),
        "priority": (order.priority, there.priority),
        "unique": (order.unique, there.unique),
        "scheduled_at": (scheduled_at, there.scheduled_at),
        "expires_at": (order.expires_at, expires_at),
    }
    for field, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise KeyConflictError(key, task, field)
