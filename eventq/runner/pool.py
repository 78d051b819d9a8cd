"""The slots of one lane, or of all lanes together: how many attempts at a time, and who calls them.

Where a run has workers of one kind only, their executor does it all, and takes the next attempt by
itself. Workers of several kinds share the slots: then the next attempt waits here.
"""

from __future__ import annotations

import threading
from collections import deque

from eventq.host.bell import Bell
from eventq.runner.attempt import Attempt
from eventq.runner.executors import Executor
from eventq.runner.pacing import Pace


class Pool:
    """Slots, and the executors that fill them."""

    def __init__(self, executors: list[Executor], bell: Bell, *, workers: int) -> None:
        self.workers = workers
        self.pace = Pace(workers)
        self.progress_s = 0.0
        """When an attempt last ended, or could begin at once. Monotonic seconds."""
        self.executors = executors
        self._bell = bell
        self._lone = executors[0] if len(executors) == 1 else None
        self._waiting: deque[Attempt] = deque()
        self._ring_below = 0
        self._begun_count = 0
        self._lock = threading.Lock()
        if self._lone is None:
            for executor in executors:
                executor.ring_below = -1
                executor.on_end = self._end_one

    def submit(self, attempts: list[Attempt]) -> None:
        """Queues attempts; each begins as soon as there is a slot for it.

        The bell is rung when half of them have begun, if they are more than there were slots for.
        """
        ring_below = len(attempts) // 2 if self.pace.ahead() else 0
        if self._lone is not None:
            self._lone.ring_below = ring_below
            self._lone.submit(attempts)
            return
        self._ring_below = ring_below
        self._waiting.extend(attempts)
        self._fill()

    def is_low(self) -> bool:
        """Whether slots are, or will soon be, without an attempt."""
        ring_below = self._ring_below if self._lone is None else self._lone.ring_below
        return self.waiting_count() <= ring_below

    def expect_nothing(self) -> None:
        """Has the bell rung only when the last attempt that waits has begun."""
        self._ring_below = 0
        if self._lone is not None:
            self._lone.ring_below = 0

    def is_quiet(self) -> bool:
        """Whether an attempt may end, or may have ended, for which the bell is not rung."""
        ring_below = self._ring_below if self._lone is None else self._lone.ring_below
        # In this order: what ends has been noted before it is seen that none waits any more.
        return self.waiting_count() > ring_below or any(each.has_ended() for each in self.executors)

    def waiting_count(self) -> int:
        """How many attempts have not begun."""
        return len(self._waiting) if self._lone is None else self._lone.waiting_count()

    def take_back(self) -> list[Attempt]:
        """Withdraws all attempts that have not begun."""
        if self._lone is not None:
            return self._lone.take_back()
        with self._lock:
            back = [*self._waiting]
            self._waiting.clear()
            for executor in self.executors:
                given = executor.take_back()
                self._begun_count -= len(given)
                back += given
        return back

    def take_ended(self) -> list[Attempt]:
        """The attempts that ended since the last call."""
        if self._lone is not None:
            return self._lone.take_ended()
        return [attempt for executor in self.executors for attempt in executor.take_ended()]

    def works_here(self) -> bool:
        """Whether one of the workers calls this."""
        return any(executor.works_here() for executor in self.executors)

    def is_alive(self) -> bool:
        """Whether attempts that have begun may still end, also after `stop`."""
        return any(executor.is_alive() for executor in self.executors)

    def is_behind(self) -> bool:
        """Whether an executor does not begin what it was given."""
        return any(executor.is_behind() for executor in self.executors)

    def _end_one(self) -> None:
        """An attempt has ended, in whatever thread this is."""
        with self._lock:
            self._begun_count -= 1
        self._fill()
        if len(self._waiting) <= self._ring_below:
            self._bell.ring()

    def _fill(self) -> None:
        while True:
            with self._lock:
                if self._begun_count >= self.workers or not self._waiting:
                    return
                attempt = self._waiting.popleft()
                self._begun_count += 1
            executor = next(each for each in self.executors if each.calls(attempt.work))
            executor.submit([attempt])
