"""Finds the nodes that have stopped renewing their leases, by this process's own clock."""

from __future__ import annotations

from eventq.core.durations import SECOND_US
from eventq.core.holders import Holder

# A gap between two looks longer than this, or than a third of the ttl, means that this process
# could not look (it was suspended, or the log was away): the excess is not held against the others.
LOOK_S = 2.0
# A node is judged only if some node could append this shortly before the ttl is over, or in its
# second half. Longer than a node takes to try again after an append that failed.
PROOF_S = 1.0


class LapseWatch:
    """Remembers when each node's last sign of life was first seen, on the monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked_s: float | None = None
        # Where the log ended at the last look (None: before a failure), and when it was first seen
        # to have grown that far.
        self._seq: int | None = None
        self._grown_s = 0.0
        # The log has failed, and has not been seen to grow since.
        self._is_failing = False
        self.unproven_seq: int | None = None
        """Where the log ends that must grow before anyone is judged: it may take no appends now."""

    def fail(self) -> None:
        """The log could not be read or appended to.

        No time counts from when the log last grew until it grows again.
        """
        self._is_failing = True
        self._seq = None

    def look(
        self, holders: dict[str, Holder], *, me: str, seq: int, monotonic_s: float, now: int
    ) -> list[tuple[str, int]]:
        """The nodes, each with its last sign of life, whose leases have lapsed.

        ``monotonic_s`` is the time after the log was read, up to ``seq``: no sign is taken for
        older than it can be. At the first look a sign is as old as the log says it is (by ``now``,
        microseconds); from then on only time in which this process could look, and nodes could
        append, counts.
        """
        first = self._looked_s is None and not self._is_failing
        gap_s = 0.0 if self._looked_s is None else monotonic_s - self._looked_s
        self._looked_s = monotonic_s
        excused_s = self._note_growth(seq, monotonic_s)
        seen: dict[str, tuple[int, float]] = {}
        lapsed = []
        self.unproven_seq = None
        for worker, holder in holders.items():
            if worker == me:
                continue
            ttl_s = holder.ttl_us / SECOND_US
            known = self._seen.get(worker)
            if known is not None and known[0] == holder.seen_seq:
                unseen_s = max(0.0, gap_s - min(LOOK_S, ttl_s / 3))
                since_s = min(monotonic_s, known[1] + max(excused_s, unseen_s))
            elif first:
                since_s = monotonic_s - max(0.0, (now - holder.seen_at) / SECOND_US)
            else:
                since_s = monotonic_s
            seen[worker] = (holder.seen_seq, since_s)
            proof_s = since_s + ttl_s - min(PROOF_S, ttl_s / 2)
            if self._is_failing or (monotonic_s >= proof_s and self._grown_s < proof_s):
                self.unproven_seq = seq
            elif monotonic_s - since_s >= ttl_s:
                lapsed.append((worker, holder.seen_seq))
        self._seen = seen
        return lapsed

    def _note_growth(self, seq: int, monotonic_s: float) -> float:
        """Seconds that count against no node, since the log failed in them and has grown again."""
        before, self._seq = self._seq, seq
        if before == seq or (before is None and self._is_failing):
            return 0.0
        excused_s = monotonic_s - self._grown_s if self._is_failing else 0.0
        self._grown_s, self._is_failing = monotonic_s, False
        return excused_s
