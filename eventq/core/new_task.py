"""The options of tasks: checked, merged with the queue's, and made into orders for deciding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

import msgspec
from msgspec import UNSET, UnsetType

from eventq.core.create import NewTask
from eventq.core.durations import Duration
from eventq.core.events import COMMIT_BYTES, COMMIT_EVENTS, NO_JITTER, Policy
from eventq.core.policy import Backoff
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


def check_policy(
    *,
    max_age: Duration | None,
    max_retries: int | None,
    backoff: Backoff | Duration,
    deadline: Duration | None,
) -> Policy:
    """The policy of a queue's or a task's options."""
    return check_backoff(backoff).policy(
        max_retries=None
        if max_retries is None
        else check_count(max_retries, "max_retries", least=0),
        max_age_us=check_duration(max_age, "max_age", least_us=1),
        deadline_us=check_duration(deadline, "deadline", least_us=1),
    )


def make_order(tags: object, policy: Policy, options: TaskOptions) -> NewTask:
    """The order for one task; ``policy`` is the queue's, which the options may override."""
    scheduled_at = check_instant(options.get("scheduled_at"), "scheduled_at")
    delay_us = check_duration(options.get("delay"), "delay")
    if scheduled_at is not None and delay_us is not None:
        raise ArgumentError("delay", options.get("delay"), "either delay or scheduled_at, not both")
    expires_at = check_instant(options.get("expires_at"), "expires_at")
    if changes := policy_changes(options):
        policy = msgspec.structs.replace(policy, **changes)
    if expires_at is not None and policy.max_age_us is not None:
        if options.get("max_age", UNSET) is not UNSET:
            raise ArgumentError(
                "expires_at", options.get("expires_at"), "either expires_at or max_age, not both"
            )
        policy = msgspec.structs.replace(policy, max_age_us=None)
    return NewTask(
        tags_json=check_tags(tags),
        policy=policy,
        priority=check_priority(options.get("priority", 0)),
        key=check_key(options.get("key")),
        scheduled_at=scheduled_at,
        delay_us=delay_us,
        expires_at=expires_at,
    )


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
                orders.append(_like(pattern, check_tags(item)))
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
        if name not in TaskOptions.__annotations__:
            raise ArgumentError(name, value, "an option of `new`")


def _like(pattern: NewTask, tags_json: bytes) -> NewTask:
    """The pattern with other tags; made by position, since batches are a hot path."""
    return NewTask(
        tags_json,
        pattern.policy,
        pattern.priority,
        None,
        pattern.scheduled_at,
        pattern.delay_us,
        pattern.expires_at,
    )


def policy_changes(options: TaskOptions) -> dict[str, Any]:
    """What options change about a policy, checked, by its fields."""
    changes: dict[str, Any] = {}
    if (backoff := options.get("backoff", UNSET)) is not UNSET:
        checked = check_backoff(backoff)
        changes |= {
            "backoff": checked.kind,
            "backoff_us": checked.base_us,
            "backoff_cap_us": checked.cap_us,
            "jitter": checked.jitter or NO_JITTER,
        }
    if (retries := options.get("max_retries", UNSET)) is not UNSET:
        changes["max_retries"] = (
            None if retries is None else check_count(retries, "max_retries", least=0)
        )
    if (age := options.get("max_age", UNSET)) is not UNSET:
        changes["max_age_us"] = check_duration(age, "max_age", least_us=1)
    if (deadline := options.get("deadline", UNSET)) is not UNSET:
        changes["deadline_us"] = check_duration(deadline, "deadline", least_us=1)
    return changes
