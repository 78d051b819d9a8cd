"""What code says of schedules, as a queue's run plans them; and what is due of those planned.

Nothing here appends: it makes the events that commands of `core.scheduling` are to append.
"""

from __future__ import annotations

from typing import cast

from msgspec import Raw, Struct

from eventq.core.create import NewTask, check_order
from eventq.core.durations import Duration
from eventq.core.new_task import BUCKET_BYTES, TaskSpec, order_of, secret_bytes
from eventq.core.plain import plain
from eventq.core.queue_events import Planned, Ticked
from eventq.core.schedules import Schedule
from eventq.core.scheduling import Tick
from eventq.core.timing import ALL_DUES, IN_TIME_US, MOST_DUES, DueRules, Overlap, Timing
from eventq.core.validation import check_count, check_duration
from eventq.core.values import Call, Policy
from eventq.errors import ArgumentError
from eventq.schedules.rules import COUNTED, dues_until, rule_of

# What a schedule's tasks cannot have: each due makes a new one, when it has come.
NOT_OF_SCHEDULES = ("key", "scheduled_at", "expires_at", "on_duplicate", "after")
NONE_EXPECTED = "none, since each due makes a task of its own"
# What a tick and its task take beside tags and buckets, at the most.
TICK_BYTES = 1_500
CATCH_UPS = {"none": 0, "last": 1, "all": ALL_DUES}
OVERLAPS = ("skip", "allow", "cancel")


class CodedSchedule(Struct, frozen=True):
    """A schedule as code has it."""

    name: str
    timing: Timing
    rules: DueRules
    spec: TaskSpec
    version: int = 0


def check_rules(*, catch_up: object, within: Duration | None, overlap: object) -> DueRules:
    """The rules that a caller means. Raises ArgumentError."""
    word = plain(catch_up)
    if isinstance(word, str) and word in CATCH_UPS:
        count = CATCH_UPS[word]
    elif isinstance(word, int) and not isinstance(word, bool):
        count = check_count(word, "catch_up", least=1, most=MOST_DUES)
    else:
        raise ArgumentError("catch_up", catch_up, "'none', 'last', 'all' or a number of dues")
    kind = plain(overlap)
    if kind not in OVERLAPS:
        raise ArgumentError("overlap", overlap, "'skip', 'allow' or 'cancel'")
    if count > 1 and kind != "allow":
        expected = "overlap='allow' beside a catch_up of more than one due"
        raise ArgumentError("overlap", overlap, expected)
    within_us = check_duration(within, "within", least_us=1)
    return DueRules(count, within_us, cast("Overlap", kind))


def catch_up_words(rules: DueRules) -> str | int:
    """How many dues are caught up, as `check_rules` takes it."""
    words = {count: word for word, count in CATCH_UPS.items()}
    return words.get(rules.catch_up, rules.catch_up)


def check_spec(spec: TaskSpec) -> TaskSpec:
    """What the tasks of a schedule are made of. Raises ArgumentError."""
    for option in NOT_OF_SCHEDULES:
        value = spec.options.get(option)
        if value is not None and value != "return":
            raise ArgumentError(option, value, NONE_EXPECTED)
    for name, value in spec.given.items():
        raise ArgumentError(name, value, "no result: nothing comes after other tasks by a schedule")
    return spec


def plan_of(coded: CodedSchedule, policy: Policy, *, now: int, draw: float) -> Planned:
    """The plan of a schedule that begins now; ``draw`` is a number from 0 up to 1, for its jitter.

    ``policy`` is the queue's. Raises ArgumentError for a task that could never run.
    """
    order = order_of(coded.spec, policy)
    check_order(order, now)
    return Planned(
        coded.name,
        coded.timing,
        call_of(order),
        coded.rules,
        next_at=rule_of(coded.timing, now).after(now),
        shift_us=int(draw * coded.timing.jitter_us),
    )


def call_of(order: NewTask) -> Call:
    """What a schedule keeps of an order."""
    return Call(
        policy=order.policy,
        tags=Raw(order.tags_json),
        priority=order.priority,
        name=order.route.name,
        lane=order.route.lane,
        needs=order.route.needs,
        delay_us=order.delay_us,
        unique=order.unique,
        limits=order.route.buckets,
        share=order.share,
        secret=order.secret,
    )


def tick_bytes(call: Call) -> int:
    """What a tick and its task take at the most."""
    bucket_bytes = BUCKET_BYTES * (len(call.limits) + 1)
    return len(bytes(call.tags)) + TICK_BYTES + bucket_bytes + secret_bytes(call.secret)


def tick_of(known: Schedule, now: int) -> Tick:
    """What is to be said of the dues of a schedule that have come, one of which has.

    The last ones are made, as many as its rules catch up; those before, or too old, are missed.
    Raises ArgumentError where this process does not know its zone.
    """
    planned, first = known.planned, known.next_at
    assert first is not None, "one has come"
    rules, until = planned.rules, now - planned.shift_us
    dues = dues_until(rule_of(planned.timing, first), first, until, most=max(1, rules.catch_up))
    within_us = rules.within_us
    if within_us is None and not rules.catch_up:
        within_us = IN_TIME_US
    kept = [due for due in dues.last if within_us is None or until - due <= within_us]
    bodies = []
    if missed := dues.count - len(kept):
        after = kept[0] if kept else dues.next_at
        # Of so many that were not all counted it is not known how many are left of them.
        missed = COUNTED if dues.count == COUNTED else missed
        bodies.append(Ticked(known.name, first, "missed", after, missed))
    for due, after in zip(kept, [*kept[1:], dues.next_at], strict=False):
        bodies.append(Ticked(known.name, due, "made", after))
    # The next due makes others the last ones.
    ends = [] if not kept or dues.next_at is None else [dues.next_at - 1]
    if kept and within_us is not None:
        ends.append(kept[0] + within_us)
    good_until = min(ends) + planned.shift_us if ends else None
    return Tick(known.name, known.seq, tuple(bodies), good_until)


def paused_ticks(known: Schedule, now: int) -> Ticked | None:
    """What is to be said of dues that have come while a schedule was paused, if any have."""
    first, shift_us = known.next_at, known.planned.shift_us
    if first is None or first + shift_us > now:
        return None
    rule = rule_of(known.planned.timing, first)
    dues = dues_until(rule, first, now - shift_us, most=0)
    return Ticked(known.name, first, "paused", dues.next_at, dues.count)
