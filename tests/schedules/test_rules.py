"""Rules of schedules: which dues come, on days of 23, 24, 25 and other hours, and in words.

What is expected of a day on which a clock is changed is told by reading the clock each minute.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from eventq.core.timing import Timing
from eventq.errors import ArgumentError
from eventq.schedules import check_timing, dues_until, next_dues, rule_of, timing_words
from eventq.schedules.rules import COUNTED, cron_rule

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca")
MINUTE = 60_000_000
HOUR, DAY = 60 * MINUTE, 1440 * MINUTE


def us(text: str) -> int:
    """Microseconds of an instant in UTC, as text."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def texts(dues: list[int]) -> list[str]:
    """The instants as text, in UTC."""
    return [f"{datetime.fromtimestamp(due / 1e6, UTC):%Y-%m-%d %H:%M:%S}" for due in dues]


def first(spec: str, zone: str, at: str, count: int) -> list[str]:
    """The first dues of an expression behind an instant."""
    return texts(list(islice(next_dues(cron_rule(spec, zone), us(at)), count)))


@lru_cache
def switch_days(zone: str) -> tuple[int, ...]:
    """Noon, in UTC, of the first days of 2027 and 2028 on which the zone's clock is changed."""
    place, found = ZoneInfo(zone), []
    noon = us("2027-01-01 12:00")
    for _ in range(500):
        before, after = (
            datetime.fromtimestamp(at // 1_000_000, place).utcoffset()
            for at in (noon - DAY // 2, noon + DAY // 2)
        )
        if before != after:
            found.append(noon)
        noon += DAY
    return tuple(found[:2])


@lru_cache
def readings(zone: str, noon: int) -> list[tuple[int, datetime]]:
    """What the zone's clock shows at each minute of the days around."""
    place = ZoneInfo(zone)
    return [
        (at, datetime.fromtimestamp(at // 1_000_000, place).replace(tzinfo=None))
        for at in range(noon - 2 * DAY, noon + 2 * DAY, MINUTE)
    ]


@lru_cache
def shown_first(zone: str, noon: int) -> dict[datetime, int]:
    """When the clock first shows each minute that it shows."""
    first_shown: dict[datetime, int] = {}
    for at, shown in readings(zone, noon):
        first_shown.setdefault(shown, at)
    return first_shown


def once_a_day(zone: str, noon: int, minute_of_day: int) -> list[int]:
    """The dues of a time of day, by the design's words: right after a gap, and once an hour.

    The first minute that shows this time; where none does, the first that shows a later one.
    """
    shown = shown_first(zone, noon)
    middle = datetime.fromtimestamp(noon // 1_000_000, ZoneInfo(zone)).replace(
        hour=0, minute=0, tzinfo=None
    )
    found = []
    for days in (-1, 0, 1):
        wanted = middle + timedelta(days=days, minutes=minute_of_day)
        while wanted not in shown:
            wanted += timedelta(minutes=1)
        found.append(shown[wanted])
    return found


def test_each_zone_has_two_switch_days() -> None:
    """One on which minutes are skipped, one on which they come twice."""
    for zone in ZONES:
        lengths = []
        for noon in switch_days(zone):
            shown = [reading for _, reading in readings(zone, noon)]
            lengths.append(len(set(shown)) < len(shown))
        assert sorted(lengths) == [False, True], zone


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_of_the_switch_days(zone: str) -> None:
    """A time that is skipped comes right after the gap, one that comes twice comes once."""
    for noon in switch_days(zone):
        for minute in range(1440):
            rule = cron_rule(f"{minute % 60} {minute // 60} * * *", zone)
            expected = once_a_day(zone, noon, minute)
            begin = expected[0] - 1

            assert list(islice(next_dues(rule, begin), len(expected))) == expected, (zone, minute)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "spec, fits",
    [
        ("* * * * *", lambda _: True),
        ("*/10 * * * *", lambda shown: shown.minute % 10 == 0),
        ("*/7 2,3 * * *", lambda shown: shown.minute % 7 == 0 and shown.hour in {2, 3}),
        ("0 * * * *", lambda shown: shown.minute == 0),
        ("45 */2 * * *", lambda shown: shown.minute == 45 and shown.hour % 2 == 0),
    ],
)
def test_stars_go_by_elapsed_time(zone: str, spec: str, fits: object) -> None:
    """They are due whenever the clock shows what they say: twice, once or not at all."""
    assert callable(fits)
    for noon in switch_days(zone):
        minutes = readings(zone, noon)
        expected = [at for at, shown in minutes if fits(shown)]
        found = list(islice(next_dues(cron_rule(spec, zone), minutes[0][0] - 1), len(expected)))

        assert found == expected


def test_asked_from_any_instant_the_next_due_is_the_same() -> None:
    """What comes next does not depend on where a node last looked."""
    chance = random.Random(1)
    for zone in ZONES:
        for spec in ("30 2 * * *", "*/15 * * * *", "0 1-3 * * *"):
            rule = cron_rule(spec, zone)
            for noon in switch_days(zone):
                dues = list(islice(next_dues(rule, noon - 2 * DAY), 60))
                for _ in range(200):
                    at = chance.randrange(dues[0], dues[-1])
                    assert rule.after(at) == next(due for due in dues if due > at)


def test_a_day_that_was_left_out() -> None:
    """Samoa had no 30 December 2011: that day's due comes with the next day's first minute."""
    found = first("0 12 * * *", "Pacific/Apia", "2011-12-29 00:00", 3)

    assert found == ["2011-12-29 22:00:00", "2011-12-30 10:00:00", "2011-12-30 22:00:00"]


@pytest.mark.parametrize(
    "spec, expected",
    [
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("0 0 * 2 MON#5", ["2044-02-29 00:00:00", "2072-02-29 00:00:00"]),
        ("0 9 * * mon-fri", ["2027-01-01 09:00:00", "2027-01-04 09:00:00"]),
        ("0 0 L * *", ["2027-01-31 00:00:00", "2027-02-28 00:00:00"]),
        ("* * 29 2 *", ["2028-02-29 00:00:00", "2028-02-29 00:01:00"]),
    ],
)
def test_what_comes_seldom(spec: str, expected: list[str]) -> None:
    """Also over years, and in a zone whose clock is changed on the way."""
    assert first(spec, "UTC", "2027-01-01 00:00", 2) == expected
    berlin = first(spec, "Europe/Berlin", "2026-12-31 23:00", 2)
    assert berlin == [f"{datetime.fromisoformat(text) - timedelta(hours=1)}" for text in expected]


def test_an_instant_within_a_second() -> None:
    """The due of a second has come when the second has begun."""
    rule = cron_rule("* * * * *", "UTC")

    assert rule.after(us("2027-01-01 00:00") - 1) == us("2027-01-01 00:00")
    assert rule.after(us("2027-01-01 00:00")) == us("2027-01-01 00:01")
    assert rule.after(us("2027-01-01 00:00") + 1) == us("2027-01-01 00:01")


def test_the_end_of_the_calendar() -> None:
    """There is no due behind it, and no error."""
    last = int(datetime(9999, 12, 31, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000

    assert cron_rule("0 0 1 1 *", "UTC").after(last) is None
    assert cron_rule("*/5 * * * *", "Europe/Berlin").after(last) is None


def test_intervals_go_on_from_a_known_due() -> None:
    """In elapsed time, wherever one asks from."""
    rule = rule_of(Timing(every_us=90), known=1_000)

    assert list(islice(next_dues(rule, 1_000), 3)) == [1_090, 1_180, 1_270]
    assert [rule.after(at) for at in (999, 1_089, 1_090, 5)] == [1_000, 1_090, 1_180, 10]


@pytest.mark.parametrize("spec", ["*/5 * * * *", "0 3 * * *"])
def test_the_dues_that_have_come(spec: str) -> None:
    """All are counted, the last ones are named, and the first that is to come."""
    rule = cron_rule(spec, "Europe/Berlin")
    first_due = rule.after(us("2027-03-26 12:00"))
    assert first_due is not None
    dues = [first_due, *islice(next_dues(rule, first_due), 20)]

    found = dues_until(rule, first_due, dues[9] + 1, most=3)
    nearly = dues_until(rule, first_due, dues[9], most=0)
    few = dues_until(rule, first_due, first_due, most=5)

    assert (found.count, found.last, found.next_at) == (10, tuple(dues[7:10]), dues[10])
    assert (nearly.count, nearly.last, nearly.next_at) == (10, (), dues[10])
    assert (few.count, few.last, few.next_at) == (1, (first_due,), dues[1])


@pytest.mark.parametrize("spec", ["* * * * *", "0 * * * *"])
def test_of_very_many_dues_it_is_said_that_they_are_many(spec: str) -> None:
    """The last of them are found from the end, so that ten years cost no more than a week."""
    rule = cron_rule(spec, "UTC")
    until = us("2037-01-01 00:30")

    found = dues_until(rule, us("2027-01-01 00:00"), until, most=100)

    assert found.count == COUNTED
    assert found.last == tuple(rule.after(due - 1) for due in found.last)
    assert len(found.last) == 100
    assert found.last[-1] == us("2037-01-01 00:30" if spec[0] == "*" else "2037-01-01 00:00")
    assert found.next_at == rule.after(until)


@pytest.mark.parametrize(
    "spec",
    [
        "0 0 31 2 *",
        "0 0 31 2,4 *",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a b c d e",
        "\0 * * * *",
        "9" * 2_000,
        "",
        None,
        7,
    ],
)
def test_what_is_no_cron_expression(spec: object) -> None:
    """It is refused with its own text, also one that never comes."""
    with pytest.raises(ArgumentError, match="cron expression"):
        check_timing(cron=spec, zone="UTC", jitter=None)


@pytest.mark.parametrize(
    "zone", ["Mars/Base", "", "../etc/passwd", None, 7, "/etc/localtime", "\0"]
)
def test_what_is_no_zone(zone: object) -> None:
    """It is refused as a zone, whatever else is right."""
    with pytest.raises(ArgumentError, match="time zone"):
        check_timing(cron="* * * * *", zone=zone, jitter=None)


@pytest.mark.parametrize("every", [0, "0s", -1, "1us", "often", float("nan")])
def test_what_is_no_interval(every: object) -> None:
    """Of zero, below a millisecond, or no duration."""
    with pytest.raises(ArgumentError, match="every"):
        check_timing(every=every, jitter=None)  # type: ignore[arg-type]


def test_a_zone_may_be_given_as_one() -> None:
    """A ZoneInfo stands for its name, and the spec is stored in one form."""
    timing = check_timing(cron="  0 9  * * mon ", zone=ZoneInfo("Europe/Berlin"), jitter="5s")

    assert timing == Timing(cron="0 9 * * MON", zone="Europe/Berlin", jitter_us=5_000_000)


@pytest.mark.parametrize(
    "timing, words",
    [
        (Timing(cron="*/10 * * * *"), "every 10th minute of every hour, UTC"),
        (Timing(cron="0 9 * * MON"), "at 09:00 on Monday, UTC"),
        (Timing(cron="0 9 * * *", zone="Mars/Base"), "0 9 * * *, Mars/Base"),
        (Timing(every_us=30_000_000), "every 30s"),
    ],
)
def test_words(timing: Timing, words: str) -> None:
    """A person reads when it comes, also what this machine cannot compute."""
    assert timing_words(timing) == words
