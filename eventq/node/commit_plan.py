"""The plan of a commit that several commands share; no command is ever half in it.

Nothing here reads or writes a log.
"""

from __future__ import annotations

import os
import random

from msgspec.structs import replace

from eventq.core.command import Draft
from eventq.core.commits import OF_RULES, OF_SCHEDULES, AnyBody, Commit
from eventq.core.events import ByHand, Created, Retried
from eventq.core.link import logged_key
from eventq.core.queue_events import Followed, Limited, Paused, Resumed, Shared, Unfollowed
from eventq.core.seal import seal_commit
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS, NODE, Predecessor
from eventq.eventlog.contract import Head

# Beside `created`, what may take something that only one may have.
TAKING = frozenset({Retried, Followed, Unfollowed, *OF_SCHEDULES, *OF_RULES})


def dated(drafts: list[Draft], now: int) -> list[Draft]:
    """The drafts, each saying by what instant it was decided."""
    return [(number, replace(body, decided_at=now)) for number, body in drafts]


class CommitPlan:
    """What one commit will hold. A command that finds no room waits for the next one."""

    __slots__ = (
        "_bulks",
        "_head",
        "_size_bytes",
        "_taken",
        "_touched",
        "at",
        "bodies",
        "keys",
        "tasks",
    )

    def __init__(self, head: Head, now: int) -> None:
        """``now`` is what decisions go by."""
        # The stamp is never behind the head's, and so ahead of `now` where that one is.
        self.at = max(now, head.at)
        self.tasks: list[int] = []
        self.keys: dict[str, int] = {}
        self.bodies: list[str] = []
        self._head = head
        self._size_bytes = 0
        self._touched: set[int] = set()
        # Unique values that tasks are made or reopened with, followers, schedules, limits, pauses.
        self._taken: set[tuple[str, object]] = set()
        # Changes to many tasks: what says that one is over did not see what else it does here.
        self._bulks: set[int] = set()

    def add(self, drafts: list[Draft], texts: list[str]) -> int | None:
        """Gives the drafts the next positions, and returns the first of them.

        It returns None where they do not fit: in number, in bytes, or since they touch a task, a
        key, a unique value, a follower, a schedule, a limit, a pause or a bulk that is touched:
        whoever decided to take one did not see that another does, in the same commit.
        """
        size_bytes = len("".join(texts).encode())
        if self.bodies and not self._admits(drafts, size_bytes):
            return None
        first = seq = self.next_seq
        for number, body in drafts:
            if type(body) is Created:
                # A task's number is its created event's position.
                self.tasks.append(seq)
                if (key := logged_key(body)) is not None:
                    self.keys[key] = seq
                if body.unique is not None:
                    self._taken.add(("unique", body.unique))
            else:
                self.tasks.append(number)
                if number != NODE:
                    self._touched.add(number)
                if isinstance(body, ByHand) and body.bulk is not None:
                    self._bulks.add(body.bulk)
                if type(body) in TAKING and (taken := _taken_by(body)) is not None:
                    self._taken.add(taken)
            seq += 1
        self.bodies += texts
        self._size_bytes += size_bytes
        return first

    @property
    def next_seq(self) -> int:
        """The position of what is added next."""
        return self._head.seq + len(self.bodies) + 1

    def sealed(self) -> Commit:
        """The commit, chained to the head, under a new random id."""
        head = self._head
        return seal_commit(
            commit_id=f"{_ids.getrandbits(128):032x}",
            first=head.seq + 1,
            at=self.at,
            prev=head.seal,
            tasks=self.tasks,
            keys=self.keys,
            bodies=self.bodies,
        )

    def _admits(self, drafts: list[Draft], size_bytes: int) -> bool:
        """Whether the drafts find room behind others."""
        if len(self.bodies) + len(drafts) > COMMIT_EVENTS:
            return False
        if self._size_bytes + size_bytes > COMMIT_BYTES:
            return False
        for number, body in drafts:
            if type(body) is Created:
                if logged_key(body) in self.keys or self._has_touched(body.after):
                    return False
            elif number in self._touched or self._has_touched(_after(body)):
                return False
        if self._bulks and any(isinstance(b, ByHand) and b.bulk in self._bulks for _, b in drafts):
            return False
        return not self._taken or all(_taken_by(body) not in self._taken for _, body in drafts)

    def _has_touched(self, after: tuple[Predecessor, ...]) -> bool:
        """Whether it changes a task of which was said where it stands."""
        return bool(after) and any(each.task in self._touched for each in after)


def _after(body: AnyBody) -> tuple[Predecessor, ...]:
    """The tasks of which the event says where they stand."""
    return body.reopens.after if type(body) is Retried and body.reopens is not None else ()


def _taken_by(body: AnyBody) -> tuple[str, object] | None:
    """What only one event of a commit may say something about.

    The unique value that a task is open with from there on, a follower, a schedule, a limit, turns,
    a pause.
    """
    unique = None
    if type(body) is Created:
        unique = body.unique
    elif type(body) is Retried and body.reopens is not None:
        unique = body.reopens.unique
    elif isinstance(body, (Followed, Unfollowed)):
        return "follower", body.follower
    elif isinstance(body, OF_SCHEDULES):
        return "schedule", body.schedule
    elif isinstance(body, Limited):
        return "limit", body.limit
    elif isinstance(body, Shared):
        return "turns", None
    elif isinstance(body, (Paused, Resumed)):
        return "pause", body.scope
    return None if unique is None else ("unique", unique)


# Ids only have to differ, and asking the kernel for each would give up the GIL. Its own generator:
# a program that seeds the common one in all its processes must not make their commits alike.
_ids = random.Random()  # noqa: S311 - guards nothing
os.register_at_fork(after_in_child=_ids.seed)
