"""How to run, as its parts are told: checked, and in their own units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from msgspec import Struct


class RunOptions(Struct, frozen=True):
    """What a caller chose for one run. ``chance`` draws a number from 0 up to 1, for jitter.

    ``until`` is when it ends by itself: once idle, or at an instant (microseconds) when nothing
    that was due by then is left.
    """

    lease_ttl_us: int
    grace_s: float
    max_stuck_s: float | None
    until: Literal["idle"] | int | None
    chance: Callable[[], float]
    health_path: Path | None = None
