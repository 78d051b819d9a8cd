"""Limits, pauses, turns and buckets in words, for people."""

from __future__ import annotations

from eventq.core.durations import show_duration
from eventq.core.queue_events import Limited, Shared
from eventq.core.values import Bucket, Scope


def scope_words(scope: Scope) -> str:
    """What a pause is about.

    >>> scope_words(Scope(lane="mail")), scope_words(Scope())
    ('lane mail', 'everything')
    """
    parts = []
    if scope.lane is not None:
        parts.append(f"lane {scope.lane}")
    if scope.name is not None:
        parts.append(f"name {scope.name}")
    if scope.limit is not None:
        parts.append(f"limit {scope.limit}" + (f" of {scope.value}" if scope.value else ""))
    parts += [f"tag {name}={text}" for name, text in scope.tags]
    return ", ".join(parts) or "everything"


def bucket_words(bucket: Bucket) -> str:
    """A bucket: its limit, and its value if it has one."""
    return bucket.limit if bucket.value is None else f"{bucket.limit} of {bucket.value}"


def bound_words(said: Limited) -> str:
    """What each bucket of a limit bears.

    >>> bound_words(Limited(limit="smtp", running=3, rate=100, per_us=60_000_000))
    '3 at a time, 100 in 1m'
    """
    parts = [] if said.running is None else [f"{said.running} at a time"]
    if said.rate is not None and said.per_us is not None:
        parts.append(f"{said.rate} in {show_duration(said.per_us)}")
    return ", ".join(parts) or "no bound"


def limit_words(said: Limited) -> str:
    """A limit: its bounds, and by what tag it is counted."""
    per = "" if said.per is None else f" for each {said.per}"
    return f"limit {said.limit}: {bound_words(said)}{per}"


def turn_words(said: Shared) -> str:
    """Whose turn it is, as it was said."""
    if said.lifted:
        return "no turns are taken"
    per = "shares" if said.per is None else f"each {said.per}"
    weights = ", ".join(f"{share} {weight}" for share, weight in sorted(said.weights.items()))
    return f"{per} takes turns" + (f", by weight: {weights}" if weights else "")
