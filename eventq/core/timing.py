"""What a schedule says of its dues, as it is stored: when they come, and what becomes of them.

Nothing here reads a zone or a clock; the room `schedules` does, and the log keeps what it found.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Overlap = Literal["skip", "allow", "cancel"]

# "none": what nobody was there to do in time is not done. So late is still in time.
IN_TIME_US = 60 * 1_000_000
# "all", where the caller names no number.
ALL_DUES = 100
MOST_DUES = 1_000


class Timing(Struct, frozen=True, omit_defaults=True, gc=False):
    """When dues come: by a cron expression and the wall clock of a zone, or every so often."""

    cron: str | None = None
    zone: str = "UTC"
    every_us: int | None = None
    jitter_us: int = 0
    """The most that chance may put a schedule's ticks off by."""


class DueRules(Struct, frozen=True, omit_defaults=True, gc=False):
    """What becomes of dues.

    ``catch_up``: of those that have come meanwhile, at most so many are made; 0: the last one, if
    it has only just come. ``within_us``: none that is older. ``overlap``: what happens while the
    task of the one before is open.
    """

    catch_up: int = 1
    within_us: int | None = None
    overlap: Overlap = "skip"
