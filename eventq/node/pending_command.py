"""A command that waits for its commit, and what its caller is given once that is made.

What the caller asked for is a value of `core`; here is only what happens to it in this process.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

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
            create(namespace, seq, time_of(at, body), body, body.policy)
            if type(body) is Created
            else None
            for seq, (_, body) in enumerate(self.events, self.first)
        ]
