"""Making the commits of a node: guess the head, catch up, decide, append, apply; all or none.

Nothing here waits in line or wakes anybody; that is the node's. Used under the node's lock only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any

from msgspec.structs import replace

from eventq.core.command import PastTasks
from eventq.core.commits import Commit, encode_bodies
from eventq.core.events import Created
from eventq.core.lease import lease_created
from eventq.core.link import placed
from eventq.core.projection import Projection
from eventq.errors import (
    EventqError,
    LogConflictError,
    LogError,
    LogUnavailableError,
)
from eventq.eventlog.contract import EventLog, Head
from eventq.host.interrupts import raise_interrupt
from eventq.node.approach import Approach, Guess
from eventq.node.commit_plan import CommitPlan, dated
from eventq.node.folded_log import FoldedLog, Now, head_of
from eventq.node.in_flight import InFlight, of_visit, outcome_unknown
from eventq.node.standby import Standby
from eventq.node.visit import Visit
from eventq.node.waiting_line import PendingCommand, WaitingLine
from eventq.replay.fold import task_of

# Attempts to append before a conflict is called a failure. Only logs whose writer slot lets every
# writer through ever conflict.
CONFLICTS_BORNE = 100


class Committer:
    """Commits what waits in line, one commit at a time."""

    def __init__(
        self,
        log: EventLog,
        line: WaitingLine,
        folded: FoldedLog,
        past: PastTasks,
        standby: Standby,
        *,
        name: str,
        now: Now,
        ring: Callable[[], None],
    ) -> None:
        """``name`` is what the node leases by; ``ring`` is called after each append."""
        self.in_flight: InFlight | None = None
        """What was decided, until its outcome is known."""
        self._log = log
        self._line = line
        self._folded = folded
        self._past = past
        self._standby = standby
        self._now = now
        self._ring = ring
        self._approach = Approach(log, line, folded, name=name, now=now)
        # What unconditional commands are handed.
        self._empty = Projection(log.namespace)

    def commit(self) -> None:
        """Commits for everybody who waits; first finds out what became of a commit in flight.

        What the log says goes to all in the commit; what struck this thread is raised.
        """
        self._line.take_waiting()
        try:
            if self.in_flight is None:
                self._commit()
            else:
                self._take_over(self.in_flight)
        except EventqError as error:
            raise_interrupt(error)
            self._line.take_waiting()
            self._break_off(error)

    def _commit(self) -> None:
        """Makes one commit of all who wait, as far as there is room."""
        for _ in range(CONFLICTS_BORNE):
            guess = self._approach.choose()
            try:
                commit = self._approach.append_next(guess, partial(self._decide, guess))
            except LogError as error:
                raise_interrupt(error)
                self.in_flight = None  # The log has said what is known of it.
                if not isinstance(error, LogConflictError):
                    raise
                self._folded.note_conflict()
                continue
            assert self.in_flight is not None, "it has decided"
            self._conclude(commit, self.in_flight)
            return
        raise LogUnavailableError(f"{CONFLICTS_BORNE} conflicts in a row; the log is too busy")

    def host(self, pending: PendingCommand[Any], visit: Visit) -> None:
        """Makes the commit of one caller alone, whose block runs inside it; never tries twice.

        First finds out what became of a commit in flight; then the caller must lead once more.
        """
        if self.in_flight is not None:
            self.commit()
            return
        self._line.take_visitor(pending)
        try:
            commit = self._log.append_next(partial(self._decide_hosting, pending, visit))
        except EventqError as error:
            made = self._take_in_flight()
            pending.error = of_visit(error, rows_only=made is not None and made.commit is None)
            return
        made = self._take_in_flight()
        assert made is not None, "it has decided"
        self._conclude(commit, made)

    def _decide_hosting(
        self, pending: PendingCommand[Any], visit: Visit, head: Head
    ) -> Commit | None:
        """Has the block run in the log's transaction, and decides what it asks for then."""
        hosting = self._log.hosting
        assert hosting is not None, "a visit begins only where there is one"
        guest = hosting.receive()
        try:
            pending.command = visit.stay(guest)
        finally:
            guest.leave()
        commit = self._decided(self._catch_up(head, Guess.NONE), Guess.NONE)
        if pending.error is not None:
            self.in_flight = None
            raise pending.error
        return commit

    def _take_in_flight(self) -> InFlight | None:
        made, self.in_flight = self.in_flight, None
        return made

    def _conclude(self, commit: Commit | None, made: InFlight) -> None:
        """The log holds what was decided."""
        if commit is not None:
            self._apply(commit, made)
        for pending in made.members:
            pending.committed = True
        # Not before all are marked: an interrupt would leave the rest with a wrong answer.
        self.in_flight = None
        if commit is not None:
            self._ring()

    def _decide(self, guess: Guess, head: Head) -> Commit | None:
        """Decides what follows the head, and makes a commit of it; None where there is nothing."""
        place = self._catch_up(head, guess)
        # As late as can be: whoever came while the log was read comes along.
        self._line.take_waiting()
        return self._decided(place, guess)

    def _decided(self, place: Head, guess: Guess) -> Commit | None:
        plan, members = self._plan(place, guess)
        is_leased = self._standby.ttl_us is not None and self._lease_created(plan, members, place)
        commit = plan.sealed() if plan.bodies else None
        self.in_flight = InFlight(commit, members, is_leased)
        return commit

    def _catch_up(self, head: Head, guess: Guess) -> Head:
        """Brings the projection up to the head, unless all who wait are unconditional.

        Returns where it stands: where the log lets several writers in, others may have gone on.
        """
        folded = self._folded
        if guess is Guess.SAVES_A_QUESTION:
            known = folded.catch_up(briefly=True)
            # Where nothing is new, only the head shows whether a failover took something back.
            head = self._log.head() if known.seq == head.seq else head_of(known)
        folded.note_head(head)
        if self._line.is_unconditional():
            return head
        projection = folded.projection
        if not (projection and projection.seq == head.seq):
            projection = folded.catch_up()
        return head_of(projection)

    def _plan(self, place: Head, guess: Guess) -> tuple[CommitPlan, list[PendingCommand[Any]]]:
        """Has the commands decide, leases first; returns the plan and those who are in it."""
        now = self._now(at_least=place.at)
        plan, members = CommitPlan(place, now), []
        projection = self._folded.projection_at(place)
        # A sort by what is true first: a reversed one leaves equals in their order, too.
        for pending in sorted(self._line.batch, key=_is_leasing, reverse=True):
            pending.error = None
            command, known = pending.command, projection
            if command.unconditional:
                known = self._empty
            elif known is None or (guess is Guess.TRUSTED and not command.leasing):
                # It came after a head was found that was enough for others: the next commit's.
                continue
            try:
                decision = command.decide(known, self._past, now)
                if decision.is_linked:
                    decision = replace(decision, events=placed(decision, plan.next_seq))
                if now != plan.at:
                    decision = replace(decision, events=dated(decision.events, now))
                texts = encode_bodies(map(_body_of, decision.events))
            except Exception as error:  # noqa: BLE001 - its own caller raises it
                raise_interrupt(error)
                pending.error = error
                continue
            first = plan.add(decision.events, texts)
            if first is not None:
                pending.decision, pending.first = decision, first
                members.append(pending)
        return plan, members

    def _lease_created(
        self, plan: CommitPlan, members: list[PendingCommand[Any]], place: Head
    ) -> bool:
        """Leases the one task that the plan creates for a run on standby; returns whether it did.

        Only where nothing else is planned: what is there is all that could run before it.
        """
        standby, projection = self._standby, self._folded.projection_at(place)
        drafts = members[0].events if len(members) == 1 else []
        if standby.ttl_us is None or projection is None or len(drafts) != 1:
            return False
        (_, body), number = drafts[0], members[0].first
        # Where a log is ahead of the clock, bodies say by what instant they were decided.
        if type(body) is not Created or body.decided_at is not None:
            return False
        lease = lease_created(
            projection,
            body,
            worker=standby.worker,
            ttl_us=standby.ttl_us,
            now=plan.at,
            audience=standby.audience,
        )
        if lease is None:
            return False
        standby.note_decided()
        return plan.add([(number, lease)], encode_bodies([lease])) is not None

    def _apply(self, commit: Commit, made: InFlight) -> None:
        """Folds the commit, and gives commands their tasks, and a run on standby its own."""
        after = self._folded.fold(commit)
        if made.is_leased and after and after[-1]:
            self._standby.note_leased(after[-1])
        for pending in made.members:
            if after is None:
                pending.tasks = pending.created(self._log.namespace, commit.at)
            else:
                start = pending.first - commit.first
                pending.tasks = after[start : start + len(pending.events)]

    # Outcomes that are not known.

    def _take_over(self, torn: InFlight) -> None:
        """Finds out what became of a commit whose leader was interrupted.

        If it was not made, those in it stay in line, with all others, for the next commit.
        """
        try:
            self._resolve(torn)
        except EventqError as unread:
            raise_interrupt(unread)
            for pending in torn.members:
                pending.error = outcome_unknown("its thread was interrupted", unread)
        self.in_flight = None

    def _break_off(self, error: Exception) -> None:
        """After a commit broke off: reports the error to everybody whose commands are not made."""
        try:
            if self.in_flight is not None:
                self._resolve(self.in_flight)
        except EventqError as unread:
            raise_interrupt(unread)
            error = outcome_unknown(error, unread)
        self.in_flight = None
        for pending in self._line.batch:
            # One that is in line again, since it found no room, has lost nothing.
            if not (pending.committed or pending.error or pending in self._line.waiting):
                pending.error = error

    def _resolve(self, torn: InFlight) -> None:
        """Reads back whether the commit was made."""
        commit = torn.commit
        if commit is None:
            return
        found = self._log.read(after=commit.first - 1, limit=1)
        if found and found[0].id == commit.id:
            for pending in torn.members:
                start = pending.first - commit.first
                numbers = commit.tasks[start : start + len(pending.events)]
                pending.tasks = [task_of(self._log, number) for number in numbers]
                pending.committed = True


# In C, since each is asked of every command.
_body_of = itemgetter(1)
_is_leasing = attrgetter("command.leasing")
