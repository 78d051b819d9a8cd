"""What an event replaced, looked up in the log when no undo was kept; nothing is changed here.

By the task's own history, so that it costs the same anywhere in a log of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from eventq.audit.stepper.links import LinksBefore, changed_links, links_of
from eventq.audit.stepper.reversible import ReversibleProjection, Sign, Undo, worker_of
from eventq.audit.stepper.window import Window
from eventq.core.commits import OF_SCHEDULES, Commit, Event
from eventq.core.events import Created, Leased
from eventq.core.members import Follower, Member
from eventq.core.moves import fold_events
from eventq.core.projection import END_KINDS
from eventq.core.queue_events import Followed, Joined, Left, Renewed, Unfollowed
from eventq.core.schedules import Schedule
from eventq.core.task import FINAL, Task, TaskState
from eventq.core.values import NODE
from eventq.errors import LogArchivedError, LogCorruptError
from eventq.eventlog.contract import READ_EVENTS, EventLog
from eventq.replay.fold import decode_events, task_history, task_of
from eventq.replay.points import Point
from eventq.snapshot import projection_at
from eventq.snapshot.starting import projection_at_start

MOVES_FOLLOWERS = (Followed, Unfollowed)
# Nodes whose last sign of life is remembered while going back.
SIGNS_KEPT = 1_000


class UndoLookup:
    """Looks up undos in a log."""

    def __init__(self, log: EventLog, window: Window) -> None:
        self._log = log
        self._window = window
        # The last sign of life of a node, and the position up to which it is known to be that.
        self._signs: dict[str, tuple[Sign, int]] = {}

    def undo_of(self, projection: ReversibleProjection, event: Event) -> Undo:
        """What the projection's last event replaced."""
        before = self.task_before(event)
        if before is not None and before.recorded_state is TaskState.WAITING:
            # Its own history does not tell whether that had ended.
            then = projection_at(self._log, Point(event.seq - 1, event.at)).tasks
            before = then.get(event.task, before)
        stranger = self._stranger_before(projection, event)
        is_open = before is not None and before.recorded_state not in FINAL and stranger is None
        open_before = before if is_open else None
        worker = worker_of(event, open_before)
        sign = None
        if worker is not None and self._needs_sign(projection, event, worker):
            sign = self._sign_before(worker, event.seq)
        joins = isinstance(event.body, (Joined, Left))
        return Undo(
            event.seq,
            open_before,
            sign,
            self._members_before(event) if joins else None,
            stranger,
            self._followers_before(event) if isinstance(event.body, MOVES_FOLLOWERS) else None,
            self._schedules_before(event) if isinstance(event.body, OF_SCHEDULES) else None,
            self._links_before(event) if changed_links(projection, event, before) else None,
        )

    def task_before(self, event: Event) -> Task | None:
        """The event's task before it, final or not; None where there was none.

        And where the log keeps nothing of it: it was final then, and is archived.
        """
        if not event.task or isinstance(event.body, Created):
            return None
        try:
            return task_of(self._log, event.task, until=event.seq - 1)
        except LogArchivedError:
            return None

    def _stranger_before(
        self, projection: ReversibleProjection, event: Event
    ) -> tuple[int, str] | None:
        """What had made its task one of a newer eventq before the event; by index."""
        made_by = projection.strangers.get(event.task)
        if made_by is None or made_by[0] == event.seq:
            return None
        story = [e for e in task_history(self._log, event.task) if e.seq < event.seq]
        then = fold_events(self._log.namespace, story, until=made_by[0] - 1)
        if then is None or then.recorded_state in FINAL:
            return made_by
        # It was open: it is one since its end.
        has_ended = any(e.kind in END_KINDS for e in story if e.seq > made_by[0])
        return made_by if has_ended else None

    def _members_before(self, event: Event) -> dict[str, Member]:
        """The nodes that had joined before the event; by index, from those known at the start."""
        members = projection_at_start(self._log, until=event.seq).members
        for stored in decode_events(self._log.history(NODE)):
            if stored.seq < event.seq and isinstance(stored.body, (Joined, Left)):
                members.apply(stored.seq, stored.decided_at, stored.body)
        return members.by_name

    def _links_before(self, event: Event) -> LinksBefore:
        """What tasks waited for before the event, by a fold: no index tells that."""
        return links_of(projection_at(self._log, Point(event.seq - 1, event.at)))

    def _followers_before(self, event: Event) -> dict[str, Follower]:
        """Who followed the log before the event; found as `_members_before` finds nodes."""
        found = dict(projection_at_start(self._log, until=event.seq).followers)
        for stored in decode_events(self._log.history(NODE)):
            if stored.seq >= event.seq:
                break
            if isinstance(stored.body, Followed):
                said = stored.body
                found[said.follower] = Follower(said, stored.seq, stored.decided_at)
            elif isinstance(stored.body, Unfollowed):
                found.pop(stored.body.follower, None)
        return found

    def _schedules_before(self, event: Event) -> dict[str, Schedule]:
        """The schedules before the event; found as `_members_before` finds nodes."""
        schedules = projection_at_start(self._log, until=event.seq).schedules
        for stored in decode_events(self._log.history(NODE)):
            if stored.seq < event.seq and isinstance(stored.body, OF_SCHEDULES):
                schedules.apply(stored.seq, stored.decided_at, stored.body)
        return schedules.by_name

    @staticmethod
    def _needs_sign(projection: ReversibleProjection, event: Event, worker: str) -> bool:
        """Whether the node held a lease before the event, and its sign of life was another."""
        held = projection.leases_of(worker)
        if isinstance(event.body, Leased):
            return len(held) > 1
        if isinstance(event.body, Renewed):
            return bool(held)
        return not held

    def _sign_before(self, worker: str, seq: int) -> Sign:
        sign, until = self._signs.get(worker, (None, 0))
        if sign is None or not sign.seq < seq <= until:
            sign = self._find_sign(worker, seq)
            if len(self._signs) >= SIGNS_KEPT:
                self._signs.clear()
            self._signs[worker] = (sign, seq)
        return sign

    def _find_sign(self, worker: str, seq: int) -> Sign:
        try:
            for event in self._window.backward(seq):
                body = event.body
                if isinstance(body, (Leased, Renewed)) and body.worker == worker:
                    return Sign(worker, event.seq, event.decided_at, body.ttl_us)
        except LogArchivedError:
            holder = projection_at_start(self._log, until=seq).holders.get(worker)
            if holder is not None:
                return Sign(worker, holder.seen_seq, holder.seen_at, holder.ttl_us)
        raise LogCorruptError(seq, f"node {worker} holds a lease that nothing gave it")


class _ReportingLog:
    """A log that says how far it is read."""

    def __init__(self, log: EventLog, progress: Callable[[int], None]) -> None:
        self._log = log
        self._progress = progress

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the log has
        return getattr(self._log, name)

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        self._progress(after)
        return self._log.read(after=after, limit=limit)


def reporting(log: EventLog, progress: Callable[[int], None]) -> EventLog:
    """The log, calling ``progress`` with each position it is read from; what that raises passes."""
    return cast("EventLog", _ReportingLog(log, progress))
