"""The options of tasks: which there are, checked, merged with a handler's and the queue's.

Nothing here makes an order of them; `new_task` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypedDict, Unpack, cast

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from eventq.core.buckets import LimitsOption, check_exclusive, check_limits, check_share
from eventq.core.durations import Duration
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.reference import After, check_after
from eventq.core.unique import OnDuplicate
from eventq.core.validation import (
    check_backoff,
    check_count,
    check_duration,
    check_if_failed,
    check_instant,
    check_key,
    check_name,
    check_on_duplicate,
    check_priority,
    check_secret,
    check_unique,
)
from eventq.core.values import NO_JITTER, IfFailed, Policy
from eventq.errors import ArgumentError


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
    after: After
    if_failed: IfFailed
    limits: LimitsOption | None
    exclusive: Iterable[str] | None
    share: str | None
    secret: Iterable[str] | None


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
    "after": (),
    "if_failed": "cancel",
    "limits": None,
    "exclusive": None,
    "share": None,
    "secret": None,
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
    "after": check_after,
    "if_failed": check_if_failed,
    "limits": check_limits,
    "exclusive": check_exclusive,
    "share": check_share,
    "secret": check_secret,
}


def make_policy(**options: Unpack[TaskOptions]) -> Policy:
    """The policy of a queue's own options."""
    return changed_policy(Backoff.linear(DEFAULT_BACKOFF).policy(), checked(options))


def overridden(options: TaskOptions, by: TaskOptions) -> TaskOptions:
    """The options with others over them; of two that exclude each other, the other one goes."""
    kept = dict(options)
    for one, another in EXCLUDING:
        if one in by:
            kept.pop(another, None)
        if another in by:
            kept.pop(one, None)
    return cast("TaskOptions", {**kept, **by})


def checked(options: TaskOptions) -> dict[str, Any]:
    """The options that are given, in eventq's own form."""
    check_known(options)
    return {
        name: _CHECKS[name](value)
        for name, value in options.items()
        if value is not _DEFAULTS[name]  # type: ignore[literal-required]
    }


def check_known(options: Mapping[str, object]) -> None:
    """Raises ArgumentError for what is no option."""
    for name, value in options.items():
        if name not in _DEFAULTS:
            raise ArgumentError(name, value, "an option of `new`")


def policy_changes(options: TaskOptions) -> dict[str, Any]:
    """What options change about a policy, checked, by its fields."""
    return _changes(checked(options))


def changed_policy(policy: Policy, given: Mapping[str, Any]) -> Policy:
    """The policy with what is given, as `checked` returns it, instead of its own."""
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
