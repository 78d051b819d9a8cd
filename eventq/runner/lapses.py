"""Judging by this process's own clock whether other nodes still renew their leases."""

from __future__ import annotations

from eventq.core.durations import SECOND_US
from eventq.core.projection import Holder

# A gap between two looks longer than this means that this process could not look (it was
# suspended, or the log was away): the excess is not held against the others.
LOOK_S = 2.0


class LapseWatch:
    """Remembers when each node's last sign of life was first seen, on the monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_s: float | None = None

    def look(
        self, holders: dict[str, Holder], *, me: str, monotonic_s: float, now: int
    ) -> list[tuple[str, int]]:
        """The nodes, each with its last sign of life, whose leases have lapsed.

        At the first look a sign is as old as the log says it is (by ``now``, microseconds);
        from then on only time in which this process could look counts.
        """
        first = self._looked_s is None
        gap_s = 0.0 if self._looked_s is None else monotonic_s - self._looked_s
        excused_s = max(0.0, gap_s - LOOK_S)
        self._looked_s = monotonic_s
        seen: dict[str, tuple[int, float]] = {}
        lapsed = []
        for worker, holder in holders.items():
            if worker == me:
                continue
            known = self._seen.get(worker)
            if known is not None and known[0] == holder.seen_seq:
                since_s = known[1] + excused_s
            elif first:
                since_s = monotonic_s - max(0.0, (now - holder.seen_at) / SECOND_US)
            else:
                since_s = monotonic_s
            seen[worker] = (holder.seen_seq, since_s)
            if monotonic_s - since_s >= holder.ttl_us / SECOND_US:
                lapsed.append((worker, holder.seen_seq))
        self._seen = seen
        return lapsed
