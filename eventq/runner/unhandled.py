"""Says once a minute which names no running node handles, and which limits hold tasks for good."""

from __future__ import annotations

import math

from eventq.core.projection import Projection
from eventq.host.logger import SafeLogger
from eventq.replay.blocking import undefined_limits, untagged_limits
from eventq.replay.query import unhandled

logger = SafeLogger("eventq.runner")

EVERY_S = 60.0
UNDEFINED = "tasks wait for limits that are not defined: %(limits)s"
UNTAGGED = "tasks wait that lack the tag by which their limit is counted: %(limits)s"
UNHANDLED = "no running node handles %(names)s"


class UnhandledWatch:
    """Remembers when it last looked, so that it costs nothing in between."""

    def __init__(self) -> None:
        self._looked_s = -math.inf

    def look(self, projection: Projection, *, now: int, now_s: float, said: bool) -> None:
        """Warns where tasks are ready that nobody will take; ``now_s`` is monotonic.

        Not before this node has ``said`` what it can run itself.
        """
        if not said or now_s - self._looked_s < EVERY_S:
            return
        self._looked_s = now_s
        if counts := unhandled(projection, now=now):
            names = ", ".join(f"{name} ({count} waiting)" for name, count in counts.items())
            logger.warning(UNHANDLED, {"names": names}, extra={"names": names})
        held = ((UNDEFINED, undefined_limits), (UNTAGGED, untagged_limits))
        for text, found in held:
            if limits := found(projection, now):
                names = ", ".join(f"{name} ({count} waiting)" for name, count in limits.items())
                logger.warning(text, {"limits": names}, extra={"limits": names})
