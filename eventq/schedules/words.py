"""A timing in words for people."""

from __future__ import annotations

from eventq.core.durations import show_duration
from eventq.core.timing import Timing
from eventq.errors import ArgumentError
from eventq.schedules.rules import cron_rule


def timing_words(timing: Timing) -> str:
    """When dues come, as a person would say it.

    >>> timing_words(Timing(cron="30 3 * * *", zone="Europe/Berlin"))
    'at 03:30 every day, Europe/Berlin'
    >>> timing_words(Timing(every_us=90_000_000, jitter_us=5_000_000))
    'every 1m30s, put off by up to 5s'
    """
    if timing.every_us is not None:
        words = f"every {show_duration(timing.every_us)}"
    else:
        assert timing.cron is not None, "a timing has one of the two"
        words = _cron_words(timing.cron, timing.zone)
        words += f", {timing.zone}"
    if timing.jitter_us:
        words += f", put off by up to {show_duration(timing.jitter_us)}"
    return words


def _cron_words(spec: str, zone: str) -> str:
    try:
        words = cron_rule(spec, zone).explain()
    except ArgumentError:
        # Of a zone that this machine does not have, or of a newer eventq.
        return spec
    return words[:1].lower() + words[1:]
