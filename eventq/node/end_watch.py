"""Waiting for tasks to end: who waits, and the one thread that watches the log for all of them.

It looks when the log has grown, or somebody's time is up, and never because time has passed alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from eventq.core.durations import SECOND_US
from eventq.core.task import FINAL, Task
from eventq.errors import EventqError, LogUnavailableError, QueueClosedError, WaitTimeoutError
from eventq.host.bell import SLICE_S, Bell
from eventq.host.clock import MovedClock
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.host.surroundings import in_thread
from eventq.node.node import Node

logger = SafeLogger("eventq.node")

# The thread stays so long after the last waiter: as a rule more come, and a watch costs more.
LINGER_S = 10.0
# Pause after the log could not be read.
UNAVAILABLE_S = 0.5
CLOSED = "the queue was closed while somebody waited for a task"


class Waiter:
    """One caller's place: for which task, until when, and how it is woken, from any thread."""

    __slots__ = ("ends_s", "error", "is_late", "number", "wake")

    def __init__(self, number: int, ends_s: float | None, wake: Callable[[], object]) -> None:
        self.number = number
        self.ends_s = ends_s
        self.wake = wake
        self.is_late = False
        self.error: EventqError | None = None


class EndWatch:
    """The waiters of one node. Every method may be called from any thread."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._set_up()

    def _set_up(self) -> None:
        """All that a forked child must not share with its parent."""
        # Held for moments only.
        self._lock = threading.Lock()
        self._bell = Bell()
        self._waiters: set[Waiter] = set()
        self._thread: threading.Thread | None = None
        self._closed = False

    def wait(self, key: str, timeout_us: int | None) -> Task:
        """The task once it is final. Raises WaitTimeoutError, TaskNotFoundError, and LogError."""
        ends_s = self._end_s(timeout_us)
        task = self._find(key)
        while task.state not in FINAL:
            done = threading.Lock()
            done.acquire()
            waiter = Waiter(task.number, ends_s, done.release)
            # Python looks for signals in the main thread alone, and not while it sleeps in a lock.
            is_main = threading.current_thread() is threading.main_thread()
            try:
                self._add(waiter)
                while not done.acquire(timeout=SLICE_S if is_main else -1):
                    pass
            finally:
                self._remove(waiter)
            task = self._after(key, waiter)
        return task

    async def wait_in_loop(self, key: str, timeout_us: int | None) -> Task:
        """As `wait`, for an event loop: no thread is held while it waits."""
        import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

        loop = asyncio.get_running_loop()
        ends_s = self._end_s(timeout_us)
        task = await in_thread(self._find, key)
        while task.state not in FINAL:
            done = asyncio.Event()

            def wake(done: asyncio.Event = done) -> None:
                # The loop may have been closed, when nobody waits any more.
                if not loop.is_closed():
                    loop.call_soon_threadsafe(done.set)

            waiter = Waiter(task.number, ends_s, wake)
            try:
                self._add(waiter)
                await done.wait()
            finally:
                self._remove(waiter)
            task = await in_thread(self._after, key, waiter)
        return task

    def close(self) -> None:
        """Wakes all who wait: they raise QueueClosedError. May come twice."""
        with self._lock:
            self._closed = True
            thread = self._thread
        self._end_all(QueueClosedError(CLOSED))
        self._bell.ring()
        if thread is not None:
            thread.join()

    def after_fork(self) -> None:
        """Forgets the waiters, which are the parent's."""
        self._set_up()

    def _end_s(self, timeout_us: int | None) -> float | None:
        if timeout_us is None:
            return None
        return self._node.clock.monotonic() + timeout_us / SECOND_US

    def _find(self, key: str) -> Task:
        with self._node.reading():
            return self._node.find(key).as_of(self._node.now())

    def _after(self, key: str, waiter: Waiter) -> Task:
        """The task now that the waiter was woken; it may have been reopened by then."""
        if waiter.error is not None:
            raise waiter.error
        task = self._find(key)
        if waiter.is_late and task.state not in FINAL:
            raise WaitTimeoutError(task.key, task.state)
        return task

    def _add(self, waiter: Waiter) -> None:
        with self._lock:
            if self._closed:
                raise QueueClosedError(CLOSED)
            self._waiters.add(waiter)
            if self._thread is None:
                # A daemon: whoever waits keeps the process alive, and nobody else does.
                thread = threading.Thread(target=self._run, name="eventq-wait", daemon=True)
                thread.start()
                self._thread = thread
        # It may have ended since it was looked at.
        self._bell.ring()

    def _remove(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)

    # The thread.

    def _run(self) -> None:
        try:
            self._watch()
        except EventqError as error:
            raise_interrupt(error)
            self._end_all(error)
        finally:
            with self._lock:
                self._thread = None
                # Somebody may have come while it ended.
                left = list(self._waiters) if not self._closed else []
            for waiter in left:
                waiter.wake()

    def _watch(self) -> None:
        bell, clock = self._bell, self._node.clock
        moved = clock if isinstance(clock, MovedClock) else None
        watch = self._node.log.watch(bell.ring)
        if moved is not None:
            moved.on_move(bell.ring)
        needed_s = time.monotonic()
        try:
            while not self._closed:
                if self._waiters:
                    pause_s = self._look()
                    # Once all are woken, nothing need ring any more.
                    if self._waiters:
                        bell.wait(pause_s)
                    needed_s = time.monotonic()
                elif (left_s := needed_s + LINGER_S - time.monotonic()) > 0:
                    # Whoever comes rings; so does the log, which then concerns nobody.
                    bell.wait(left_s)
                else:
                    return
        finally:
            if moved is not None:
                moved.off_move(bell.ring)
            watch.close()

    def _look(self) -> float | None:
        """Wakes whose task has ended or whose time is up; returns how long to wait for a ring."""
        with self._lock:
            waiters = list(self._waiters)
        now_s = self._node.clock.monotonic()
        late = [each for each in waiters if each.ends_s is not None and each.ends_s <= now_s]
        for waiter in late:
            waiter.is_late = True
        pause_s = self._pause_s(waiters, now_s)
        try:
            with self._node.reading() as projection:
                ended = [waiter for waiter in waiters if waiter.number not in projection.tasks]
        except LogUnavailableError as error:
            raise_interrupt(error)
            values = {"error": str(error)}
            logger.warning("log unavailable, still waiting: %(error)s", values, extra=values)
            ended = []
            pause_s = UNAVAILABLE_S if pause_s is None else min(pause_s, UNAVAILABLE_S)
        self._release([*dict.fromkeys([*ended, *late])])
        return pause_s

    def _pause_s(self, waiters: list[Waiter], now_s: float) -> float | None:
        """How long until somebody's time is up; None where a ring will say so."""
        if isinstance(self._node.clock, MovedClock):
            return None
        ends = [each.ends_s for each in waiters if each.ends_s is not None]
        return max(0.0, min(ends) - now_s) if ends else None

    def _end_all(self, error: EventqError) -> None:
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            waiter.error = error
        self._release(waiters)

    def _release(self, waiters: list[Waiter]) -> None:
        """Wakes each of them once: whoever is no longer there has been woken, or has gone."""
        with self._lock:
            there = [waiter for waiter in waiters if waiter in self._waiters]
            self._waiters.difference_update(there)
        for waiter in there:
            waiter.wake()
