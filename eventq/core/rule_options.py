"""What callers say of limits, turns and pauses, checked, as the bodies of their events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from eventq.core.buckets import check_bucket_value
from eventq.core.durations import Duration, parse_duration
from eventq.core.limits import EXCLUSIVE
from eventq.core.plain import plain, sorted_json
from eventq.core.queue_events import Limited, Shared
from eventq.core.turns import MOST_WEIGHT
from eventq.core.validation import (
    check_count,
    check_instant,
    check_json,
    check_name,
    check_pattern,
    check_tag_name,
)
from eventq.core.values import TAGS_BYTES, Scope
from eventq.errors import ArgumentError


class ScopeOptions(TypedDict, total=False):
    """What a pause is about; see `Queue.pause`."""

    lane: str | None
    name: str | None
    limit: str | None
    value: str | None
    tags: Mapping[str, Any] | None


RATE = "a number of leases and a duration, like '100/1m'"
MOST_RATE = 1_000_000
MOST_WEIGHTS = 10_000

_RATE = re.compile(r"(\d{1,7})/(\S+)", re.ASCII)


def make_limited(
    name: object, *, running: object = None, rate: object = None, per: object = None
) -> Limited:
    """What a limit bears: ``running`` leases at a time, ``rate`` ("100/1m") in any window."""
    limit = check_name(name, "limit")
    if limit == EXCLUSIVE:
        raise ArgumentError("limit", name, f"another name: {EXCLUSIVE!r} is always there")
    _check_per(per)
    most = None if running is None else check_count(running, "running", least=1)
    count, window_us = (None, None) if rate is None else parse_rate(rate)
    return Limited(
        limit=limit,
        running=most,
        rate=count,
        per_us=window_us,
        per=None if per is None else str(per),
    )


def parse_rate(rate: object) -> tuple[int, int]:
    """How many leases, in how many microseconds.

    >>> parse_rate("100/1m")
    (100, 60000000)
    """
    text = plain(rate)
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 1 <= int(found[1]) <= MOST_RATE:
        raise ArgumentError("rate", rate, RATE)
    try:
        window_us = parse_duration(found[2], "rate")
    except ArgumentError as error:
        raise ArgumentError("rate", rate, RATE) from error
    if window_us < 1:
        raise ArgumentError("rate", rate, RATE)
    return int(found[1]), window_us


def make_shared(*, per: object = None, weights: Mapping[str, int] | None = None) -> Shared:
    """Turns that shares take: by the values of the tag ``per``, with these weights (else 1)."""
    _check_per(per)
    given: object = weights
    if given is not None and not isinstance(given, Mapping):
        raise ArgumentError("weights", given, "a mapping of shares to numbers")
    found = {
        check_bucket_value(share, "weights"): check_count(
            weight, "weights", least=1, most=MOST_WEIGHT
        )
        for share, weight in ({} if weights is None else weights).items()
    }
    if len(found) > MOST_WEIGHTS:
        raise ArgumentError("weights", len(found), f"at most {MOST_WEIGHTS} shares")
    return Shared(per=None if per is None else str(per), weights=dict(sorted(found.items())))


def make_scope(
    *,
    lane: object = None,
    name: object = None,
    limit: object = None,
    value: object = None,
    tags: Mapping[str, object] | None = None,
) -> Scope:
    """What a pause is about; with nothing given, everything."""
    if value is not None and limit is None:
        raise ArgumentError("value", value, "a `limit` beside it")
    given: object = tags
    if given is not None and not (isinstance(given, Mapping) and given):
        raise ArgumentError("tags", given, "a mapping of names to values")
    found = []
    for tag, wanted in ({} if tags is None else tags).items():
        check_tag_name(tag)
        check_json(wanted, "tags", TAGS_BYTES)
        found.append((tag, sorted_json(wanted).decode()))
    return Scope(
        lane=None if lane is None else check_name(lane, "lane"),
        name=None if name is None else check_pattern(name, "name"),
        limit=None if limit is None else check_name(limit, "limit"),
        value=None if value is None else check_bucket_value(value, "value"),
        tags=tuple(sorted(found)),
    )


def _check_per(per: object) -> None:
    if per is not None:
        try:
            check_tag_name(per)
        except ArgumentError as error:
            raise ArgumentError("per", per, f"a tag: {error.expected}") from None


def check_until(until: datetime | Duration | None, now: int) -> int | None:
    """When a pause ends: an instant, or a duration from now."""
    if until is None:
        return None
    if isinstance(until, datetime):
        return check_instant(until, "until")
    return now + parse_duration(until, "until")
