"""Creating tasks: what is drafted, what may never run, what a key and a unique value mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Raw, Struct
from msgspec.json import decode
from msgspec.structs import replace

from eventq.core.buckets import FIT, all_buckets, valued
from eventq.core.command import NEW, Draft, PastTasks
from eventq.core.commits import Event
from eventq.core.durations import show_duration
from eventq.core.events import Cancelled, Completed, Created, Expired, Updated
from eventq.core.link import NO_LINK, Link, Linking
from eventq.core.moves import change
from eventq.core.plain import sorted_json
from eventq.core.projection import Projection
from eventq.core.task import FINAL, PENDING, PLAIN_ROUTE, Route, Task, instant, is_overdue
from eventq.core.unique import OnDuplicate, replacement
from eventq.core.values import Policy, Verdict
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
    link: Link | None = None
    share: str | None = None
    trace: str | None = None
    secret: tuple[str, ...] = ()


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
        each = valued(bucket, order.tags_json, per_of)
        if each.value is None and (per := per_of(bucket.limit)) is not None:
            raise ArgumentError(argument, bucket.limit, f"a tag {per!r} beside it, {FIT}")
        found.append(each)
    buckets = all_buckets(tuple(found))
    if buckets == order.route.buckets:
        return order
    return replace(order, route=replace(order.route, buckets=buckets))


class Drafted(Struct, frozen=True):
    """What becomes of some orders."""

    beside: list[Draft]
    """What happens to tasks that are there: they are replaced, or end since they are late."""
    created: list[Draft]
    places: list[int | Task]
    """Each order's own task: one that is there, or its index among all that the commit creates."""


class Making:
    """The tasks that one commit makes, and what their keys and unique values mean."""

    def __init__(self, projection: Projection, past: PastTasks, now: int) -> None:
        self.has_touched = False
        """Whether nothing may be leased, expired or cancelled in the same commit: what is to be was
        decided without knowing that.

        A pending task that held a unique value is replaced, or ended since it is late, or a task is
        made that comes after others.
        """
        self._projection = projection
        self._past = past
        self._now = now
        self._tasks = _CommitTasks(projection, now)

    def note(self, task: Task, drafts: Iterable[Draft]) -> None:
        """Takes in what the commit does to a task that has a unique value."""
        for number, body in drafts:
            if number == task.number:
                task = change(task, 0, self._now, body)
        self._tasks.changed[task.number] = task

    def make(
        self, orders: Sequence[NewTask], drafts: list[Draft], *, maker: Task | None = None
    ) -> Drafted:
        """Drafts what the orders of one caller, or of one attempt, ask for: all of it or nothing.

        ``drafts`` are the commit's so far; a task that they create may be replaced there. Those of
        an attempt have its task as their ``maker``, and belong to its flow while that is open.
        Raises KeyConflictError when a key is taken by other content, DuplicateTaskError,
        ArgumentError for a task that could never run, and as `resolved` and `Linking.linked`.
        """
        if maker is not None:
            orders = resolved(list(orders), self._projection.governing.limits.per_of)
        before, tasks = self._tasks, self._tasks.copy()
        first = len(before.created)
        existing = existing_by_key(orders, self._past, self._now)
        tasks.free(order.unique for order in orders if order.key not in existing)
        is_linked = any(order.link for order in orders)
        ended = _ends(maker, [*drafts, *tasks.beside]) if is_linked else None
        linking = Linking(self._projection, self._past, ended)
        flow = None
        if maker is not None and self._projection.flows.takes_members(maker):
            flow = maker.flow
        for order in orders:
            tasks.place(order, existing, linking, maker=maker, flow=flow)
        for index in tasks.replaced:
            if index < first:
                place = drafts.index((NEW, before.created[index]))
                drafts[place] = NEW, tasks.created[index]
        self._tasks = tasks
        # What is leased or expired in this commit could end what they come after.
        self.has_touched = self.has_touched or bool(tasks.beside) or ended is not None
        created: list[Draft] = [(NEW, body) for body in tasks.created[first:]]
        return Drafted(tasks.beside, created, tasks.places)


