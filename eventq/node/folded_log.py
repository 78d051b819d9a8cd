"""The node's projection, and how it keeps up with the log; half a fold is never kept."""

from __future__ import annotations

from typing import Protocol

from eventq.core.commits import Commit
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import LogArchivedError, LogCorruptError
from eventq.eventlog.contract import EventLog, Head
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.replay.fold import catch_up
from eventq.snapshot.starting import projection_at_start, restore_newest

logger = SafeLogger("eventq.node")

# Commits in a row, with no other node's between them, after which a node takes itself for alone.
ALONE = 3


class Now(Protocol):
    """The node's time in microseconds; see Node.now."""

    def __call__(self, *, at_least: int = 0) -> int:
        """Never earlier than ``at_least``, unless that is far ahead of the clock."""


class FoldedLog:
    """A log as far as this node has folded it. Used under the node's lock only."""

    def __init__(self, log: EventLog, *, now: Now) -> None:
        """``now`` is the node's time, which is never behind what has been read."""
        self._projection: Projection | None = None
        self._log = log
        self._now = now
        self._is_remote = log.remote is not None
        self._undisturbed = 0
        self.end: Head | None = None
        """Where a log behind a network ended when this node last saw it end; None if it never did.

        For guesses; the end of another log is cheaply asked for.
        """

    @property
    def projection(self) -> Projection | None:
        """The projection as the last look or commit left it; None where there is none to trust."""
        known = self._projection
        if known is not None and not known.is_whole:
            # An interrupt came in the middle of a change.
            known = self._projection = None
        return known

    @property
    def is_alone(self) -> bool:
        """Whether this node's were the last few appends, as far as it has seen."""
        return self._undisturbed >= ALONE

    def note_conflict(self) -> None:
        """Somebody else has appended."""
        self._undisturbed = 0
        self.end = None

    def projection_at(self, head: Head) -> Projection | None:
        """The projection, if it is the fold up to this head.

        The seal decides, not the position: a failover may have put another history there.
        """
        known = self._projection and self.projection
        return known if known is not None and known.seal == head.seal else None

    def note_head(self, head: Head) -> None:
        """Notes where the log ends; drops the projection where a failover took back its end."""
        if self._is_remote:
            before, self.end = self.end, head
            if before is not None and before.seal != head.seal:
                self._undisturbed = 0
        known = self._projection
        if known is not None and known.seq >= head.seq and known.seal != head.seal:
            self._projection = None

    def fold(self, commit: Commit) -> list[Task | None] | None:
        """Folds a commit of this node's; None when it is not right behind the projection."""
        known = self.projection
        if self._is_remote:
            self._undisturbed += 1
            self.end = Head(commit.last, commit.at, commit.seal)
        if known is None or known.seal != commit.prev:
            return None
        # Should the fold break off half-way, the next command builds a new one from the log.
        self._projection = None
        after = known.apply(commit)
        self._projection = known
        return after

    def catch_up(self, *, briefly: bool = False) -> Projection:
        """Folds what the log holds beyond the projection; ``briefly``, see `replay.catch_up`."""
        known = self.projection or restore_newest(self._log)
        projection = known or Projection(self._log.namespace)
        before = projection.seq
        self._projection = None
        try:
            catch_up(projection, self._log, briefly=briefly)
        except (LogArchivedError, LogCorruptError) as error:
            raise_interrupt(error)
            is_archived = isinstance(error, LogArchivedError)
            if known is None and not is_archived:
                raise
            # What comes next was archived, or a failover took it back; else this fails again.
            logger.warning("folding the log anew", extra={"error": str(error)})
            kept = restore_newest(self._log) if is_archived else None
            projection = kept or projection_at_start(self._log, until=projection.seq)
            catch_up(projection, self._log)
        except BaseException:
            if projection.is_whole:
                self._projection = projection  # Reading broke off, not the fold, which can go on.
            raise
        self._projection = projection
        self._now(at_least=projection.at)
        if projection.decided_at != projection.at:
            self._now(at_least=projection.decided_at)
        self._undisturbed = self._undisturbed if projection.seq == before else 0
        self.end = head_of(projection)
        return projection


def head_of(projection: Projection) -> Head:
    """Where a log ends that the projection is the whole fold of."""
    return Head(projection.seq, projection.at, projection.seal)
