"""Orders for tasks: made of tags, specs or a handler's arguments, with their options.

Nothing here decides; `create` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, ParamSpec, Self, Unpack, cast

from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.events import COMMIT_BYTES, COMMIT_EVENTS, Policy
from eventq.core.options import (
    TaskOptions,
    changed_policy,
    check_known,
    checked,
    make_policy,
    overridden,
)
from eventq.core.task import DEFAULT_LANE, PLAIN_ROUTE, Route
from eventq.core.unique import value_of
from eventq.core.validation import check_tags, check_unique
from eventq.errors import ArgumentError

P = ParamSpec("P")

# What a created event takes beside its tags at the most, and what a key or a unique value adds.
BODY_BYTES = 300
KEYED_BYTES = 1_100


class TaskSpec:
    """One task for `Queue.new_many` with options of its own: tags, and what `Queue.new` takes."""

    __slots__ = ("options", "tags", "tags_json", "unique")

    def __init__(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> None:
        check_known(options)
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


class MakesSpecs(Generic[P]):
    """What makes specs of arguments: a handler."""

    spec: Callable[P, TaskSpec]
    """The task that calls it with these arguments."""


def order_for(what: Any, args: tuple[Any, ...], options: dict[str, Any], by: Policy) -> NewTask:  # noqa: ANN401
    """The order for one task of what `Queue.new` takes; ``by`` is the queue's policy.

    That is tags and options, a TaskSpec alone, or a handler and its arguments.
    """
    if isinstance(what, MakesSpecs):
        return order_of(what.spec(*args, **options), by)
    for value in args:
        raise ArgumentError("arguments", value, "nothing behind the tags but options by name")
    if isinstance(what, TaskSpec):
        for name, value in options.items():
            raise ArgumentError(name, value, "nothing beside a TaskSpec, which has its own options")
        return order_of(what, by)
    # By name, too: many write it like that at first.
    what = options.pop("tags", None) if what is None else what
    return make_order(what, by, cast("TaskOptions", options))


def make_order(tags: object, policy: Policy, options: TaskOptions) -> NewTask:
    """The order for one task; ``policy`` is the queue's, which the options may override."""
    order = _pattern(check_tags(tags), policy, options)
    return _identified(order, options) if options else order


def order_of(spec: TaskSpec, policy: Policy) -> NewTask:
    """The order for one task by its spec."""
    order = _pattern(_tags_of(spec), policy, spec.options)
    return _identified(order, spec.options, spec.unique)


def _pattern(tags_json: bytes, policy: Policy, options: TaskOptions) -> NewTask:
    given = checked(options)
    if not given:
        return NewTask(tags_json, policy)
    scheduled_at, delay_us = given.get("scheduled_at"), given.get("delay")
    if scheduled_at is not None and delay_us is not None:
        raise ArgumentError("delay", options["delay"], "either delay or scheduled_at, not both")
    expires_at = given.get("expires_at")
    policy = changed_policy(policy, given)
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
    check_known(options)
    given = cast("TaskOptions", options)
    _pattern(b"", make_policy(), given)
    return given


def make_orders(
    items: Iterable[Mapping[str, Any] | TaskSpec], policy: Policy, options: TaskOptions
) -> list[NewTask]:
    """The orders for many tasks; each error names the item's index."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise ArgumentError("tasks", items, "an iterable of tags or TaskSpecs")
    check_known(options)
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
