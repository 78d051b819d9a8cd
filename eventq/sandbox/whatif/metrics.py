"""Counting what became of tasks and how long they waited, recorded or simulated alike.

Waiting times are kept as plain numbers, eight bytes an attempt, since a median needs them all.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain

from msgspec import Struct

from eventq.core.durations import SECOND_US

# The shares that are told of waiting times.
MEDIAN, P95 = 50, 95
NEVER = -1


class Waits(Struct, frozen=True):
    """How long attempts waited, from the instant they might have begun to their lease.

    Also how long tasks waited or took, of which ``attempts`` counts one each. In microseconds; None
    where there was none. Each is a length that occurred (nearest rank).
    """

    attempts: int
    median_us: int | None
    p95_us: int | None
    max_us: int | None


class Numbers(Struct, frozen=True):
    """What became of the tasks of one trace or simulation."""

    workers: int
    """Attempts at a time, at the most."""
    tasks: int
    completed: int
    expired: int
    cancelled: int
    open: int
    """Tasks that had not come to an end when it ended."""
    attempts: int
    failures: int
    drawn: int
    """Attempts of which the trace says nothing, so that chance and rules had to."""
    makespan_us: int | None
    """From the first arrival to the last end of an attempt or task; None when nothing ended."""
    completed_per_s: float | None
    waits: Waits
    first_waits: Waits
    """By task: how long each waited for its first attempt."""
    durations: Waits
    """By task: how long it took from its creation to its end, for those that have ended."""
    by_share: dict[str, Waits]
    """By share, where turns are taken in the record or in the what-if; "" is that of tasks without
    one. Each is of the same tasks in all three accounts."""
    by_priority: dict[int, Waits]
    """By the priority that a task is created with in the what-if, so that each row is of the same
    tasks, whatever their priority was."""


class Metrics:
    """The numbers while they grow."""

    def __init__(self) -> None:
        self.tasks = 0
        self.ends = {"completed": 0, "expired": 0, "cancelled": 0}
        """Tasks that came to each end, without those brought back from it."""
        self.attempts = 0
        self.failures = 0
        self.drawn = 0
        # By the place of each task: when it was created, when it ended, whether it has begun.
        self._created_at: array[int] = array("q")
        self._ended_at: array[int] = array("q")
        self._has_begun = bytearray()
        self._first_waits: array[int] = array("q")
        self._first_at: int | None = None
        self._last_at: int | None = None
        self._waits: dict[int, array[int]] = defaultdict(lambda: array("q"))
        self._by_share: dict[str, array[int]] = defaultdict(lambda: array("q"))

    def arrive(self, place: int, at: int) -> None:
        """A task was created; ``place`` is its place in the trace."""
        self.tasks += 1
        lacking = place + 1 - len(self._created_at)
        if lacking > 0:
            self._created_at.extend([NEVER] * lacking)
            self._ended_at.extend([NEVER] * lacking)
            self._has_begun.extend(bytes(lacking))
        self._created_at[place] = at
        if self._first_at is None:
            self._first_at = at

    def begin(self, place: int, group: int, wait_us: int, share: str) -> None:
        """An attempt began."""
        self.attempts += 1
        if not self._has_begun[place]:
            self._has_begun[place] = True
            self._first_waits.append(wait_us)
        self._waits[group].append(wait_us)
        self._by_share[share].append(wait_us)

    def end(self, at: int) -> None:
        """An attempt or a task came to an end."""
        self._last_at = at

    def finish(self, place: int, kind: str, at: int) -> None:
        """A task came to an end of this kind."""
        self.ends[kind] += 1
        self._ended_at[place] = at
        self.end(at)

    def reopen(self, place: int, was: str) -> None:
        """A task that had come to this end is open again."""
        self.ends[was] -= 1
        self._ended_at[place] = NEVER

    def numbers(self, *, workers: int) -> Numbers:
        """The numbers as they are now; O(n log n) in attempts."""
        makespan_us, done = None, self.ends["completed"]
        if self._first_at is not None and self._last_at is not None:
            makespan_us = self._last_at - self._first_at
        return Numbers(
            workers=workers,
            tasks=self.tasks,
            **self.ends,
            open=self.tasks - sum(self.ends.values()),
            attempts=self.attempts,
            failures=self.failures,
            drawn=self.drawn,
            makespan_us=makespan_us,
            completed_per_s=done * SECOND_US / makespan_us if makespan_us else None,
            waits=_waits_of(chain(*self._waits.values())),
            first_waits=_waits_of(self._first_waits),
            durations=_waits_of(
                ended_at - created_at
                for created_at, ended_at in zip(self._created_at, self._ended_at, strict=True)
                if ended_at != NEVER
            ),
            by_share=self._waits_by_share(),
            by_priority={
                group: _waits_of(self._waits[group]) for group in sorted(self._waits, reverse=True)
            },
        )

    def _waits_by_share(self) -> dict[str, Waits]:
        shares = self._by_share
        if not shares.keys() - {""}:
            return {}
        return {share: _waits_of(shares[share]) for share in sorted(shares)}


def _waits_of(found: Iterable[int]) -> Waits:
    ordered = sorted(found)
    if not ordered:
        return Waits(0, None, None, None)
    return Waits(len(ordered), _rank(ordered, MEDIAN), _rank(ordered, P95), ordered[-1])


def _rank(ordered: list[int], percent: int) -> int:
    """The nearest rank: the smallest value that is not below so many per cent of all."""
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
