"""Waiting for what another process does, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(ask: Callable[[], int | None], most_s: float) -> int | None:
    """The answer, once there is one."""
    ends_s = time.monotonic() + most_s
    while (found := ask()) is None and time.monotonic() < ends_s:
        time.sleep(0.01)
    return found
