"""One process's place on a log: catch up, decide, append, apply, with group commit.

State changes by this one door. Nothing here knows what a command means or which log it is.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager

from eventq.core.ahead import FoldAhead, fold_ahead
from eventq.core.events import NODE, Commit, encode_bodies
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import (
    EventqError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    LogError,
    LogOutcomeUnknownError,
    LogTooNewError,
    LogUnavailableError,
    QueueClosedError,
    TaskNotFoundError,
)
from eventq.eventlog.contract import EventLog, Head
from eventq.host.clock import Clock, SteadyTime
from eventq.host.interrupts import Holding, interrupt_in, raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.node.commit_plan import Command, Plan, dated, head_of, wake_thread
from eventq.replay.fold import catch_up, task_of
from eventq.snapshot.starting import projection_at_start, restore_newest

logger = SafeLogger(__name__)

# Attempts to append before a conflict is called a failure. Logs with turns never conflict.
CONFLICTS_BORNE = 100
# Commits in a row, with nobody else's between them, after which a node takes itself for alone.
ALONE = 3
# Interrupts swallowed while one is being cleaned up after: half of that would leave all others
# waiting for a leader who has gone. That takes microseconds and waits for nothing.
INTERRUPTS_BORNE = 10


class Node:
    """A place on one log. Every method may be called from any thread.

    Threads that call `execute` together share commits: one leads, appends for all that wait, and
    hands the lead on (flat combining). A lone caller pays nothing for it.
    """

    def __init__(self, log: EventLog, *, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self._closed = False
        self._set_up()

    def _set_up(self) -> None:
        """All that a forked child must not share with its parent."""
        self.name = _node_name()
        self._wakes: list[Callable[[], None]] = []
        # Held while the projection is read or changed: one commit, or one look, at a time.
        self._lock = threading.Lock()
        # Held for moments only, around who waits and who leads.
        self._guard = threading.Lock()
        self._waiting: deque[Command] = deque()
        # Whose thread commits, or is about to; the commands in its commit.
        self._leader: Command | None = None
        self._batch: list[Command] = []
        self._projection: Projection | None = None
        self._time = SteadyTime(self.clock)
        self._undisturbed = 0
        self._in_flight: tuple[Plan, Commit] | None = None
        # The runner's own: what it ran last on this node, whose workers may outlive it.
        self.last_run: object = None

    def execute(self, command: Command) -> Command:
        """Decides and appends; when it returns, the command's events are durable and applied.

        Raises what the command's decision raised, or a LogError: then nothing was appended. What
        a signal handler raises ends this call alone; others' commands go on under another leader.
        """
        self._check_open()
        try:
            with self._guard:
                self._waiting.append(command)
                if self._leader is None:
                    self._leader = command
            while not command.done:
                if self._leader is command:
                    self._lead()
                else:
                    command.ready.acquire()
        except BaseException:
            try:
                self._leave(command)
            except BaseException:
                # One more interrupt came where no function of ours can catch it.
                self._leave(command)
                raise
            raise
        if command.error is not None:
            raise command.error
        return command

    def reading(self, *, as_left: bool = False) -> AbstractContextManager[Projection]:
        """The projection, caught up, while the block lasts. Do not keep it or execute inside.

        ``as_left`` by the last commit or look will do: the log is not asked.
        """
        self._check_open()
        return Holding(self._lock, self._as_left if as_left else self._looked_up)

    def now(self, *, at_least: int = 0) -> int:
        """The node's time in microseconds: the log's clock, but never behind the log or itself.

        What is more than a minute ahead of the clock is not followed; see SteadyTime.
        """
        return self._time.now(offset_us=self.log.clock_offset_us(), at_least=at_least)

    def warn_again(self) -> None:
        """Has the next look at a log that is ahead of the clock warn, even if one has before."""
        self._time.warn_again()

    @property
    def projection(self) -> Projection:
        """The projection as it is; for use inside a decision, where it is caught up."""
        assert self._projection is not None
        return self._projection

    def find(self, key: str) -> Task:
        """The task with this key, final or not; for use inside a decision or `reading`.

        Raises TaskNotFoundError.
        """
        number = int(key) if key.isdigit() and key.isascii() else self._number_of(key)
        task = None
        if number is not None and number != NODE:
            task = self.projection.tasks.get(number) or task_of(self.log, number)
            # A caller's key hides the number: a task is found by one name only.
            if task is not None and task.key == key:
                return task
        raise TaskNotFoundError(key, known_as=None if task is None else task.key)

    def on_append(self, wake: Callable[[], None]) -> None:
        """Has ``wake`` called after each append of this node, on the appending thread."""
        self._wakes.append(wake)

    def off_append(self, wake: Callable[[], None]) -> None:
        """Ends `on_append`."""
        if wake in self._wakes:
            self._wakes.remove(wake)

    def after_fork(self) -> None:
        """Makes a forked child a node of its own, with nothing shared with its parent."""
        self.log.after_fork()
        self._set_up()

    def close(self) -> None:
        """Closes the log once the commit in progress is done; may come twice."""
        self._closed = True
        with self._lock:
            self.log.close()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosedError("the queue is closed")

    def _looked_up(self) -> Projection:
        if self._in_flight is not None:
            # Its thread was interrupted; nobody knows yet whether it arrived.
            self._projection = None
        return self._caught_up()

    def _as_left(self) -> Projection:
        known = self._projection if self._in_flight is None else None
        return self._looked_up() if known is None else known

    def _leave(self, command: Command) -> None:
        """After an interrupt: `_let_go`, again if one more interrupt breaks that off."""
        for _ in range(INTERRUPTS_BORNE):
            try:
                self._let_go(command)
            except BaseException:  # noqa: BLE001, S112 - the first interrupt is raised in the end
                continue
            return

    def _let_go(self, command: Command) -> None:
        """Takes the wish back unless it is begun on, and passes the lead on.

        Reads and waits for nothing: what became of a commit in flight the next leader finds out.
        """
        with self._guard:
            command.gone = True
            if command in self._waiting:
                self._waiting.remove(command)
        if self._leader is command:
            self._finish()
            # The interrupt may have come before those were woken who wait for appends.
            self._ring()
        with self._guard:
            # The interrupt may have come between choosing a leader and waking it.
            wake_thread(self._leader)

    def _lead(self) -> None:
        """Commits for everybody who waits, then hands the lead to the next in line.

        What the log says is told to all in the commit; what struck this thread is raised here.
        """
        with self._lock:
            try:
                if self._in_flight is None:
                    self._commit()
                else:
                    self._take_over()
            except EventqError as error:
                raise_interrupt(error)
                self._take_waiting()
                self._break_off(error)
        self._finish()

    def _take_over(self) -> None:
        """Finds out what became of a commit whose leader was interrupted.

        Those in it who have not landed stay in line, with all others, for the next commit.
        """
        assert self._in_flight is not None
        plan, _ = self._in_flight
        self._take_waiting()
        try:
            self._resolve()
        except EventqError as unread:
            raise_interrupt(unread)
            for command in plan.commands:
                command.error = _outcome_unknown("its thread was interrupted", unread)
        self._in_flight = None

    def _finish(self) -> None:
        """Tells whose turn is over, puts the others back in line, and hands the lead on.

        An interrupt may break it off anywhere: `_leave` then does it again, which does no harm.
        """
        with self._guard:
            waiting = self._waiting
            for command in reversed(self._batch):
                if command.landed or command.error is not None:
                    command.done = True
                    wake_thread(command)
                elif not command.gone and command not in waiting:
                    waiting.appendleft(command)
            self._batch = []
            self._leader = waiting[0] if waiting else None
            wake_thread(self._leader)

    def _commit(self) -> None:
        """Plans, appends and applies one commit of all who wait, as far as there is room."""
        for _ in range(CONFLICTS_BORNE):
            guess, trusted = self._guess()
            with self._writer_slot(guess) as head:
                place = self._folded(head, read=head is guess and not trusted)
                # Taken as late as can be: whoever came while the log was read comes along.
                self._take_waiting()
                plan = self._plan(place, is_guess=head is guess and trusted)
                if plan.bodies:
                    commit = plan.sealed()
                    self._in_flight = (plan, commit)
                    fold = fold_ahead(self._projection, commit)
                    try:
                        self.log.append(commit, meanwhile=fold if self._is_alone() else None)
                    except LogError as error:
                        raise_interrupt(error)
                        self._take_back(fold)
                        if isinstance(error, LogConflictError):
                            self._undisturbed = 0
                            continue
                        raise
            if plan.bodies:
                self._apply(plan, commit, fold)
            for command in plan.commands:
                command.landed = True
            # Not before all are marked: an interrupt would have the rest told a lie.
            self._in_flight = None
            if plan.bodies:
                self._ring()
            return
        raise LogUnavailableError(f"{CONFLICTS_BORNE} conflicts in a row; the log is too busy")

    def _writer_slot(self, guess: Head | None) -> AbstractContextManager[Head]:
        """The log's writer slot; with a guess, one that saves asking where the log ends, if any."""
        remote = self.log.remote
        if remote is None or guess is None:
            return self.log.writer_slot()
        return remote.writer_slot(guess)

    def _ring(self) -> None:
        for wake in self._wakes:
            try:
                wake()
            except Exception as error:  # noqa: BLE001 - it is nothing to those who have landed
                raise_interrupt(error)

    def _take_waiting(self) -> None:
        with self._guard:
            # One assignment, so that an interrupt finds each command in exactly one place.
            self._batch, self._waiting = [*self._batch, *self._waiting], deque()

    def _break_off(self, error: Exception) -> None:
        """After a commit was torn off: tells everybody in it, and guesses nothing."""
        try:
            self._resolve()
        except EventqError as unread:
            raise_interrupt(unread)
            error = _outcome_unknown(error, unread)
        self._in_flight = None
        for command in self._batch:
            # One that is in line again, since it found no room, has lost nothing.
            if not (command.landed or command.error or command in self._waiting):
                command.error = error

    def _resolve(self) -> None:
        """Reads back whether the commit in flight was made."""
        if self._in_flight is None:
            return
        plan, commit = self._in_flight
        # It may have been torn off in the middle of a fold.
        self._projection = None
        found = self.log.read(after=commit.first - 1, limit=1)
        if found and found[0].id == commit.id:
            for command in plan.commands:
                start = command.first - commit.first
                numbers = commit.tasks[start : start + len(command.drafts)]
                command.tasks = [task_of(self.log, number) for number in numbers]
                command.landed = True

    def _guess(self) -> tuple[Head | None, bool]:
        """Where the log ends if nobody else has appended, and whether that is likely enough.

        Only leases and outcomes are decided by a guess: they meet a conflict if it is wrong. For
        others it saves asking for the head, since the log is read anyway. None for blind ones.
        """
        with self._guard:
            commands = (*self._batch, *self._waiting)
        known = self._projection
        if known is None or all(command.blind for command in commands):
            return None, False
        trusted = self._is_alone() and all(command.leasing for command in commands)
        return head_of(known), trusted

    def _folded(self, head: Head, *, read: bool) -> Head:
        """Brings the projection up to the head, unless all who wait are blind.

        Gives where it stands: on a log without exclusive turns others may have gone on. To
        ``read`` is to take the head for a guess, and to see what the log holds behind it.
        """
        if read:
            known = self._caught_up(briefly=True)
            # Where nothing is new, only the head tells whether a failover took something back.
            head = self.log.head() if known.seq == head.seq else head_of(known)
        with self._guard:
            blind = all(command.blind for command in (*self._batch, *self._waiting))
        projection = self._projection
        if projection and projection.seq >= head.seq and projection.seal != head.seal:
            projection = self._projection = None  # A failover took back what was folded.
        if blind:
            return head
        if not (projection and projection.seq == head.seq):
            projection = self._caught_up()
        if projection.unknown is not None:
            seq, kind = projection.unknown
            raise LogTooNewError(f"event {seq} is of the unknown kind {kind!r}: upgrade eventq")
        return head_of(projection)

    def _plan(self, head: Head, *, is_guess: bool) -> Plan:
        now = self.now(at_least=head.at)
        plan = Plan(head, now, max(now, head.at))
        # By the seal, not the position: a failover may have put another history there.
        caught_up = self._projection is not None and self._projection.seal == head.seal
        for command in sorted(self._batch, key=lambda command: not command.leasing):
            command.error = None
            if not (command.blind or (caught_up and (command.leasing or not is_guess))):
                # It came after a head was found that was enough for others: the next commit's.
                continue
            try:
                drafts = command.decide(plan.now)
                if plan.now != plan.at:
                    drafts = dated(drafts, plan.now)
                texts = encode_bodies([body for _, body in drafts])
            except Exception as error:  # noqa: BLE001 - its own caller raises it
                raise_interrupt(error)
                command.error = error
                continue
            if plan.admits(drafts, texts):
                plan.add(command, drafts, texts)
        return plan

    def _is_alone(self) -> bool:
        """Whether nobody else has appended lately, as far as this node has seen."""
        return self._undisturbed >= ALONE

    def _apply(self, plan: Plan, commit: Commit, fold: FoldAhead | None) -> None:
        """Folds the commit, unless it is not right behind, and gives commands their tasks."""
        if fold is None:
            for command in plan.commands:
                command.tasks = command.created(self.log.namespace, commit.at)
            return
        try:
            after = fold.after()
        except BaseException:
            # Half a fold is no projection; the next command builds a new one from the log.
            self._projection = None
            raise
        self._undisturbed += 1
        for command in plan.commands:
            start = command.first - commit.first
            command.tasks = after[start : start + len(command.drafts)]

    def _take_back(self, fold: FoldAhead | None) -> None:
        """After an append that failed: has the projection as it was, or none if that breaks off."""
        known, self._projection = self._projection, None
        self._in_flight = None  # The log has said what is known of it.
        if fold is None or fold.take_back():
            self._projection = known

    def _caught_up(self, *, briefly: bool = False) -> Projection:
        known = self._projection or restore_newest(self.log)
        projection = known or Projection(self.log.namespace)
        before = projection.seq
        # Should the fold break off half-way, the next one starts anew.
        self._projection = None
        try:
            catch_up(projection, self.log, briefly=briefly)
        except LogUnavailableError as error:
            if interrupt_in(error) is not error:
                self._projection = projection  # Reading broke off, not the fold, which can go on.
            raise
        except (LogArchivedError, LogCorruptError) as error:
            raise_interrupt(error)
            is_archived = isinstance(error, LogArchivedError)
            if known is None and not is_archived:
                raise
            # What comes next was archived, or a failover took it back; else this fails again.
            logger.warning("folding the log anew", extra={"error": str(error)})
            kept = restore_newest(self.log) if is_archived else None
            projection = kept or projection_at_start(self.log, until=projection.seq)
            catch_up(projection, self.log)
        self._projection = projection
        self.now(at_least=projection.at)
        if projection.decided_at != projection.at:
            self.now(at_least=projection.decided_at)
        self._undisturbed = self._undisturbed if projection.seq == before else 0
        return projection

    def _number_of(self, key: str) -> int | None:
        number = self.projection.number_of(key)
        return self.log.find_keys([key]).get(key) if number is None else number


def _outcome_unknown(problem: object, unread: EventqError) -> LogOutcomeUnknownError:
    return LogOutcomeUnknownError(
        f"{problem}; it is not known whether the commit was made, for the log says: {unread}"
    )


def _node_name() -> str:
    """Random for each process; host and process id are there to help a reader."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:32] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
