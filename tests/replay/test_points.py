"""What people write for a point in time, and the position and instant it means."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from eventq import ArgumentError, Queue
from eventq.core.durations import SECOND_US
from eventq.core.task import instant
from eventq.eventlog import EventLog, open_log
from eventq.replay.points import Point, PointLike, find_point, position_at
from eventq.snapshot import projection_at
from tests.support import ManualClock

COMMITS = 20


@pytest.fixture
def clock() -> ManualClock:
    """The clock the log was written by; it stands 10 s behind the last event."""
    return ManualClock()


@pytest.fixture
def log(clock: ManualClock) -> Iterator[EventLog]:
    """Twenty commits of one to three events, 10 s apart."""
    url = f"memory://points-{id(clock)}"
    with Queue(url, clock=clock) as queue:
        for number in range(COMMITS):
            queue.new_many({"n": number} for _ in range(number % 3 + 1))
            clock.advance(10)
        yield open_log(url)


def test_every_instant_finds_the_last_event_not_after_it(log: EventLog) -> None:
    """Also right at an event, one microsecond before it, and behind the last."""
    commits = log.read(after=0)
    for commit, following in pairwise(commits):
        assert position_at(log, commit.at) == commit.last
        assert position_at(log, following.at - 1) == commit.last

    assert position_at(log, commits[0].at - 1) == 0
    assert position_at(log, commits[-1].at + 1) == commits[-1].last


def test_what_people_write(log: EventLog, clock: ManualClock) -> None:
    """Positions, counts, instants and times ago all name points."""
    head, now = log.head(), clock.now_us()
    third = log.read(after=0)[2]
    ago = (now - third.at) // SECOND_US
    east = instant(third.at).astimezone(timezone(timedelta(hours=2)))
    wanted = Point(third.last, third.at)
    meaning: dict[PointLike, Point] = {
        "end": Point(head.seq, now),
        0: Point(0, log.read(after=0)[0].at),
        "0": Point(0, log.read(after=0)[0].at),
        third.last: wanted,
        str(third.last): wanted,
        third.last - head.seq: wanted,
        f"-{ago}s": wanted,
        "-0": Point(head.seq, head.at),
        timedelta(seconds=ago): wanted,
        instant(third.at): wanted,
        east.isoformat(): wanted,
        f"{instant(third.at):%Y-%m-%dT%H:%M:%S.%fZ}": wanted,
        "-0s": Point(head.seq, now),
    }
    for written, point in meaning.items():
        assert find_point(log, written, now=now) == point, written


@pytest.mark.parametrize(
    "written, complaint",
    [
        ("2026-11-23T12:00:00", "not in the future"),
        ("2026-11-23", "not in the future"),
        (datetime(2026, 11, 23), "time zone"),  # noqa: DTZ001 - that is the point
        ("someday", "a position like 1041"),
        ("", "a position like 1041"),
        ("-", "a position like 1041"),
        ("-2 hours", "a position like 1041"),
        ("+5", "a position like 1041"),
        ("١٢", "a position like 1041"),
        (True, "a position like 1041"),
        (1.5, "a position like 1041"),
        (1_000, "where the log ends"),
        (-1_000, "where the log ends"),
        ("9" * 19, "where the log ends"),
        ("9" * 5_000, "a position like 1041"),
        ("1970-01-02T00:00:00Z", "the first event's"),
        ("-90d", "the first event's"),
        ("1969-12-31T23:59:59Z", "the first event's"),
        ("0001-01-01T00:00:00+14:00", "the first event's"),
        ("9999-12-31T23:59:59Z", "not in the future"),
        (datetime.max.replace(tzinfo=UTC), "not in the future"),
    ],
)
def test_what_means_no_point(
    log: EventLog, clock: ManualClock, written: object, complaint: str
) -> None:
    """An error names the argument, the value and what would be right."""
    with pytest.raises(ArgumentError, match=complaint) as caught:
        find_point(log, written, now=clock.now_us(), argument="--at")  # type: ignore[arg-type]

    assert caught.value.argument == "--at"


def test_an_empty_log_has_one_point() -> None:
    """Its end, at which nothing is."""
    log = open_log("memory://")

    assert find_point(log, "end", now=5) == Point(0, 5)
    assert find_point(log, 0, now=5) == Point(0, 0)
    assert find_point(log, "-0s", now=5) == Point(0, 5)
    with pytest.raises(ArgumentError, match="the first event's"):
        find_point(log, "1969-12-31T23:59:59Z", now=5)


def test_the_projection_at_a_point_is_told_as_of_its_instant(clock: ManualClock) -> None:
    """What has become ready without an event is ready."""
    with Queue(f"memory://ready-{id(clock)}", clock=clock) as queue:
        queue.new(delay="60s")
        clock.advance(120)
        log = open_log(queue.url)
        before, after = (
            projection_at(log, find_point(log, written, now=clock.now_us()))
            for written in ("-70s", "-50s")
        )

        assert [before.ready_count(before.advanced_to), after.ready_count(after.advanced_to)] == [
            0,
            1,
        ]