class _CommitTasks:
    """Tasks as a commit leaves them: those that it creates, and those that it changes."""

    def __init__(self, projection: Projection, now: int) -> None:
        self.created: list[Created] = []
        self.changed: dict[int, Task] = {}
        """Only tasks that have a unique value."""
        self.beside: list[Draft] = []
        """What is to happen to tasks that are there."""
        self.replaced: set[int] = set()
        """Which of the created have been changed by a later order."""
        self.places: list[int | Task] = []
        """Each order's own task, in the order in which they were placed."""
        self._by_key: dict[str, int] = {}
        self._by_unique: dict[str, int] = {}
        self._projection = projection
        self._now = now

    def copy(self) -> _CommitTasks:
        """One that may be changed without this one, for the next caller's orders."""
        other = _CommitTasks(self._projection, self._now)
        other.created, other.changed = self.created.copy(), self.changed.copy()
        other._by_key, other._by_unique = self._by_key.copy(), self._by_unique.copy()
        return other

    def free(self, uniques: Iterable[str | None]) -> None:
        """Ends who holds one of the values and is past its time, before anything is made."""
        for unique in uniques:
            holder = None if unique is None else self._holder(unique)
            if holder is not None and has_expired(holder, self._now):
                self._change(holder, Expired("max_age"))

    def place(
        self,
        order: NewTask,
        existing: Mapping[str, tuple[Event, Task]],
        linking: Linking,
        *,
        maker: Task | None,
        flow: int | None,
    ) -> None:
        """Finds the order's own task: one that is there, or one that it has created."""
        key, unique = order.key, order.unique
        found: int | Task | None = None
        if key is not None:
            found = self._of_key(key, order, existing, linking)
        if found is None and unique is not None:
            found = self._held(unique, order)
        if found is None:
            found = len(self.created)
            body = created_by(order, self._now, made_by=None if maker is None else maker.number)
            if flow is not None or order.link is not None:
                body = linking.linked(body, order.link or NO_LINK, flow=flow)
            self.created.append(body)
            if key is not None:
                self._by_key[key] = found
            if unique is not None:
                self._by_unique[unique] = found
        self.places.append(found)

    def _of_key(
        self,
        key: str,
        order: NewTask,
        existing: Mapping[str, tuple[Event, Task]],
        linking: Linking,
    ) -> int | Task | None:
        if (index := self._by_key.get(key)) is not None:
            there = self.created[index]
            check_same(key, order, there, linking, created_at=self._now, task=0)
            return index
        return task_of_key(key, order, existing[key], linking) if key in existing else None

    def _held(self, unique: str, order: NewTask) -> int | Task | None:
        """Who holds the value, replaced if the order says so; None where there is to be another."""
        if (index := self._by_unique.get(unique)) is not None:
            made = self.created[index]
            if _is_refused(order, made.given or {}, made.secret):
                raise DuplicateTaskError(unique, key=None, task=0)
            if order.on_duplicate == "replace":
                self.created[index] = superseded(made, order, self._now)
                self.replaced.add(index)
            return index
        holder = self._holder(unique)
        if holder is None:
            return None
        given = holder.given if holder.recorded_state in PENDING else None
        if _is_refused(order, given, holder.secret):
            raise DuplicateTaskError(unique, key=holder.key, task=holder.number)
        if order.on_duplicate == "replace":
            start = start_of(order, self._now)
            body = replacement(holder, order.tags_json, start, self._now)
            holder = holder if body is None else self._change(holder, body)
        return holder.as_of(self._now)

    def _holder(self, unique: str) -> Task | None:
        """Who holds the value as far as the commit goes, unless the commit makes it."""
        holder = self._projection.holder_of(unique)
        if holder is not None:
            holder = self.changed.get(holder.number, holder)
        return None if holder is None or holder.recorded_state in FINAL else holder

    def _change(self, holder: Task, body: Expired | Updated) -> Task:
        self.beside.append((holder.number, body))
        after = self.changed[holder.number] = change(holder, 0, self._now, body)
        return after


