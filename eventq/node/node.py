"""One process's place on a log: catch up, decide, append, apply, with group commit.

State changes by this one door. Nothing here knows what a command means or which log it is.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

from eventq.core.command import NOTHING, Command
from eventq.core.lookup import look_up
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import (
    ArgumentError,
    QueueClosedError,
    ReentrantCallError,
    TransactionError,
)
from eventq.eventlog.contract import EventLog, Head
from eventq.host.clock import Clock, SteadyTime
from eventq.host.interrupts import Holding, raise_interrupt
from eventq.node.committer import Committer
from eventq.node.folded_log import FoldedLog
from eventq.node.logged_past import LoggedPast
from eventq.node.standby import Standby
from eventq.node.visit import Visit, under_way, visiting
from eventq.node.waiting_line import Committed, PendingCommand, WaitingLine

R = TypeVar("R")

# Interrupts swallowed while one is being cleaned up after: half of that would leave all others
# waiting for a leader who has gone. That takes microseconds and waits for nothing.
INTERRUPTS_BORNE = 10
ELSEWHERE = (
    "a queue in a SQLite file of eventq's; beside another database, an outbox makes tasks together "
    "with rows"
)
INSIDE = "the queue waits for its end: make tasks by the transaction itself"


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
        self._time = SteadyTime(self.clock)
        self._line = WaitingLine()
        self._past = LoggedPast(self.log)
        self._folded = FoldedLog(self.log, now=self.now)
        self.standby = Standby(self.name, self.clock)
        """What a run at rest offers; see there."""
        self._committer = Committer(
            self.log,
            self._line,
            self._folded,
            self._past,
            self.standby,
            name=self.name,
            now=self.now,
            ring=self._ring,
        )
        # The commands of the threads in `execute`, by thread: a signal handler that comes back here
        # would wait for itself. Those that were interrupted stay, and are abandoned.
        self._inside: dict[int, PendingCommand[Any]] = {}

    def execute(self, command: Command[R]) -> Committed[R]:
        """Decides and appends; when it returns, the command's events are durable and applied.

        Raises what the command's decision raised, or a LogError: then nothing was appended. What
        a signal handler raises ends this call alone; others' commands go on under another leader.
        """
        return self._execute(PendingCommand(command))

    def visit(self, timeout_s: float) -> Visit:
        """A block of the caller's that is to run inside a commit, see there; not begun yet.

        Raises ArgumentError where the log takes no statements of a user's.
        """
        self._check_open()
        if self.log.hosting is None:
            raise ArgumentError("transaction", self.log.url, ELSEWHERE)
        return Visit(self._host, place=self.log.url, timeout_s=timeout_s)

    def _host(self, visit: Visit) -> Committed[Any]:
        return self._execute(PendingCommand(NOTHING, visit=visit))

    def _execute(self, pending: PendingCommand[R]) -> Committed[R]:
        thread = get_ident()
        if self._closed or under_way or thread in self._inside:
            self._check_open()
            self._check_not_inside()
        try:
            self._inside[thread] = pending
            self._line.join(pending)
            while not pending.done:
                if self._line.leader is pending:
                    with self._lock:
                        if pending.visit is None:
                            self._committer.commit()
                        else:
                            self._committer.host(pending, pending.visit)
                    self._line.hand_on()
                else:
                    pending.ready.acquire()
            self._inside.pop(thread, None)
        except BaseException:
            try:
                self._leave(pending)
            except BaseException:
                # One more interrupt came where no function of ours can catch it.
                self._leave(pending)
                raise
            raise
        return pending.outcome()

    def reading(self, *, as_left: bool = False) -> AbstractContextManager[Projection]:
        """The projection, caught up, while the block lasts. Do not keep it or execute inside.

        With ``as_left`` it is as the last commit or look left it, and the log is not asked.
        """
        self._check_open()
        self._check_not_inside()
        # Briefly: what came after this call began need not be seen.
        look = self._as_left if as_left else partial(self._folded.catch_up, briefly=True)
        return Holding(self._lock, look)

    def head(self) -> Head:
        """The log's end, which the projection need not have come to."""
        self._check_open()
        return self.log.head()

    def now(self, *, at_least: int = 0) -> int:
        """The node's time in microseconds: the log's clock, but never behind the log or itself.

        It does not follow a log that is more than a minute ahead of the clock; see SteadyTime.
        """
        return self._time.now(offset_us=self.log.clock_offset_us(), at_least=at_least)

    def warn_again(self) -> None:
        """Has the next look at a log that is ahead of the clock warn, even if one has before."""
        self._time.warn_again()

    def find(self, key: str) -> Task:
        """The task with this key, final or not; for use inside `reading`.

        Raises TaskNotFoundError.
        """
        projection = self._folded.projection
        assert projection is not None, "it is caught up inside `reading`"
        return look_up(projection, self._past, key)

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

    def _check_not_inside(self) -> None:
        pending = self._inside.get(get_ident())
        if pending is not None and not pending.abandoned:
            raise ReentrantCallError
        self.check_not_visiting()

    def check_not_visiting(self) -> None:
        """Raises TransactionError inside a block of this log's, which would have to end first."""
        if under_way and (visit := visiting.get()) and visit.place == self.log.url:
            raise TransactionError(INSIDE)

    def _as_left(self) -> Projection:
        known = self._folded.projection if self._committer.in_flight is None else None
        return self._folded.catch_up() if known is None else known

    # Interrupts.

    def _leave(self, pending: PendingCommand[Any]) -> None:
        """After an interrupt: `_let_go`, again if one more interrupt breaks that off."""
        for _ in range(INTERRUPTS_BORNE):
            try:
                self._let_go(pending)
            except BaseException:  # noqa: BLE001, S112 - the first interrupt is raised in the end
                continue
            return

    def _let_go(self, pending: PendingCommand[Any]) -> None:
        """Takes the command back unless its commit has begun, and passes the lead on.

        Reads and waits for nothing: the next leader finds out what became of a commit in flight.
        """
        self._line.abandon(pending)
        if self._line.leader is pending:
            self._line.hand_on()
            # The interrupt may have come before those were woken who wait for appends.
            self._ring()
        self._line.wake_leader()

    def _ring(self) -> None:
        for wake in self._wakes:
            try:
                wake()
            except Exception as error:  # noqa: BLE001 - those in the commit have what they want
                raise_interrupt(error)


def _node_name() -> str:
    """Random for each process; host and process id are there to help a reader."""
    host = "".join(c if c.isalnum() else "-" for c in socket.gethostname())[:32] or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
