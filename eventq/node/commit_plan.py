"""Commands that wait for the node, and the plan of the commit they will share.

Nothing here reads or writes a log, and no command is ever half in a plan.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

from msgspec import Struct

from eventq.core.decide import Draft
from eventq.core.events import COMMIT_BYTES, COMMIT_EVENTS, NODE, Commit, Created
from eventq.core.projection import Projection
from eventq.core.seal import seal_commit
from eventq.core.task import Task, create
from eventq.eventlog.contract import Head


class Command:
    """One caller's wish, and after `Node.execute` what became of it.

    ``decide(now)`` is called with the node caught up, and gives drafts or raises; it may be called
    again after a conflict. A ``blind`` command needs only the log's head, never the projection.
    A ``leasing`` one stands first in its commit, so that its choice is right at its position.
    """

    __slots__ = (
        "blind", "decide", "done", "drafts", "error", "first", "gone", "landed", "leasing", "ready",
        "tasks",
    )  # fmt: skip

    def __init__(
        self,
        decide: Callable[[int], list[Draft]],
        *,
        blind: bool = False,
        leasing: bool = False,
    ) -> None:
        self.decide = decide
        self.blind = blind
        self.leasing = leasing
        self.drafts: list[Draft] = []
        self.first = 0
        """Position of the command's first event; they follow each other."""
        self.tasks: list[Task | None] = []
        """The task after each of the command's events."""
        self.error: BaseException | None = None
        self.landed = False
        """Its events, if it has any, are in the log."""
        self.done = False
        self.gone = False
        """Its thread was interrupted and waits no more."""
        # Held until the command is done, or its thread is chosen to lead the next commit.
        self.ready = threading.Lock()
        self.ready.acquire()

    def created(self, namespace: str, at: int) -> list[Task | None]:
        """The tasks that its events created, without a projection; None for other events."""
        return [
            create(namespace, seq, at, body, body.policy) if type(body) is Created else None
            for seq, (_, body) in enumerate(self.drafts, self.first)
        ]


def wake_thread(command: Command | None) -> None:
    """Has the command's thread look whether it is done or leads; once too often does no harm."""
    if command is not None and command.ready.locked():
        command.ready.release()


def head_of(projection: Projection) -> Head:
    """Where a log ends that the projection is the whole fold of."""
    return Head(projection.seq, projection.at, projection.seal)


class Plan(Struct):
    """What one commit will hold, the commands in order. Who finds no room takes the next one."""

    head: Head
    at: int
    commands: list[Command] = []
    tasks: list[int] = []
    keys: dict[str, int] = {}
    bodies: list[str] = []
    size_bytes: int = 0
    touched: set[int] = set()

    def admits(self, drafts: list[Draft], texts: list[str]) -> bool:
        """Whether the drafts fit: in number, in bytes, and touching no task or key twice."""
        if not self.bodies:
            return True
        if len(self.bodies) + len(drafts) > COMMIT_EVENTS:
            return False
        if self.size_bytes + _size_bytes(texts) > COMMIT_BYTES:
            return False
        return all(
            body.key not in self.keys if type(body) is Created else number not in self.touched
            for number, body in drafts
            if number != NODE
        )

    def add(self, command: Command, drafts: list[Draft], texts: list[str]) -> None:
        """Gives the drafts the next positions."""
        command.drafts = drafts
        seq = self.head.seq + len(self.bodies)
        command.first = seq + 1
        self.commands.append(command)
        for number, body in drafts:
            seq += 1
            if type(body) is Created:
                number = seq  # noqa: PLW2901 - a task's number is its created event's position
                if body.key is not None:
                    self.keys[body.key] = seq
            else:
                self.touched.add(number)
            self.tasks.append(number)
        self.bodies += texts
        self.size_bytes += _size_bytes(texts)

    def sealed(self) -> Commit:
        """The commit, chained to the head, under a new random id."""
        return seal_commit(
            commit_id=f"{_ids.getrandbits(128):032x}",
            first=self.head.seq + 1,
            at=self.at,
            prev=self.head.seal,
            tasks=self.tasks,
            keys=self.keys,
            bodies=self.bodies,
        )


# Ids only have to differ, and asking the kernel for each would give up the GIL. Its own generator:
# a program that seeds the common one in all its processes must not make their commits alike.
_ids = random.Random()  # noqa: S311 - guards nothing
os.register_at_fork(after_in_child=_ids.seed)


def _size_bytes(texts: list[str]) -> int:
    return len("".join(texts).encode())
