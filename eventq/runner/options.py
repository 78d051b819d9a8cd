"""How to run, as its parts are told: checked, and in their own units."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


class RunOptions(Struct, frozen=True):
    """What a caller chose for one run. ``chance`` draws a number from 0 up to 1, for jitter."""

    lease_ttl_us: int
    grace_s: float
    max_stuck_s: float | None
    until_idle: bool
    chance: Callable[[], float]
