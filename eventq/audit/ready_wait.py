"""A task's time as a ready one: its rank when that began and when it ended, who went past it."""

from __future__ import annotations

from itertools import islice
from typing import Any

from eventq.audit.dispatch_rank import (
    Choice,
    Rank,
    Rival,
    ahead_words,
    compare,
    numbers_ahead,
    rank_of,
)
from eventq.audit.handling import choice_of, rivals_of
from eventq.audit.history import Step
from eventq.audit.phrases import counted
from eventq.core.audience import audience_of
from eventq.core.commits import decode_at
from eventq.core.moves import fold_events
from eventq.core.queue_events import Joined
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import catch_up, commits_of, stored_kind, task_history
from eventq.replay.points import Point, position_at
from eventq.snapshot import projection_at
from eventq.snapshot.starting import is_quicker_from_snapshot


class ReadyWait:
    """A task's time as a ready one: its rank when that began, and later, by one projection."""

    def __init__(
        self, log: EventLog, step: Step, *, end: int, limit: int, worker: str | None = None
    ) -> None:
        """``worker`` is the node that ended the wait, where one did."""
        self._log = log
        self._worker = worker
        self._number = step.task.number
        self._end = end
        self._limit = limit
        self.begin = min(_begin(log, step), end)
        self.projection = projection_at(log, Point(self.begin, step.ready_at))
        self._joined = self._joined_since()
        self.first = self._rank(step.ready_at)
        self._was_ahead = self._ahead(step.ready_at)
        self.leases = 0

    def until(self, at: int) -> Rank:
        """The rank at the end of the wait, as of that instant."""
        leased = self.projection.counts["leased"]
        begin, end = self.projection.seq, self._end
        if is_quicker_from_snapshot(self._log, after=begin, until=end):
            self.projection = projection_at(self._log, Point(end, at))
        else:
            catch_up(self.projection, self._log, until=end)
        self.leases = self.projection.counts["leased"] - leased
        return self._rank(at)

    def overtaken(self) -> tuple[list[Rival], int]:
        """Who was leased since and had not been ahead when it became ready; and how many."""
        if not self.leases:
            return [], 0
        task = self.projection.tasks[self._number]
        found: dict[int, int] = {}
        for commit in commits_of(self._log, after=self.begin, until=self._end):
            for seq, (number, text) in enumerate(
                zip(commit.tasks, commit.bodies, strict=True), commit.first
            ):
                passes = number != task.number and number not in self._was_ahead
                if seq > self.begin and passes and stored_kind(text) == "leased":
                    found.setdefault(number, seq)
        rivals = []
        for number, seq in islice(found.items(), self._limit):
            other = fold_events(self._log.namespace, task_history(self._log, number), until=seq - 1)
            if other is not None:
                field, _ = compare(other, task, (0, 0))
                rivals.append(Rival(other.as_of(self.first.at), field))
        return rivals, len(found)

    @property
    def facts(self) -> dict[str, Any]:
        """What `Why` says of it."""
        return {"ready_rank": self.first, "leases_since": self.leases}

    @property
    def words(self) -> str:
        """Who was ahead at first, and how many went in between."""
        ahead = ahead_words(self.first, past=True)
        leases = counted(self.leases, "lease") if self.leases else "no lease"
        return f"when it became ready {ahead}; {leases} went to others since"

    def words_until(self, at: int) -> str:
        """The same for a wait that has ended."""
        idle = not self.leases and at > self.first.at
        return f"{self.words}, so no free worker asked until then" if idle else self.words

    def _rank(self, at: int) -> Rank:
        projection, task = self.projection, self.projection.tasks[self._number]
        return rank_of(projection, task, at, limit=self._limit, choice=self._choice(at))

    def _ahead(self, at: int) -> frozenset[int]:
        """The numbers of all that are ahead; of use where nothing has ended the wait."""
        if self._worker is not None:
            return frozenset()
        projection, task = self.projection, self.projection.tasks[self._number]
        return numbers_ahead(projection, task, at, choice=self._choice(at))

    def _choice(self, at: int) -> Choice:
        projection, task = self.projection, self.projection.tasks[self._number]
        if self._worker is None:
            return rivals_of(projection, task, at)
        if self._joined is not None and self._worker not in projection.members.by_name:
            return audience_of(self._joined).accepts
        return choice_of(projection, self._worker, task)

    def _joined_since(self) -> Joined | None:
        """What the node said when it joined, where it did so after the task was ready."""
        worker = self._worker
        if worker is None or worker in self.projection.members.by_name:
            return None
        for commit in commits_of(self._log, after=self.begin, until=self._end):
            texts = [text for text in commit.bodies if stored_kind(text) == "joined"]
            for body in decode_at(commit.first, texts):
                if isinstance(body, Joined) and body.worker == worker:
                    return body
        return None


def _begin(log: EventLog, step: Step) -> int:
    """The last position before, or with, the task's being ready."""
    if step.ready_seq is None:
        # Not before its creation, where the log was ahead of the clock and stamps say little.
        return max(position_at(log, step.ready_at - 1), step.task.number)
    # What came with it in one commit was there at once.
    return log.read(after=step.ready_seq - 1, limit=1)[0].last