def _is_refused(order: NewTask, given: Mapping[str, int] | None, secret: tuple[str, ...]) -> bool:
    """Whether an order can neither be the task that has its value nor replace what that holds.

    It must not bring tags that are secret to a task that does not know of it.
    """
    if order.on_duplicate == "replace" and order.secret != secret:
        return True
    return order.on_duplicate == "raise" or _has_results(order, given)


def _has_results(order: NewTask, given: Mapping[str, int] | None) -> bool:
    """Whether the order would replace arguments that are results, which an edit cannot change.

    ``given`` are those of the task that holds its value; None where that stays as it is.
    """
    if order.on_duplicate != "replace" or given is None:
        return False
    return bool(given) or (order.link is not None and bool(order.link.given))


def _ends(maker: Task | None, drafts: Iterable[Draft]) -> dict[int, Verdict | None]:
    """What has ended in the commit so far, and the maker, which is about to complete."""
    ended: dict[int, Verdict | None] = {} if maker is None else {maker.number: "completed"}
    for number, body in drafts:
        if type(body) is Completed:
            ended[number] = "completed"
        elif type(body) is Expired or type(body) is Cancelled:
            ended[number] = "failed"
    return ended


def superseded(made: Created, order: NewTask, now: int) -> Created:
    """What is made by an order that a later one of the same commit replaces."""
    start = start_of(order, now)
    if made.expires_at is not None and start is not None and start >= made.expires_at:
        start = made.scheduled_at
    return replace(made, tags=Raw(order.tags_json), scheduled_at=start)


def has_expired(task: Task, now: int) -> bool:
    """Whether the task is pending and past its time, so that its next event is its end."""
    return task.recorded_state in PENDING and is_overdue(task, now)


def start_of(order: NewTask, now: int) -> int | None:
    """The instant before which it must not run; None: it may at once."""
    return now + order.delay_us if order.delay_us else order.scheduled_at


def check_order(order: NewTask, now: int) -> None:
    """Raises ArgumentError for a task that could never run if it were made now."""
    created_by(order, now)


def task_of_key(key: str, order: NewTask, there: tuple[Event, Task], linking: Linking) -> Task:
    """The task that has the key. Raises KeyConflictError when it is another one."""
    event, task = there
    check_same(key, order, event.body, linking, created_at=event.decided_at, task=event.task)
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


def created_by(
    order: NewTask, now: int, *, made_by: int | None = None, flow: int | None = None
) -> Created:
    """What the log says of a task that is made now, by the attempt of a task if ``made_by`` is one.

    It is without its link. Raises ArgumentError if it can never run.
    """
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
        made_by=made_by,
        flow=flow,
        limits=order.route.buckets,
        share=order.share,
        trace=order.trace,
        secret=order.secret,
    )


def check_same(
    key: str, order: NewTask, there: object, linking: Linking, *, created_at: int, task: int
) -> None:
    """Raises KeyConflictError unless the same call would have made the same task.

    It compares what a task is to its caller: name, lane, tags and which are secret, priority,
    unique value, what it comes after, and when it runs. It does not compare the policy, so that a
    queue whose default for retries has changed still knows its own tasks. A delay is compared as a
    length, since each call resolves it against its own now.
    """
    assert type(there) is Created
    scheduled_at = start_of(order, created_at)
    expires_at = there.expires_at
    if order.expires_at is None and there.policy.max_age_us is not None:
        expires_at = None
    pairs = {
        "name": (order.route.name, there.name),
        "lane": (order.route.lane, there.lane),
        # Before the tags: who does not know which are secret is not told whether they are equal.
        "secret": (order.secret, there.secret),
        "tags": (sorted_json(decode(order.tags_json)), sorted_json(decode(there.tags))),
        "priority": (order.priority, there.priority),
        "unique": (order.unique, there.unique),
        "scheduled_at": (scheduled_at, there.scheduled_at),
        "expires_at": (order.expires_at, expires_at),
    }
    if order.link is not None or there.after:
        linked = linking.linked(there, order.link or NO_LINK)
        if _link_facts(linked) != _link_facts(there):
            raise KeyConflictError(key, task, "after")
    for field, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise KeyConflictError(key, task, field)


def _link_facts(body: Created) -> tuple[object, ...]:
    return ({each.task for each in body.after}, body.if_failed, body.given)
