"""The options of tasks: checked, merged with the queue's, and made into orders for deciding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from operator import is_not
from typing import Any, Self, TypedDict, Unpack, cast

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.durations import Duration
from eventq.core.events import COMMIT_BYTES, COMMIT_EVENTS, NO_JITTER, Policy
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.task import DEFAULT_LANE, PLAIN_ROUTE, Route
from eventq.core.unique import OnDuplicate, value_of
from eventq.core.validation import (
    check_backoff,
    check_count,
    check_duration,
    check_instant,
    check_key,
    check_name,
    check_on_duplicate,
    check_priority,
    check_tags,
    check_unique,
)
from eventq.errors import ArgumentError

# What a created event takes beside its tags at the most, and what a key or a unique value adds.
BODY_BYTES = 300
KEYED_BYTES = 1_100


class TaskOptions(TypedDict, total=False):
    """What `Queue.new` takes beside the tags; see there."""

    priority: int
    key: str | None
    scheduled_at: datetime | None
    delay: Duration | None
    expires_at: datetime | None
    max_age: Duration | UnsetType | None
    max_retries: int | UnsetType | None
    backoff: Backoff | Duration | UnsetType
    deadline: Duration | UnsetType | None
    max_lapses: int | UnsetType | None
    name: str | None
    lane: str | None
    unique: bool | str | None
    on_duplicate: OnDuplicate


class TaskSpec:
    """One task for `Queue.new_many` with options of its own: tags, and what `Queue.new` takes."""

    __slots__ = ("options", "tags", "tags_json", "unique")

    def __init__(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> None:
        _check_names(options)
        self.tags = tags
        self.options = options
        self.tags_json: bytes | None = None
        self.unique: str | None = None

    @classmethod
    def encoded(cls, tags_json: bytes, options: TaskOptions, unique: str | None = None) -> Self:
        """One whose tags and options have been checked, with its unique value if it has one."""
        spec = cls.__new__(cls)
        spec.tags, spec.tags_json, spec.options = None, tags_json, options
        spec.unique = unique
        return spec


def make_policy(**options: Unpack[TaskOptions]) -> Policy:
    """The policy of a queue's own options."""
    return _overridden(Backoff.linear(DEFAULT_BACKOFF).policy(), _checked(options))


def make_order(tags: object, policy: Policy, options: TaskOptions) -> NewTask:
    """The order for one task; ``policy`` is the queue's, which the options may override."""
    order = _pattern(check_tags(tags), policy, options)
    return _identified(order, options) if options else order


def order_of(spec: TaskSpec, policy: Policy) -> NewTask:
    """The order for one task by its spec."""
    order = _pattern(_tags_of(spec), policy, spec.options)
    return _identified(order, spec.options, spec.unique)


def _pattern(tags_json: bytes, policy: Policy, options: TaskOptions) -> NewTask:
    given = _checked(options)
    if not given:
        return NewTask(tags_json, policy)
    scheduled_at, delay_us = given.get("scheduled_at"), given.get("delay")
    if scheduled_at is not None and delay_us is not None:
        raise ArgumentError("delay", options["delay"], "either delay or scheduled_at, not both")
    expires_at = given.get("expires_at")
    policy = _overridden(policy, given)
    if expires_at is not None and policy.max_age_us is not None:
        if "max_age" in given:
            expected = "either expires_at or max_age, not both"
            raise ArgumentError("expires_at", options["expires_at"], expected)
        policy = replace(policy, max_age_us=None)
    priority, key = given.get("priority", 0), given.get("key")
    route = make_route(given.get("name"), given.get("lane"))
    order = NewTask(tags_json, policy, priority, key, scheduled_at, delay_us, expires_at, route)
    twin = given.get("on_duplicate")
    return order if twin is None else replace(order, on_duplicate=twin)


def _identified(order: NewTask, options: TaskOptions, value: str | None = None) -> NewTask:
    """The order with its unique value, if it has one: ``value``, or as the options say."""
    if value is None and (given := options.get("unique")):
        unique = check_unique(given)
        value = value_of(order.route.name, order.tags_json) if unique is True else str(unique)
    if value is not None:
        return replace(order, unique=value)
    if order.on_duplicate != "return":
        raise ArgumentError("on_duplicate", order.on_duplicate, "a `unique` value beside it")
    return order


def make_route(name: str | None, lane: str | None) -> Route:
    """Which nodes may run a task of this name and lane, both checked."""
    lane = None if lane == DEFAULT_LANE else lane
    return PLAIN_ROUTE if name is None and lane is None else Route(name, lane)


def check_options(options: Mapping[str, Any]) -> TaskOptions:
    """The options, if all are options of `new` and right. Raises ArgumentError."""
    _check_names(options)
    given = cast("TaskOptions", options)
    _pattern(b"", make_policy(), given)
    return given


def overridden(options: TaskOptions, by: TaskOptions) -> TaskOptions:
    """The options with others over them; of two that exclude each other, the other one goes."""
    kept = dict(options)
    for one, another in EXCLUDING:
        if one in by:
            kept.pop(another, None)
        if another in by:
            kept.pop(one, None)
    return cast("TaskOptions", {**kept, **by})


