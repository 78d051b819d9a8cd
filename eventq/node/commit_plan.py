"""The plan of a commit that several commands share; no command is ever half in it.

Nothing here reads or writes a log.
"""

from __future__ import annotations

import os
import random

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.command import Draft
from eventq.core.events import (
    COMMIT_BYTES,
    COMMIT_EVENTS,
    NODE,
    AnyBody,
    Commit,
    Created,
    Followed,
    Retried,
    Unfollowed,
)
from eventq.core.seal import seal_commit
from eventq.eventlog.contract import Head


def dated(drafts: list[Draft], now: int) -> list[Draft]:
    """The drafts, each saying by what instant it was decided."""
    return [(number, replace(body, decided_at=now)) for number, body in drafts]


class CommitPlan(Struct):
    """What one commit will hold. A command that finds no room waits for the next one."""

    head: Head
    now: int
    """What decisions go by."""
    at: int
    """The stamp: never behind the head's, and so ahead of `now` where that one is."""
    tasks: list[int] = []
    keys: dict[str, int] = {}
    bodies: list[str] = []
    size_bytes: int = 0
    touched: set[int] = set()
    taken: set[tuple[str, str]] = set()
    """Unique values that tasks are made or reopened with, and followers."""

    def admits(self, drafts: list[Draft], texts: list[str]) -> bool:
        """Whether the drafts fit: in number, in bytes, and touching nothing twice.

        That is no task, no key, no unique value and no follower: whoever decided to take one did
        not see that another does, in the same commit.
        """
        if not self.bodies:
            return True
        if len(self.bodies) + len(drafts) > COMMIT_EVENTS:
            return False
        if self.size_bytes + _size_bytes(texts) > COMMIT_BYTES:
            return False
        return all(
            (body.key not in self.keys if type(body) is Created else number not in self.touched)
            and _taken_by(body) not in self.taken
            for number, body in drafts
        )

    def add(self, drafts: list[Draft], texts: list[str]) -> int:
        """Gives the drafts the next positions, and returns the first of them."""
        first = self.head.seq + len(self.bodies) + 1
        for seq, (number, body) in enumerate(drafts, first):
            if type(body) is Created:
                # A task's number is its created event's position.
                self.tasks.append(seq)
                if body.key is not None:
                    self.keys[body.key] = seq
                if body.unique is not None:
                    self.taken.add(("unique", body.unique))
                continue
            if number != NODE:
                self.touched.add(number)
            if (taken := _taken_by(body)) is not None:
                self.taken.add(taken)
            self.tasks.append(number)
        self.bodies += texts
        self.size_bytes += _size_bytes(texts)
        return first

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


def _taken_by(body: AnyBody) -> tuple[str, str] | None:
    """The unique value that a task is open with from this event on, or the event's follower."""
    unique = None
    if type(body) is Created:
        unique = body.unique
    elif type(body) is Retried and body.reopens is not None:
        unique = body.reopens.unique
    elif isinstance(body, (Followed, Unfollowed)):
        return "follower", body.follower
    return None if unique is None else ("unique", unique)


# Ids only have to differ, and asking the kernel for each would give up the GIL. Its own generator:
# a program that seeds the common one in all its processes must not make their commits alike.
_ids = random.Random()  # noqa: S311 - guards nothing
os.register_at_fork(after_in_child=_ids.seed)


def _size_bytes(texts: list[str]) -> int:
    return len("".join(texts).encode())
