"""Whether the simulation of what was meets the record, within an error that is stated here.

Where it does not, the simulation of what would have been is not to be trusted either.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from eventq.core.durations import SECOND_US
from eventq.sandbox.whatif.metrics import Numbers

COUNTED = ("completed", "expired", "cancelled", "open", "attempts", "failures")
# Of a count; what is less than one is none.
COUNT_SHARE = 0.01
# Of a length of time, and what nodes take to hear of tasks and to commit, all in all.
TIME_SHARE = 0.1
TIME_US = SECOND_US // 5


class Miss(Struct, frozen=True):
    """A number of which the simulation of what was is further from the record than is stated."""

    measure: str
    recorded: int | None
    simulated: int | None


def misses(recorded: Numbers, simulated: Numbers) -> list[Miss]:
    """The numbers that the simulation of what was does not meet: none, if it can be trusted.

    Counts are met within 1 per cent; the makespan and the median and 95th percentile of waiting
    times within 10 per cent, or 200 ms.
    """
    return [
        Miss(name, was, is_now)
        for name, was, is_now, margin in _measures(recorded, simulated)
        if (was is None) != (is_now is None) or abs((was or 0) - (is_now or 0)) > margin
    ]


def _measures(
    recorded: Numbers, simulated: Numbers
) -> Iterator[tuple[str, int | None, int | None, float]]:
    for name in COUNTED:
        was = getattr(recorded, name)
        yield name, was, getattr(simulated, name), COUNT_SHARE * was
    times = {"makespan_us": (recorded.makespan_us, simulated.makespan_us)} | {
        f"wait_{name}": (getattr(recorded.waits, name), getattr(simulated.waits, name))
        for name in ("median_us", "p95_us")
    }
    for name, (took, takes) in times.items():
        yield name, took, takes, max(TIME_US, TIME_SHARE * (took or 0))
