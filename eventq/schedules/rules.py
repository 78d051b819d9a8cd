"""The rule of a timing: which due comes next, and which have come; checks of what callers write.

Rules are pure but for the table of time zones, which is why their findings are stored in events.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from eventq.core.durations import SECOND_US, Duration
from eventq.core.plain import plain, storable
from eventq.core.timing import Timing
from eventq.core.validation import check_duration
from eventq.errors import ArgumentError

if TYPE_CHECKING:
    from eventq.schedules.cron import CronRule

# Rules kept: there is one for each expression and zone, and a queue has few.
RULES_KEPT = 4_096
FIELDS = 5
SPEC_CHARACTERS = 1_000
# How far back it is looked for the last dues at first; twice as far each time there are too few.
LOOK_BACK_US = 3_600 * SECOND_US
# Dues that are counted one by one; of more it is only said that there are so many.
COUNTED = 10_000
CRON_EXPECTED = "a cron expression of five fields, such as '*/10 * * * *', that comes some day"
ZONE_EXPECTED = "a time zone by its IANA name, such as 'Europe/Berlin'"


class DueRule(Protocol):
    """Says when dues come. Instants are microseconds since 1970 (UTC)."""

    def after(self, at: int, /) -> int | None:
        """The first due behind an instant, which lies on or behind one; None: no more come."""


class EveryRule(Struct, frozen=True):
    """Dues so far apart in elapsed time, one of which is known."""

    every_us: int
    known: int

    def after(self, at: int, /) -> int:
        """See DueRule.after."""
        return self.known + ((at - self.known) // self.every_us + 1) * self.every_us


class Dues(Struct, frozen=True):
    """The dues that have come by an instant, from the first that has not been ticked."""

    first: int
    count: int
    """How many there are; at most 10,000 are counted."""
    last: tuple[int, ...]
    """The last ones, in order: as many as were asked for, if there are."""
    next_at: int | None
    """The first that is to come."""


def check_timing(
    *, cron: object = None, zone: object = None, every: Duration | None = None, jitter: object
) -> Timing:
    """The timing that a caller means: by a cron expression, or by an interval.

    Raises ArgumentError.
    """
    jitter_us = check_duration(jitter, "jitter") or 0  # type: ignore[arg-type]  # it is checked
    if every is not None:
        every_us = check_duration(every, "every", least_us=1_000)
        return Timing(every_us=every_us, jitter_us=jitter_us)
    timing = Timing(cron=_check_spec(cron), zone=_check_zone(zone), jitter_us=jitter_us)
    rule_of(timing)
    return timing


def rule_of(timing: Timing, known: int = 0) -> DueRule:
    """The rule of a timing; that of an interval goes on from a due that is ``known``.

    Raises ArgumentError for an expression or a zone that this process does not know.
    """
    if timing.every_us is not None:
        return EveryRule(timing.every_us, known)
    assert timing.cron is not None, "a timing has one of the two"
    return cron_rule(timing.cron, timing.zone)


@lru_cache(maxsize=RULES_KEPT)
def cron_rule(spec: str, zone: str) -> CronRule:
    """The rule of an expression in a zone. Raises as `rule_of`."""
    # Only where one is used: eventq is to load fast.
    from cronsim import CronSimError  # noqa: PLC0415

    from eventq.schedules.cron import CronRule  # noqa: PLC0415

    place = _zone(zone)
    try:
        rule = CronRule(spec, place)
    except (CronSimError, ValueError) as error:
        raise ArgumentError("spec", spec, CRON_EXPECTED) from error
    if rule.after(0) is None:
        raise ArgumentError("spec", spec, CRON_EXPECTED)
    return rule


def next_dues(rule: DueRule, at: int) -> Iterator[int]:
    """The dues behind an instant, in order."""
    due = rule.after(at)
    while due is not None:
        yield due
        due = rule.after(due)


def dues_until(rule: DueRule, first: int, until: int, *, most: int) -> Dues:
    """What has come from ``first`` on, a due, up to an instant, with the last ``most`` of them."""
    assert first <= until, "it has come"
    dues, next_at = [first], None
    for due in next_dues(rule, first):
        if due > until:
            next_at = due
            break
        if len(dues) == COUNTED:
            return Dues(first, COUNTED, _last(rule, until, most), rule.after(until))
        dues.append(due)
    return Dues(first, len(dues), tuple(dues[len(dues) - min(most, len(dues)) :]), next_at)


def _last(rule: DueRule, until: int, most: int) -> tuple[int, ...]:
    """The last dues up to an instant, of a rule that has had more of them."""
    back_us, found = LOOK_BACK_US, list[int]()
    while len(found) < most:
        back_us *= 2
        found = list(dues_between(rule, until - back_us, until))
    return tuple(found[len(found) - most :])


def dues_between(rule: DueRule, at: int, until: int) -> Iterator[int]:
    """The dues behind an instant up to another, in order."""
    for due in next_dues(rule, at):
        if due > until:
            return
        yield due


def _check_spec(spec: object) -> str:
    text = plain(spec)
    if not isinstance(text, str) or len(text) > SPEC_CHARACTERS or storable(text) != text:
        raise ArgumentError("spec", spec, CRON_EXPECTED)
    fields = text.upper().split()
    if len(fields) != FIELDS:
        raise ArgumentError("spec", spec, CRON_EXPECTED)
    return " ".join(fields)


def _check_zone(zone: object) -> str:
    name = plain(zone)
    # Of a ZoneInfo, its name.
    name = getattr(name, "key", name)
    if not isinstance(name, str):
        raise ArgumentError("tz", zone, ZONE_EXPECTED)
    _zone(name)
    return name


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - as cronsim

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ArgumentError("tz", name, ZONE_EXPECTED) from error
