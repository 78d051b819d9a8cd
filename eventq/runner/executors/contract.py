"""What a runner asks of whoever calls its workers, and what all who do have in common.

Executors know nothing of logs: attempts go in, ended attempts come out, the bell is rung.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from eventq.handlers.tracing import Tracing
from eventq.handlers.work import Work
from eventq.host.bell import Bell
from eventq.host.clock import Clock
from eventq.runner.attempt import Attempt
from eventq.runner.executors.loops import LoopHost
from eventq.runner.variables import RunVariables

# What an attempt is told whose event loop has ended.
LOOP_ENDED = "the event loop ended"


class Executor(ABC):
    """Runs attempts, `workers` at a time, in the order they were given."""

    def __init__(
        self,
        *,
        workers: int,
        bell: Bell,
        clock: Clock,
        loop: asyncio.AbstractEventLoop | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.bell = bell
        self.ring_below = 0
        """The bell is rung for an ended attempt when at most this many wait to begin.

        Others are found by looking; see `Pool.is_quiet`.
        """
        self.on_end: Callable[[], object] | None = None
        """Called for each attempt that has ended, in whatever thread."""
        self.host = LoopHost(loop, bell=bell, clock=clock)
        self._workers = workers
        self._clock = clock
        self._tracing = tracing
        self._variables = RunVariables()
        self._process = os.getpid()
        self._ended: deque[Attempt] = deque()
        self._stopped = False

    def take_ended(self) -> list[Attempt]:
        """The attempts that ended since the last call."""
        ended = self._ended
        # Nobody else takes any out.
        return [ended.popleft() for _ in range(len(ended))] if ended else []

    def has_ended(self) -> bool:
        """Whether attempts have ended since the last `take_ended`."""
        return bool(self._ended)

    def note_end(self, attempt: Attempt) -> None:
        """Takes an ended attempt for `take_ended`."""
        self._ended.append(attempt)
        if attempt.trace is not None:
            attempt.trace.end(attempt.outcome, lost=attempt.revoked)
        if self.on_end is not None:
            self.on_end()

    def is_behind(self) -> bool:
        """Whether it has not looked yet at what it was given last; a free thread always has."""
        return False

    def mend(self) -> bool:
        """Replaces threads and loops that have died; their attempts end with what killed them.

        Returns whether anything had died. Raises LoopEndedError when a loop cannot be replaced.
        """
        killed = None if self._stopped else self.host.death()
        if killed is None:
            return False
        self.end_lost(killed)
        self.host.replace(killed)
        return True

    def stop(self) -> None:
        """Ends it, without waiting for workers that ignore their cancellation; may come twice."""
        if not self._stopped:
            self._stopped = True
            self.end()

    @abstractmethod
    def calls(self, work: Work) -> bool:
        """Whether it is the one for such work."""

    @abstractmethod
    def start(self) -> None:
        """Makes it ready; before anything else, once."""

    @abstractmethod
    def submit(self, attempts: list[Attempt]) -> None:
        """Queues attempts; each begins as soon as a worker is free."""

    @abstractmethod
    def take_back(self) -> list[Attempt]:
        """Withdraws all attempts that have not begun."""

    @abstractmethod
    def waiting_count(self) -> int:
        """How many attempts have not begun."""

    @abstractmethod
    def works_here(self) -> bool:
        """Whether one of its workers calls this."""

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether attempts that have begun may still end, also after `stop`."""

    @abstractmethod
    def end_lost(self, killed: BaseException) -> None:
        """Ends the attempts of a loop that this has killed."""

    @abstractmethod
    def end(self) -> None:
        """Ends its threads and its loop, within bounds."""
