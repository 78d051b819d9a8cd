"""Which due comes next, found by looking at one minute after the other; slow, and plain."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

SECOND_US = 1_000_000
MINUTE = timedelta(minutes=1)
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# What is looked for so long in vain does not come; the log may hold a later one.
YEARS = 9


def next_due(timing: dict[str, Any], due: int) -> int | None:
    """The due behind another one, in microseconds since 1970."""
    if "every_us" in timing:
        return due + int(timing["every_us"])
    return _next_of_cron(timing["cron"], timing.get("zone", "UTC"), due)


@lru_cache(maxsize=100_000)
def _next_of_cron(spec: str, zone_name: str, due: int) -> int | None:
    """The first due of the expression behind an instant.

    An expression whose minute or hour begins with ``*`` is due whenever the clock shows what it
    says. Any other comes once a day for each of its times: when the clock shows it first, or right
    behind the gap that has skipped it.
    """
    minute, hour = spec.split()[:2]
    is_elapsed = minute.startswith("*") or hour.startswith("*")
    zone: tzinfo = UTC if zone_name == "UTC" else ZoneInfo(zone_name)
    instant = datetime.fromtimestamp(due // SECOND_US, UTC)
    until = instant + timedelta(days=366 * YEARS)
    before = instant.astimezone(zone)
    instant = instant.replace(second=0) + MINUTE
    while instant < until:
        wall = instant.astimezone(zone)
        is_fitting = fits(spec, wall)
        if is_elapsed and is_fitting:
            return _us(instant)
        if not is_elapsed and ((is_fitting and not wall.fold) or _is_skipped(spec, before, wall)):
            return _us(instant)
        if not _fits_day(spec, wall) and wall.hour < 20 and wall.hour > 3:
            # Nothing comes until the evening, and no clock is changed by day.
            instant += timedelta(hours=19 - wall.hour, minutes=60 - wall.minute)
            before = (instant - MINUTE).astimezone(zone)
            continue
        before = wall
        instant += MINUTE
    return None


def fits(spec: str, wall: datetime) -> bool:
    """Whether a wall clock shows what an expression says."""
    minute, hour = spec.upper().split()[:2]
    return (
        _fits_field(minute, wall.minute, 0, 59)
        and _fits_field(hour, wall.hour, 0, 23)
        and _fits_day(spec, wall)
    )


@lru_cache(maxsize=10_000)
def _fits_day_of(spec: str, year: int, month: int, day: int) -> bool:
    _, _, days, months, weekdays = spec.upper().split()
    if not _fits_field(months, month, 1, 12, MONTHS):
        return False
    date = datetime(year, month, day, tzinfo=UTC)
    is_day = any(_fits_date(each, date) for each in days.split(","))
    is_weekday = any(_fits_weekday(each, date) for each in weekdays.split(","))
    # Either, where both are restricted; so has cron always had it.
    if days.startswith("*") or weekdays.startswith("*"):
        return is_day and is_weekday
    return is_day or is_weekday


def _fits_day(spec: str, wall: datetime) -> bool:
    return _fits_day_of(spec, wall.year, wall.month, wall.day)


def _fits_date(part: str, date: datetime) -> bool:
    last = monthrange(date.year, date.month)[1]
    if part == "L":
        return date.day == last
    if part == "LW":
        end = date.replace(day=last)
        return date.day == last - max(0, end.isoweekday() - 5)
    return _fits_field(part, date.day, 1, 31)


def _fits_weekday(part: str, date: datetime) -> bool:
    weekday = date.isoweekday() % 7
    if "#" in part:
        day, nth = part.split("#")
        return _number(day, DAYS, 0) % 7 == weekday and (date.day - 1) // 7 + 1 == int(nth)
    if part.endswith("L"):
        last = monthrange(date.year, date.month)[1]
        return _number(part[:-1], DAYS, 0) % 7 == weekday and date.day > last - 7
    return _fits_field(part, weekday, 0, 7, DAYS) or (
        weekday == 0 and _fits_field(part, 7, 0, 7, DAYS)
    )


def _fits_field(field: str, value: int, low: int, high: int, names: tuple[str, ...] = ()) -> bool:
    """Whether a value is among those of a field: lists of values, of ranges, and of steps."""
    base = 1 if low else 0
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin = low if first == "*" else _number(first, names, base)
        if first == "*" or (step and not last):
            end = high
        else:
            end = _number(last, names, base) if last else begin
        if begin <= value <= end and (value - begin) % int(step or 1) == 0:
            return True
    return False


def _number(text: str, names: tuple[str, ...], base: int) -> int:
    return names.index(text) + base if text in names else int(text)


def _is_skipped(spec: str, before: datetime, wall: datetime) -> bool:
    """Whether the clock has skipped a time that the expression names, in the last minute."""
    shown = before.replace(tzinfo=None) + MINUTE
    gap_end = wall.replace(tzinfo=None)
    while shown < gap_end:
        if fits(spec, shown):
            return True
        shown += MINUTE
    return False


def _us(instant: datetime) -> int:
    return int(instant.timestamp()) * SECOND_US
