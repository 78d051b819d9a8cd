"""Who waits for a commit, whose commit is being made, and whose thread makes it.

An interrupt may strike between any two steps: each command is always in one place, and each step
may be done again without harm.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from eventq.node.pending_command import PendingCommand


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

    def everybody(self) -> list[PendingCommand[Any]]:
        """Those in the commit, and those who wait."""
        with self._guard:
            return [*self.batch, *self.waiting]

    def take_waiting(self) -> None:
        """Takes all who wait into the commit."""
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
