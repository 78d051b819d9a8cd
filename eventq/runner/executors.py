"""The two ways to call workers: threads for ``def``, one event loop for ``async def``.

Executors know nothing of logs: attempts go in, ended attempts come out, the bell is rung.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from eventq.errors import AttemptStoppedError
from eventq.eventlog.wakeup import Bell
from eventq.node.clock import Clock
from eventq.runner.attempt import Attempt, raised, returned
from eventq.runner.context import AsyncContext, Context

# How long stopping waits for threads and tasks that have been told to end.
JOIN_S = 2.0


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

    def cancel(self, attempt: Attempt, why: str) -> None:
        """Tells a running attempt to end; it may take its time."""

    def works_here(self) -> bool:
        """Whether this is called on a thread, or in the loop, that its workers run in."""

    def stop(self) -> None:
        """Ends it, without waiting for workers that ignore their cancellation; may come twice."""


class ThreadExecutor:
    """Calls a ``def`` worker in `workers` threads."""

    def __init__(
        self,
        worker: Callable[[Any, Any], object],
        *,
        workers: int,
        bell: Bell,
        clock: Clock,
    ) -> None:
        self.ring_below = 0
        self._worker = worker
        self._bell = bell
        self._clock = clock
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self._ended: deque[Attempt] = deque()
        # Daemons: a worker that ignores its cancellation must not keep the process alive.
        self._threads = [
            threading.Thread(target=self._work, name=f"eventq-worker-{index}", daemon=True)
            for index in range(workers)
        ]
        self._stopped = False

    @property
    def context_type(self) -> type[Context]:
        """See Executor.context_type."""
        return Context

    def start(self) -> None:
        """See Executor.start."""
        for thread in self._threads:
            thread.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        for attempt in attempts:
            self._inbox.put(attempt)

    def take_ended(self) -> list[Attempt]:
        """See Executor.take_ended."""
        return _drained(self._ended)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        back: list[Attempt | None] = []
        with suppress(Empty):
            while True:
                back.append(self._inbox.get_nowait())
        attempts = [attempt for attempt in back if attempt is not None]
        for _ in range(len(back) - len(attempts)):
            # Meant for a thread that is still busy: it ends when it comes back.
            self._inbox.put(None)
        return attempts

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return self._inbox.qsize()

    def cancel(self, attempt: Attempt, why: str) -> None:
        """See Executor.cancel."""
        attempt.context.stop(why)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        return threading.current_thread() in self._threads

    def stop(self) -> None:
        """See Executor.stop."""
        if self._stopped:
            return
        self._stopped = True
        for _ in self._threads:
            self._inbox.put(None)
        ends_s = self._clock.monotonic() + JOIN_S
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, ends_s - self._clock.monotonic()))

    def _work(self) -> None:
        inbox, ended, monotonic = self._inbox, self._ended, self._clock.monotonic
        while (attempt := inbox.get()) is not None:
            attempt.begin(monotonic())
            task = attempt.task
            try:
                # A task that was cancelled or expired while it waited its turn must not begin.
                attempt.context.check()
                attempt.outcome = returned(task, self._worker(attempt.context, task))
            except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
                attempt.stopped = isinstance(error, AttemptStoppedError)
                attempt.outcome = raised(task, error)
            attempt.ended_s = monotonic()
            ended.append(attempt)
            if inbox.qsize() <= self.ring_below:
                self._bell.ring()


class AsyncExecutor:
    """Calls an ``async def`` worker in one event loop: the one given, or its own in a thread."""

    def __init__(
        self,
        worker: Callable[[Any, Any], Any],
        *,
        workers: int,
        bell: Bell,
        clock: Clock,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.ring_below = 0
        self._worker = worker
        self._workers = workers
        self._bell = bell
        self._clock = clock
        self._pending: deque[Attempt] = deque()
        self._ended: deque[Attempt] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._loop = loop
        self._stopped = False

    @property
    def context_type(self) -> type[Context]:
        """See Executor.context_type."""
        return AsyncContext

    def start(self) -> None:
        """See Executor.start."""
        if self._loop is None:
            self._loop = loop = asyncio.new_event_loop()
            serve = partial(_serve, loop)
            self._thread = threading.Thread(target=serve, name="eventq-loop", daemon=True)
            self._thread.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._pending.extend(attempts)
        self._call(self._fill)

    def take_ended(self) -> list[Attempt]:
        """See Executor.take_ended."""
        return _drained(self._ended)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        return _drained(self._pending)

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return len(self._pending)

    def cancel(self, attempt: Attempt, why: str) -> None:
        """See Executor.cancel."""
        attempt.context.stop(why)
        if attempt.handle is not None:
            self._call(attempt.handle.cancel)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def stop(self) -> None:
        """See Executor.stop."""
        if self._stopped:
            return
        self._stopped = True
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        ending = asyncio.run_coroutine_threadsafe(self._end(), loop)
        # In vain, when a worker holds up the loop, or the loop is given up by its owner.
        with suppress(TimeoutError, CancelledError):
            ending.result(JOIN_S * 2)
        if self._thread is not None:
            self._call(loop.stop)
            self._thread.join(JOIN_S)

    def _call(self, function: Callable[[], object]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)

    def _fill(self) -> None:
        while len(self._running) < self._workers:
            try:
                attempt = self._pending.popleft()
            except IndexError:
                # None waits, or the runner's thread has just taken the last one back.
                return
            # Not by the loop's own factory: an eager one would begin before its place is taken.
            handle = asyncio.Task(self._run(attempt), loop=asyncio.get_running_loop())
            attempt.handle = handle
            self._running.add(handle)
            handle.add_done_callback(functools.partial(self._ended_one, attempt))

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        attempt.begin(self._clock.monotonic())
        try:
            attempt.context.check()
            attempt.outcome = returned(task, await self._worker(attempt.context, task))
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            attempt.stopped = isinstance(error, (AttemptStoppedError, asyncio.CancelledError))
            attempt.outcome = raised(task, error)

    def _ended_one(self, attempt: Attempt, handle: asyncio.Task[None]) -> None:
        if attempt.outcome is None:
            # Somebody else cancelled its asyncio task before the first step.
            attempt.begin(self._clock.monotonic())
            attempt.outcome = raised(attempt.task, asyncio.CancelledError())
        attempt.ended_s = self._clock.monotonic()
        self._ended.append(attempt)
        self._running.discard(handle)
        self._fill()
        if len(self._pending) <= self.ring_below:
            self._bell.ring()

    async def _end(self) -> None:
        for handle in self._running:
            # Whoever was told before may be cleaning up, which a second time would break off.
            if not handle.cancelling():
                handle.cancel()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=JOIN_S)
            for handle in late:
                handle.cancel()
            await asyncio.sleep(0)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _drained(queue: deque[Attempt]) -> list[Attempt]:
    drained: list[Attempt] = []
    while queue:
        try:
            drained.append(queue.popleft())
        except IndexError:
            # The other thread took the last one in between.
            break
    return drained
