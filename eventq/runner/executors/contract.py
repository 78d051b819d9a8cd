"""What a runner asks of whoever calls its workers.

Executors know nothing of logs: attempts go in, ended attempts come out, the bell is rung.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from eventq.runner.attempt import Attempt
from eventq.runner.context import Context

# What an attempt is told whose event loop has ended.
LOOP_ENDED = "the event loop ended"


class Executor(Protocol):
    """Runs attempts, `workers` at a time, in the order they were given."""

    ring_below: int
    """The bell is rung for an ended attempt when at most this many wait to begin."""

    @property
    def context_type(self) -> type[Context]:
        """What its workers are given as ``ctx``."""

    def start(self) -> None:
        """Makes it ready; before anything else, once."""

    def submit(self, attempts: list[Attempt]) -> None:
        """Queues attempts; each begins as soon as a worker is free."""

    def take_ended(self) -> list[Attempt]:
        """The attempts that ended since the last call."""

    def take_back(self) -> list[Attempt]:
        """Withdraws all attempts that have not begun."""

    def waiting_count(self) -> int:
        """How many attempts have not begun."""

    def is_behind(self) -> bool:
        """Whether it has not looked yet at what it was given last."""

    def cancel(self, attempt: Attempt, why: str) -> None:
        """Asks a running attempt to end; it may take its time."""

    def works_here(self) -> bool:
        """Whether one of its workers calls this."""

    def is_alive(self) -> bool:
        """Whether attempts that have begun may still end, also after `stop`."""

    def mend(self) -> bool:
        """Replaces threads and loops that have died; their attempts end with what killed them.

        Returns whether anything had died. Raises LoopEndedError when a loop cannot be replaced.
        """

    def stop(self) -> None:
        """Ends it, without waiting for workers that ignore their cancellation; may come twice."""


def drained(queue: deque[Attempt]) -> list[Attempt]:
    """All that is in the queue, which another thread may use meanwhile."""
    taken: list[Attempt] = []
    while queue:
        try:
            taken.append(queue.popleft())
        except IndexError:
            # The other thread took the last one in between.
            break
    return taken
