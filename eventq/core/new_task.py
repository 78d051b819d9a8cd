"""Orders for tasks: made of tags, specs or a handler's arguments, with their options.

Nothing here decides; `create` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, ParamSpec, Self, Unpack, cast

from msgspec.structs import replace

from eventq.core.audience import LIMITS
from eventq.core.buckets import all_buckets
from eventq.core.create import NewTask
from eventq.core.link import Link
from eventq.core.options import (
    TaskOptions,
    changed_policy,
    check_known,
    checked,
    make_policy,
    overridden,
)
from eventq.core.reference import ResultOf, check_after, ref_of
from eventq.core.task import DEFAULT_LANE, PLAIN_ROUTE, Route
from eventq.core.unique import value_of
from eventq.core.validation import check_tags, check_unique
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS, Bucket, Policy
from eventq.errors import ArgumentError

P = ParamSpec("P")

# That of a queue without options of its own.
PLAIN_POLICY = make_policy()

# What a created event takes beside its tags at the most, and what a key or a unique value adds.
BODY_BYTES = 300
KEYED_BYTES = 1_100
# Each task that it comes after, and its place in a flow.
LINKED_BYTES = 40
# What a bucket's limit and value, or a share, add.
BUCKET_BYTES = 700

# Orders by the identity of the options that they were made of, with these.
Patterns = dict[int, tuple[TaskOptions, NewTask]]

# Of most tasks.
NOTHING_GIVEN: Mapping[str, ResultOf] = MappingProxyType({})


class TaskSpec:
    """One task for `Queue.new_many` with options of its own: tags, and what `Queue.new` takes."""

    __slots__ = ("given", "options", "tags", "tags_json", "unique")

    def __init__(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> None:
        check_known(options)
        self.tags = tags
        self.options = options
        self.tags_json: bytes | None = None
        self.unique: str | None = None
        self.given: Mapping[str, ResultOf] = NOTHING_GIVEN

    @classmethod
    def encoded(
        cls,
        tags_json: bytes,
        options: TaskOptions,
        unique: str | None = None,
        given: Mapping[str, ResultOf] = NOTHING_GIVEN,
    ) -> Self:
        """One whose tags and options have been checked, with its unique value if it has one.

        ``given`` are arguments that are results of other tasks.
        """
        spec = cls.__new__(cls)
        spec.tags, spec.tags_json, spec.options = None, tags_json, options
        spec.unique, spec.given = unique, given
        return spec


class MakesSpecs(Generic[P]):
    """What makes specs of arguments: a handler."""

    spec: Callable[P, TaskSpec]
    """The task that calls it with these arguments."""


def order_for(
    what: Any,  # noqa: ANN401
    args: tuple[Any, ...],
    options: dict[str, Any],
    by: Policy,
    *,
    flow: object = None,
    patterns: Patterns | None = None,
) -> NewTask:
    """The order for one task of what `Queue.new` takes; ``by`` is the queue's policy.

    That is tags and options, a TaskSpec alone, or a handler and its arguments. It may refer to
    others of the same ``flow``, whose ``patterns`` save the work for equal options.
    """
    if isinstance(what, MakesSpecs):
        return order_of(what.spec(*args, **options), by, flow, patterns)
    for value in args:
        raise ArgumentError("arguments", value, "nothing behind the tags but options by name")
    if isinstance(what, TaskSpec):
        for name, value in options.items():
            raise ArgumentError(name, value, "nothing beside a TaskSpec, which has its own options")
        return order_of(what, by, flow)
    # By name, too: many write it like that at first.
    what = options.pop("tags", None) if what is None else what
    return make_order(what, by, cast("TaskOptions", options), flow)


def make_order(tags: object, policy: Policy, options: TaskOptions, flow: object = None) -> NewTask:
    """The order for one task; ``policy`` is the queue's, which the options may override."""
    order = _pattern(check_tags(tags), policy, options)
    return _linked(_identified(order, options), options, flow=flow) if options else order


