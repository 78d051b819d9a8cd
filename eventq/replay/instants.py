"""Instants as people write them: without a zone they are of the zone of whoever asks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta

from eventq.core.task import EPOCH, instant

_TIME = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
LAST_YEAR = 9999
DAYS = {"today": 0, "yesterday": 1}


def read_instant(text: str, *, now: int) -> datetime | None:
    """The instant, in UTC, of ISO 8601 text, of a bare date or time, ``today`` or ``yesterday``.

    What has no zone is of this host's zone: a date is its first instant, a time is today's; ``now``
    in microseconds since 1970 says which day that is. None for what is no instant.
    """
    today = instant(now).astimezone()
    if text in DAYS:
        day = today.date() - timedelta(days=DAYS[text])
        return datetime.combine(day, time()).astimezone(UTC)
    try:
        if _TIME.fullmatch(text):
            return datetime.combine(today.date(), time.fromisoformat(text)).astimezone(UTC)
        at = datetime.fromisoformat(text)
        if at.utcoffset() is not None and not 1 < at.year < LAST_YEAR:
            # UTC may have no such instant.
            return at
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_local(text: str) -> bool:
    """Whether the text is an instant that means another one in another zone."""
    if text in DAYS or _TIME.fullmatch(text):
        return True
    try:
        return datetime.fromisoformat(text).utcoffset() is None
    except ValueError:
        return False


def in_us(at: datetime) -> int:
    """The instant in microseconds since 1970."""
    return (at - EPOCH) // timedelta(microseconds=1)