def make_orders(
    items: Iterable[Mapping[str, Any] | TaskSpec], policy: Policy, options: TaskOptions
) -> list[NewTask]:
    """The orders for many tasks; each error names the item's index."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise ArgumentError("tasks", items, "an iterable of tags or TaskSpecs")
    _check_names(options)
    if options.get("key") is not None:
        raise ArgumentError("key", options["key"], "a key in each TaskSpec, not one for all")
    if isinstance(options.get("unique"), str):
        expected = "a value in each TaskSpec, or True: all of one value would be one task"
        raise ArgumentError("unique", options["unique"], expected)
    pattern = _pattern(b"", policy, options)
    last: tuple[TaskOptions, TaskOptions, NewTask] = {}, options, pattern
    orders = []
    for index, item in enumerate(items):
        try:
            if not isinstance(item, TaskSpec):
                order = replace(pattern, tags_json=check_tags(item))
                orders.append(_identified(order, options) if options else order)
                continue
            tags_json = _tags_of(item)
            # As a rule many in a row have the very same options: one handler's.
            if item.options is not last[0]:
                merged = overridden(options, item.options)
                last = item.options, merged, _pattern(b"", policy, merged)
            order = replace(last[2], tags_json=tags_json)
            orders.append(_identified(order, last[1], item.unique) if last[1] else order)
        except ArgumentError as error:
            raise ArgumentError(
                f"tasks[{index}]: {error.argument}", error.value, error.expected
            ) from error
    return orders


def _tags_of(spec: TaskSpec) -> bytes:
    return check_tags(spec.tags) if spec.tags_json is None else spec.tags_json


def batches(orders: list[NewTask]) -> Iterator[list[NewTask]]:
    """The orders in batches that each fit into a commit."""
    batch: list[NewTask] = []
    batch_count = batch_bytes = 0
    for order in orders:
        events, order_bytes = event_count(order), size_bytes(order)
        if batch and (
            batch_count + events > COMMIT_EVENTS or batch_bytes + order_bytes > COMMIT_BYTES
        ):
            yield batch
            batch, batch_count, batch_bytes = [], 0, 0
        batch.append(order)
        batch_count += events
        batch_bytes += order_bytes
    if batch:
        yield batch


def event_count(order: NewTask) -> int:
    """How many events the order takes at the most: what holds its value may have to expire."""
    return 1 if order.unique is None else 2


def size_bytes(order: NewTask) -> int:
    """What the order's events take at the most."""
    order_bytes = len(order.tags_json) + BODY_BYTES
    if order.key is not None:
        order_bytes += KEYED_BYTES
    if order.unique is not None:
        order_bytes += KEYED_BYTES + BODY_BYTES
    return order_bytes


def _check_names(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name not in _DEFAULTS:
            raise ArgumentError(name, value, "an option of `new`")


def _check_most(most: object, argument: str) -> int | None:
    return None if most is None else check_count(most, argument, least=0)


# Of each pair a task can have only one.
EXCLUDING = (("scheduled_at", "delay"), ("expires_at", "max_age"))
# The options of which a policy has the value as it is checked, and its names for them.
_LENGTHS = {
    "max_age": "max_age_us",
    "max_retries": "max_retries",
    "deadline": "deadline_us",
    "max_lapses": "max_lapses",
}
# What each option is where it is not given, and the check of one that is.
_DEFAULTS: TaskOptions = {
    "priority": 0,
    "key": None,
    "scheduled_at": None,
    "delay": None,
    "expires_at": None,
    "max_age": UNSET,
    "max_retries": UNSET,
    "backoff": UNSET,
    "deadline": UNSET,
    "max_lapses": UNSET,
    "name": None,
    "lane": None,
    "unique": None,
    "on_duplicate": "return",
}
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "priority": check_priority,
    "key": check_key,
    "scheduled_at": partial(check_instant, argument="scheduled_at"),
    "delay": partial(check_duration, argument="delay"),
    "expires_at": partial(check_instant, argument="expires_at"),
    "max_age": partial(check_duration, argument="max_age", least_us=1),
    "max_retries": partial(_check_most, argument="max_retries"),
    "backoff": check_backoff,
    "deadline": partial(check_duration, argument="deadline", least_us=1),
    "max_lapses": partial(_check_most, argument="max_lapses"),
    "name": partial(check_name, argument="name"),
    "lane": partial(check_name, argument="lane"),
    "unique": check_unique,
    "on_duplicate": check_on_duplicate,
}


def _checked(options: TaskOptions) -> dict[str, Any]:
    """The options that are given, in eventq's own form."""
    # A lone `new` names all of them and gives none, as a rule: that takes one line of Python.
    if options.keys() <= _DEFAULTS.keys() and not any(
        map(is_not, map(options.get, _DEFAULTS), _DEFAULTS.values())
    ):
        return {}
    _check_names(options)
    return {
        name: _CHECKS[name](value)
        for name, value in options.items()
        if value is not _DEFAULTS[name]  # type: ignore[literal-required]
    }


def policy_changes(options: TaskOptions) -> dict[str, Any]:
    """What options change about a policy, checked, by its fields."""
    return _changes(_checked(options))


def _overridden(policy: Policy, given: Mapping[str, Any]) -> Policy:
    changes = _changes(given)
    return replace(policy, **changes) if changes else policy


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a policy's fields are instead, of what is given and has been checked."""
    changes = {name: given[option] for option, name in _LENGTHS.items() if option in given}
    if (backoff := given.get("backoff")) is not None:
        changes |= {
            "backoff": backoff.kind,
            "backoff_us": backoff.base_us,
            "backoff_cap_us": backoff.cap_us,
            "jitter": backoff.jitter or NO_JITTER,
        }
    return changes