def order_of(
    spec: TaskSpec, policy: Policy, flow: object = None, patterns: Patterns | None = None
) -> NewTask:
    """The order for one task by its spec."""
    known = None if patterns is None else patterns.get(id(spec.options))
    # The options are kept beside it, so that no others can have their id.
    pattern = _pattern(b"", policy, spec.options) if known is None else known[1]
    if patterns is not None and known is None:
        patterns[id(spec.options)] = spec.options, pattern
    order = replace(pattern, tags_json=_tags_of(spec))
    order = _identified(order, spec.options, spec.unique)
    return _linked(order, spec.options, spec.given, flow=flow)


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
    buckets = all_buckets(given.get("limits"), given.get("exclusive"))
    route = make_route(given.get("name"), given.get("lane"), buckets)
    order = NewTask(tags_json, policy, priority, key, scheduled_at, delay_us, expires_at, route)
    twin, share = given.get("on_duplicate"), given.get("share")
    secret = given.get("secret") or ()
    if twin is None and share is None and not secret:
        return order
    return replace(order, on_duplicate=twin or "return", share=share, secret=secret)


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


def _linked(
    order: NewTask,
    options: TaskOptions,
    given: Mapping[str, ResultOf] = NOTHING_GIVEN,
    *,
    flow: object = None,
) -> NewTask:
    """The order with what it comes after, if it does."""
    after, if_failed = options.get("after"), options.get("if_failed", "cancel")
    if not after and not given:
        if if_failed != "cancel":
            raise ArgumentError("if_failed", if_failed, "tasks beside it that come before: `after`")
        return order
    link = Link(
        tuple(ref_of(each, flow) for each in check_after(after or ())),
        if_failed,
        tuple((name, ref_of(each.of, flow)) for name, each in given.items()),
    )
    return replace(order, link=link)


def make_route(name: str | None, lane: str | None, buckets: tuple[Bucket, ...] = ()) -> Route:
    """Which nodes may run a task of this name, lane and buckets, all checked."""
    lane = None if lane == DEFAULT_LANE else lane
    if buckets:
        return Route(name, lane, (LIMITS,), buckets)
    return PLAIN_ROUTE if name is None and lane is None else Route(name, lane)


def check_options(options: Mapping[str, Any]) -> TaskOptions:
    """The options, if all are options of `new` and right. Raises ArgumentError."""
    check_known(options)
    given = cast("TaskOptions", options)
    _pattern(b"", PLAIN_POLICY, given)
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
                if options:
                    order = _linked(_identified(order, options), options)
                orders.append(order)
                continue
            tags_json = _tags_of(item)
            # As a rule many in a row have the very same options: one handler's.
            if item.options is not last[0]:
                merged = overridden(options, item.options)
                last = item.options, merged, _pattern(b"", policy, merged)
            order = replace(last[2], tags_json=tags_json)
            if last[1] or item.given:
                order = _identified(order, last[1], item.unique)
                order = _linked(order, last[1], item.given)
            orders.append(order)
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


def secret_bytes(names: tuple[str, ...]) -> int:
    """What the names of secret tags take at the most, as JSON."""
    return sum(len(name) + 3 for name in names)


def event_count(order: NewTask) -> int:
    """How many events the order takes at the most: what holds its value may have to expire."""
    return 1 if order.unique is None else 2


def size_bytes(order: NewTask) -> int:
    """What the order's events take at the most."""
    order_bytes = len(order.tags_json) + BODY_BYTES + len(order.trace or "")
    if order.key is not None:
        order_bytes += KEYED_BYTES
    if order.unique is not None:
        order_bytes += KEYED_BYTES + BODY_BYTES
    if order.link is not None:
        link = order.link
        order_bytes += LINKED_BYTES * (2 + len(link.after) + 2 * len(link.given))
        order_bytes += sum(len(name) for name, _ in link.given)
    if order.secret:
        order_bytes += secret_bytes(order.secret)
    if order.route.buckets or order.share is not None:
        order_bytes += BUCKET_BYTES * (len(order.route.buckets) + 1)
    return order_bytes
