"""The options of tasks: checked, merged with the queue's, and made into orders for deciding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from operator import is_not
from typing import Any, TypedDict, Unpack

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.durations import Duration
from eventq.core.events import COMMIT_BYTES, COMMIT_EVENTS, NO_JITTER, Policy
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.validation import (
    check_backoff,
    check_count,
    check_duration,
    check_instant,
    check_key,
    check_priority,
    check_tags,
)
from eventq.errors import ArgumentError

# What a created event takes beside its tags at the most: without a key, and with one.
BODY_BYTES = 300
KEYED_BODY_BYTES = 1_400


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


class TaskSpec:
    """One task for `Queue.new_many` with options of its own: tags, and what `Queue.new` takes."""

    __slots__ = ("options", "tags")

    def __init__(
        self, tags: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]
    ) -> None:
        _check_names(options)
        self.tags = tags
        self.options = options


def make_policy(**options: Unpack[TaskOptions]) -> Policy:
    """The policy of a queue's own options."""
    return _overridden(Backoff.linear(DEFAULT_BACKOFF).policy(), _checked(options))


def make_order(tags: object, policy: Policy, options: TaskOptions) -> NewTask:
    """The order for one task; ``policy`` is the queue's, which the options may override."""
    given = _checked(options)
    tags_json = check_tags(tags)
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
    return NewTask(tags_json, policy, priority, key, scheduled_at, delay_us, expires_at)


def make_orders(
    items: Iterable[Mapping[str, Any] | TaskSpec], policy: Policy, options: TaskOptions
) -> list[NewTask]:
    """The orders for many tasks; each error names the item's index."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise ArgumentError("tasks", items, "an iterable of tags or TaskSpecs")
    _check_names(options)
    if options.get("key") is not None:
        raise ArgumentError("key", options["key"], "a key in each TaskSpec, not one for all")
    pattern = make_order(None, policy, options)
    orders = []
    for index, item in enumerate(items):
        try:
            if isinstance(item, TaskSpec):
                merged: TaskOptions = {**options, **item.options}
                orders.append(make_order(item.tags, policy, merged))
            else:
                orders.append(replace(pattern, tags_json=check_tags(item)))
        except ArgumentError as error:
            raise ArgumentError(
                f"tasks[{index}]: {error.argument}", error.value, error.expected
            ) from error
    return orders


def batches(orders: list[NewTask]) -> Iterator[list[NewTask]]:
    """The orders in batches that each fit into a commit."""
    batch: list[NewTask] = []
    size_bytes = 0
    for order in orders:
        body_bytes = BODY_BYTES if order.key is None else KEYED_BODY_BYTES
        order_bytes = len(order.tags_json) + body_bytes
        if batch and (len(batch) == COMMIT_EVENTS or size_bytes + order_bytes > COMMIT_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(order)
        size_bytes += order_bytes
    if batch:
        yield batch


def _check_names(options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if name not in _DEFAULTS:
            raise ArgumentError(name, value, "an option of `new`")


def _check_retries(retries: object) -> int | None:
    return None if retries is None else check_count(retries, "max_retries", least=0)


# The options of which a policy has the value as it is checked, and its names for them.
_LENGTHS = {"max_age": "max_age_us", "max_retries": "max_retries", "deadline": "deadline_us"}
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
}
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "priority": check_priority,
    "key": check_key,
    "scheduled_at": partial(check_instant, argument="scheduled_at"),
    "delay": partial(check_duration, argument="delay"),
    "expires_at": partial(check_instant, argument="expires_at"),
    "max_age": partial(check_duration, argument="max_age", least_us=1),
    "max_retries": _check_retries,
    "backoff": check_backoff,
    "deadline": partial(check_duration, argument="deadline", least_us=1),
}


def _checked(options: TaskOptions) -> dict[str, Any]:
    """The options that are given, in eventq's own form."""
    # A lone `new` names all of them and gives none, as a rule: that takes one line of Python.
    if not any(map(is_not, map(options.get, _DEFAULTS), _DEFAULTS.values())):
        return {}
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
