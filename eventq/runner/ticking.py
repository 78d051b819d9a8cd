"""Schedules in a run: it ticks the dues of all that have come; `defining` plans those of its code.

Any node does so, and whichever comes first; nothing is kept here that another one would need.
"""

from __future__ import annotations

from msgspec.structs import replace

from eventq.core.projection import Projection
from eventq.core.queue_events import Ticked
from eventq.core.schedules import Schedule
from eventq.core.scheduling import AS_WANTED, Tick, TickSchedules
from eventq.errors import ArgumentError
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.schedules.plans import tick_bytes, tick_of

logger = SafeLogger("eventq.runner")

# One commit ticks so much at the most, so that others find room in it and after it.
PORTION_EVENTS = 400
PORTION_BYTES = 256 * 1024
UNKNOWN_ZONE = "schedule %(schedule)s cannot be ticked by this node: %(error)s"
SKIPPED = "schedule %(schedule)s makes no task: %(reason)s"
MISSED = "schedule %(schedule)s has missed dues: %(count)s"


class Ticking:
    """Ticks schedules for one run."""

    def __init__(self, node: Node) -> None:
        self._node = node
        # Those whose dues this process cannot compute, with the event that was looked at.
        self._beyond: dict[str, int] = {}
        # The schedules that make none against their will, with the reason that was told.
        self._skipped: dict[str, str] = {}

    def look(self, projection: Projection, *, now: int) -> tuple[Tick, ...]:
        """What is to be ticked, a portion of it; for `tick`."""
        if not projection.schedules:
            return ()
        found: list[Tick] = []
        events = size_bytes = 0
        for ticks_at, name in projection.schedules.coming():
            if ticks_at > now or events >= PORTION_EVENTS or size_bytes >= PORTION_BYTES:
                break
            known = projection.schedules.by_name[name]
            if (tick := self._tick_of(known, now)) is not None:
                each_bytes = tick_bytes(known.planned.call)
                fits = max(1, (PORTION_BYTES - size_bytes) // each_bytes)
                tick = replace(tick, bodies=tick.bodies[:fits])
                found.append(tick)
                events += 2 * len(tick.bodies)
                size_bytes += each_bytes * len(tick.bodies)
        return tuple(found)

    def next_instant(self, projection: Projection) -> int | None:
        """When the next schedule ticks that this node can tick."""
        if not projection.schedules:
            return None
        coming = projection.schedules.coming()
        return next((at for at, name in coming if name not in self._beyond), None)

    def tick(self, ticks: tuple[Tick, ...]) -> None:
        """Says of these dues what becomes of them."""
        for _, body in self._node.execute(TickSchedules(ticks)).events:
            if isinstance(body, Ticked):
                self._warn(body)

    def _warn(self, body: Ticked) -> None:
        """Of a due that made nothing against the will of its schedule; of one reason once."""
        if body.outcome == "missed":
            values = {"schedule": body.schedule, "count": body.count}
            logger.warning(MISSED, values, extra=values)
        elif body.outcome != "skipped":
            self._skipped.pop(body.schedule, None)
        elif body.reason not in AS_WANTED and self._skipped.get(body.schedule) != body.reason:
            self._skipped[body.schedule] = body.reason
            reasons = {"schedule": body.schedule, "reason": body.reason}
            logger.warning(SKIPPED, reasons, extra=reasons)

    def _tick_of(self, known: Schedule, now: int) -> Tick | None:
        if self._beyond.get(known.name) == known.seq:
            return None
        try:
            tick = tick_of(known, now)
        except ArgumentError as error:
            self._beyond[known.name] = known.seq
            values = {"schedule": known.name, "error": str(error)}
            logger.warning(UNKNOWN_ZONE, values, extra=values)
            return None
        self._beyond.pop(known.name, None)
        return tick
