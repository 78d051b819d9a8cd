"""The buckets and shares that callers give for tasks, checked.

Nothing here knows what is taken in a bucket; that is in `limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Raw

from eventq.core.limits import EXCLUSIVE
from eventq.core.plain import plain
from eventq.core.tag_texts import fit_text, tag_text
from eventq.core.validation import check_name
from eventq.core.values import Bucket
from eventq.errors import ArgumentError

# More for one task would be a slip; each costs a look at every lease.
MOST_BUCKETS = 16
FIT = "printable text of at most 255 bytes"

LimitsOption = Iterable[str | tuple[str, str]] | Mapping[str, str]


def check_limits(limits: object) -> tuple[Bucket, ...]:
    """The buckets of a task's limits: names, pairs of a name and a value, or a mapping of these."""
    pairs: Iterable[Any]
    if isinstance(limits, Mapping):
        pairs = limits.items()
    elif isinstance(limits, (str, bytes)) or not isinstance(limits, Iterable):
        raise ArgumentError("limits", limits, "a list of limits, or a mapping of them to values")
    else:
        pairs = limits
    return _ordered("limits", limits, [_bucket(each) for each in pairs])


def check_exclusive(values: object) -> tuple[Bucket, ...]:
    """The buckets that one task holds at a time, by their values."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ArgumentError("exclusive", values, "a list of values")
    buckets = [Bucket(EXCLUSIVE, check_bucket_value(value, "exclusive")) for value in values]
    return _ordered("exclusive", values, buckets)


def check_share(share: object) -> str:
    """The share that a task belongs to."""
    return check_bucket_value(share, "share")


def check_bucket_value(value: object, argument: str) -> str:
    """The value of a bucket, or the name of a share: short, printable text."""
    found = plain(value)
    text = fit_text(found) if isinstance(found, str) else None
    if text is None:
        raise ArgumentError(argument, value, FIT)
    return text


def valued(bucket: Bucket, tags_json: bytes | Raw, per_of: Callable[[str], str | None]) -> Bucket:
    """The bucket with the value that these tags have for it, where it is counted by a tag."""
    per = per_of(bucket.limit) if bucket.value is None else None
    return bucket if per is None else Bucket(bucket.limit, tag_text(tags_json, per))


def all_buckets(*given: tuple[Bucket, ...] | None) -> tuple[Bucket, ...]:
    """All of these in the order that tasks have them in, so that equal sets are equal."""
    buckets = {bucket for each in given if each for bucket in each}
    return tuple(sorted(buckets, key=lambda bucket: (bucket.limit, bucket.value or "")))


def _bucket(given: object) -> Bucket:
    if isinstance(given, (tuple, list)):
        if len(given) != 2:  # noqa: PLR2004 - a pair
            raise ArgumentError("limits", given, "a pair of a limit and a value")
        name, value = given
        if value is not None:
            value = check_bucket_value(value, "limits")
    else:
        name, value = given, None
    name = check_name(name, "limits")
    if name == EXCLUSIVE and value is None:
        raise ArgumentError("limits", name, "a value beside it, as in `exclusive`")
    return Bucket(str(name), value)


def _ordered(argument: str, given: object, buckets: list[Bucket]) -> tuple[Bucket, ...]:
    if len(buckets) > MOST_BUCKETS:
        raise ArgumentError(argument, given, f"at most {MOST_BUCKETS}")
    if len(set(buckets)) != len(buckets):
        raise ArgumentError(argument, given, "each of them once")
    return all_buckets(tuple(buckets))
