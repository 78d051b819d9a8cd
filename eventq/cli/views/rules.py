"""Limits, pauses and schedules as people see them."""

from __future__ import annotations

from eventq.cli.output import Listing
from eventq.cli.text import short, time_text, visible
from eventq.core.queue_events import Limited
from eventq.replay.rule_words import bound_words, scope_words
from eventq.replay.rules_now import BucketState
from eventq.schedules.managing import ScheduleState

HOLDERS_CHARACTERS = 40


def next_text(state: ScheduleState) -> str:
    """When a schedule comes next."""
    if state.paused:
        return "paused"
    return "-" if state.next_at is None else time_text(state.next_at)


def last_text(state: ScheduleState) -> str:
    """The last due of a schedule, and what became of it."""
    if state.last_due is None:
        return "-"
    return f"{time_text(state.last_due)} {state.last_outcome}"


def _bounds(bucket: BucketState) -> str:
    if not bucket.is_defined:
        return "not defined"
    said = Limited(limit=bucket.limit, running=bucket.bound, rate=bucket.rate, per_us=bucket.per_us)
    return bound_words(said)


def _free_at(bucket: BucketState) -> str:
    return "-" if bucket.free_at is None else time_text(bucket.free_at)


BUCKETS = Listing(
    ("LIMIT", "limit"),
    ("VALUE", lambda bucket: "-" if bucket.value is None else visible(bucket.value)),
    ("BOUND", _bounds),
    ("RUNNING", "running"),
    ("USED", "used"),
    ("WAITING", "waiting"),
    ("FREE AT", _free_at),
    ("HELD BY", lambda bucket: short(" ".join(bucket.holders), HOLDERS_CHARACTERS) or "-"),
    elastic=7,
)
PAUSES = Listing(
    ("PAUSED", lambda pause: visible(scope_words(pause.scope))),
    ("SINCE", lambda pause: time_text(pause.since)),
    ("UNTIL", lambda pause: "-" if pause.until is None else time_text(pause.until)),
    ("WAITING", "waiting"),
    ("BY", lambda pause: "-" if pause.by is None else visible(pause.by)),
    ("REASON", lambda pause: visible(pause.reason) or "-"),
    elastic=5,
)
SCHEDULES = Listing(
    ("NAME", "schedule"),
    ("NEXT", next_text),
    ("LAST", last_text),
    ("COMES", "spec"),
    elastic=3,
)
# Ready tasks that something keeps back, by that.
HELD = Listing(("BY", lambda pair: visible(pair[0])), ("TASKS", lambda pair: pair[1]))
