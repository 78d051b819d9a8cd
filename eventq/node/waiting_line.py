"""Who waits for a commit, whose commit is being made, and whose thread makes it.

An interrupt may strike between any two steps: each command is always in one place, and each step
may be done again without harm. What a caller asked for is a value of `core`; here is only what
happens to it in this process.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

from eventq.core.command import Command, Decision, Draft
from eventq.core.events import Created
from eventq.core.moves import create
from eventq.core.task import Task
from eventq.node.visit import Visit

R = TypeVar("R")


class Committed(Struct, Generic[R], frozen=True, gc=False):
    """What became of a command: its events are in the log, one behind the other."""

    first: int
    """Position of the first event."""
    events: list[Draft]
    tasks: list[Task | None]
    """The task after each event."""
    result: R


class PendingCommand(Struct, Generic[R], eq=False):
    """One caller's place in line, with the lock that its thread waits for."""

    command: Command[R]
    ready: threading.Lock = field(default_factory=threading.Lock)
    """Held, unless it leads, until it is done or its thread is chosen to lead the next commit."""
    decision: Decision[R] | None = None
    first: int = 0
    tasks: list[Task | None] = []
    error: BaseException | None = None
    committed: bool = False
    """Its events, if it has any, are in the log."""
    done: bool = False
    abandoned: bool = False
    """Its thread was interrupted and no longer waits."""
    visit: Visit | None = None
    """The block that runs inside its commit, which is then its alone."""

    @property
    def events(self) -> list[Draft]:
        """The events of its last decision."""
        return [] if self.decision is None else self.decision.events

    def wake(self) -> None:
        """Has its thread look whether it is done or leads; once too often does no harm."""
        ready = self.ready
        if ready.locked():
            ready.release()

    def outcome(self) -> Committed[R]:
        """What the caller is given. Raises what the command ended with instead."""
        if self.error is not None:
            raise self.error
        assert self.decision is not None, "a command is done once it is decided"
        return Committed(self.first, self.decision.events, self.tasks, self.decision.result)

    def created(self, namespace: str, at: int) -> list[Task | None]:
        """The tasks that its events created, without a projection; None for other events."""
        tasks: list[Task | None] = []
        seq = self.first
        for _, body in self.events:
            if type(body) is Created:
                decided_at = at if body.decided_at is None else body.decided_at
                tasks.append(create(namespace, seq, decided_at, body))
            else:
                tasks.append(None)
            seq += 1
        return tasks


class WaitingLine:
    """The commands of all threads, first come first served."""

    def __init__(self) -> None:
        self.waiting: deque[PendingCommand[Any]] = deque()
        self.visitors: deque[PendingCommand[Any]] = deque()
        """Those who share no commit."""
        self.leader: PendingCommand[Any] | None = None
        """Whose thread commits, or is about to."""
        self.batch: list[PendingCommand[Any]] = []
        """The commands in the leader's commit."""
        # Held for moments only.
        self._guard = threading.Lock()

    def join(self, pending: PendingCommand[Any]) -> None:
        """Puts a command at the end; it leads when there is no leader."""
        with self._guard:
            if self.leader is None:
                self.leader = pending
            else:
                pending.ready.acquire()
            self._place_of(pending).append(pending)

    def take_visitor(self, pending: PendingCommand[Any]) -> None:
        """Takes one who shares no commit into its own."""
        with self._guard:
            self.batch, self.visitors = (
                [pending],
                deque(each for each in self.visitors if each is not pending),
            )

    def take_waiting(self) -> None:
        """Takes all who wait into the commit."""
        if not self.waiting:
            return
        with self._guard:
            # One assignment, so that an interrupt finds each command in exactly one place.
            self.batch, self.waiting = [*self.batch, *self.waiting], deque()

    def is_unconditional(self) -> bool:
        """Whether no command in the commit needs a projection."""
        for pending in self.batch:  # noqa: SIM110 - `all` costs lone callers twice as much
            if not pending.command.unconditional:
                return False
        return True

    def hand_on(self) -> None:
        """Wakes whose command is done, puts the others back in line, and chooses who leads."""
        with self._guard:
            visited = self.leader is not None and self.leader.visit is not None
            for pending in reversed(self.batch):
                if pending.committed or pending.error is not None:
                    pending.done = True
                    if pending is not self.leader:
                        pending.wake()
                elif not pending.abandoned and pending not in (line := self._place_of(pending)):
                    line.appendleft(pending)
            self.batch = []
            # The two take turns.
            lines = (self.waiting, self.visitors) if visited else (self.visitors, self.waiting)
            line = lines[0] or lines[1]
            self.leader = line[0] if line else None
            if self.leader is not None:
                self.leader.wake()

    def abandon(self, pending: PendingCommand[Any]) -> None:
        """Takes a command back unless its commit has begun; its thread no longer waits."""
        with self._guard:
            pending.abandoned = True
            if pending in (line := self._place_of(pending)):
                line.remove(pending)

    def _place_of(self, pending: PendingCommand[Any]) -> deque[PendingCommand[Any]]:
        return self.waiting if pending.visit is None else self.visitors

    def wake_leader(self) -> None:
        """Wakes the leader: an interrupt may have come between choosing and waking it."""
        with self._guard:
            if self.leader is not None:
                self.leader.wake()
