"""Who waits for a commit, whose commit is being made, and whose thread makes it.

An interrupt may strike between any two steps: each command is always in one place, and each step
may be done again without harm. What a caller asked for is a value of `core`; here is only what
happens to it in this process.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Generic, TypeVar

from msgspec import Struct

from eventq.core.command import Command, Decision, Draft
from eventq.core.events import Created, time_of
from eventq.core.moves import create
from eventq.core.task import Task

R = TypeVar("R")


class Committed(Struct, Generic[R], frozen=True, gc=False):
    """What became of a command: its events are in the log, one behind the other."""

    first: int
    """Position of the first event."""
    events: list[Draft]
    tasks: list[Task | None]
    """The task after each event."""
    result: R


class PendingCommand(Generic[R]):
    """One caller's place in line, with the lock that its thread waits for."""

    __slots__ = (
        "abandoned", "command", "committed", "decision", "done", "error", "first", "ready", "tasks",
    )  # fmt: skip

    def __init__(self, command: Command[R]) -> None:
        self.command = command
        self.decision: Decision[R] | None = None
        self.first = 0
        self.tasks: list[Task | None] = []
        self.error: BaseException | None = None
        self.committed = False
        """Its events, if it has any, are in the log."""
        self.done = False
        self.abandoned = False
        """Its thread was interrupted and no longer waits."""
        # Held until the command is done, or its thread is chosen to lead the next commit.
        self.ready = threading.Lock()
        self.ready.acquire()

    @property
    def events(self) -> list[Draft]:
        """The events of its last decision."""
        return [] if self.decision is None else self.decision.events

    def wake(self) -> None:
        """Has its thread look whether it is done or leads; once too often does no harm."""
        if self.ready.locked():
            self.ready.release()

    def outcome(self) -> Committed[R]:
        """What the caller is given. Raises what the command ended with instead."""
        if self.error is not None:
            raise self.error
        assert self.decision is not None, "a command is done once it is decided"
        return Committed(self.first, self.decision.events, self.tasks, self.decision.result)

    def created(self, namespace: str, at: int) -> list[Task | None]:
        """The tasks that its events created, without a projection; None for other events."""
        return [
            create(namespace, seq, time_of(at, body), body) if type(body) is Created else None
            for seq, (_, body) in enumerate(self.events, self.first)
        ]


class WaitingLine:
    """The commands of all threads, first come first served."""

    def __init__(self) -> None:
        self.waiting: deque[PendingCommand[Any]] = deque()
        self.leader: PendingCommand[Any] | None = None
        """Whose thread commits, or is about to."""
        self.batch: list[PendingCommand[Any]] = []
        """The commands in the leader's commit."""
        # Held for moments only.
        self._guard = threading.Lock()

    def join(self, pending: PendingCommand[Any]) -> None:
        """Puts a command at the end; it leads when there is no leader."""
        with self._guard:
            self.waiting.append(pending)
            if self.leader is None:
                self.leader = pending

    def take_waiting(self) -> None:
        """Takes all who wait into the commit."""
        if not self.waiting:
            return
        with self._guard:
            # One assignment, so that an interrupt finds each command in exactly one place.
            self.batch, self.waiting = [*self.batch, *self.waiting], deque()

    def hand_on(self) -> None:
        """Wakes whose command is done, puts the others back in line, and chooses who leads."""
        with self._guard:
            waiting = self.waiting
            for pending in reversed(self.batch):
                if pending.committed or pending.error is not None:
                    pending.done = True
                    pending.wake()
                elif not pending.abandoned and pending not in waiting:
                    waiting.appendleft(pending)
            self.batch = []
            self.leader = waiting[0] if waiting else None
            if self.leader is not None:
                self.leader.wake()

    def abandon(self, pending: PendingCommand[Any]) -> None:
        """Takes a command back unless its commit has begun; its thread no longer waits."""
        with self._guard:
            pending.abandoned = True
            if pending in self.waiting:
                self.waiting.remove(pending)

    def wake_leader(self) -> None:
        """Wakes the leader: an interrupt may have come between choosing and waking it."""
        with self._guard:
            if self.leader is not None:
                self.leader.wake()
