"""Instants as people write them, in the zone of this host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from eventq.replay.instants import in_us, is_local, read_instant

NOW = in_us(datetime(2026, 11, 29, 23, 30, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This host is in a zone that is an hour ahead of UTC then."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text, utc",
    [
        ("2026-11-29", "2026-11-28T23:00:00Z"),
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("2026-11-29T12:00", "2026-11-29T11:00:00Z"),
        ("12:30", "2026-11-30T11:30:00Z"),
        ("12:30:01.5", "2026-11-30T11:30:01.500000Z"),
        ("today", "2026-11-29T23:00:00Z"),
        ("yesterday", "2026-11-28T23:00:00Z"),
    ],
)
def test_what_has_no_zone_is_of_this_host(text: str, utc: str) -> None:
    """A date is its first instant, a time is today's; that it is so can be told."""
    assert read_instant(text, now=NOW) == datetime.fromisoformat(utc)
    assert is_local(text)


@pytest.mark.parametrize("text", ["2026-11-29T12:00:00Z", "2026-11-29T12:00:00+09:00"])
def test_what_has_a_zone_is_left_alone(text: str) -> None:
    """It means the same for everybody."""
    assert read_instant(text, now=NOW) == datetime.fromisoformat(text)
    assert not is_local(text)


@pytest.mark.parametrize("text", ["", "now", "25:00", "2026-13-01", "tomorrow", "-2h", "12"])
def test_what_is_no_instant_is_none(text: str) -> None:
    """Other forms of points are read elsewhere."""
    assert read_instant(text, now=NOW) is None
    assert not is_local(text) or text == "25:00"
