"""Calls an ``async def`` worker in one event loop."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from eventq.eventlog.wakeup import Bell
from eventq.host.clock import Clock
from eventq.host.forks import end_child
from eventq.runner.attempt import Attempt, returned
from eventq.runner.context import AsyncContext, Context
from eventq.runner.executors.contract import LOOP_ENDED, drained
from eventq.runner.executors.loops import LoopHost, cancel
from eventq.runner.variables import RunVariables


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
        self._variables = RunVariables()
        self._process = os.getpid()
        self._pending: deque[Attempt] = deque()
        self._unseen = False
        self._ended: deque[Attempt] = deque()
        self._running: dict[asyncio.Task[None], Attempt] = {}
        self.host = LoopHost(loop, bell=bell, clock=clock)
        self._stopped = False

    @property
    def context_type(self) -> type[Context]:
        """See Executor.context_type."""
        return AsyncContext

    def start(self) -> None:
        """See Executor.start."""
        self.host.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._pending.extend(attempts)
        self._unseen = True
        self.host.call(self._fill)

    def take_ended(self) -> list[Attempt]:
        """See Executor.take_ended."""
        return drained(self._ended)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        return drained(self._pending)

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return len(self._pending)

    def is_behind(self) -> bool:
        """See Executor.is_behind. So it is while a worker, or who owns the loop, blocks it."""
        return self._unseen

    def cancel(self, attempt: Attempt, why: str) -> None:
        """See Executor.cancel."""
        attempt.context.stop(why)
        if attempt.handle is not None:
            self.host.call(attempt.handle.cancel)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if not self.host.is_here():
            return False
        # In the caller's own loop others run as well, who may well close the queue.
        return self.host.is_own or asyncio.current_task() in self._running

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return self.host.is_open()

    def mend(self) -> bool:
        """See Executor.mend."""
        killed = None if self._stopped else self.host.death()
        if killed is None:
            return False
        # The loop runs no more, so that only this thread touches them.
        lost, self._running = self._running, {}
        for attempt in lost.values():
            attempt.end(killed, self._clock.monotonic())
            # Should its loop go on after all, its worker ends there.
            self.cancel(attempt, LOOP_ENDED)
            self._ended.append(attempt)
        self.host.replace(killed)
        self.host.call(self._fill)
        return True

    def stop(self) -> None:
        """See Executor.stop."""
        if not self._stopped:
            self._stopped = True
            self.host.stop(lambda: cancel(set(self._running)))

    def _fill(self) -> None:
        self._unseen = False
        while len(self._running) < self._workers:
            try:
                attempt = self._pending.popleft()
            except IndexError:
                # None waits, or the runner's thread has just taken the last one back.
                return
            # Not by the loop's own factory: an eager one would begin before its place is taken.
            handle = asyncio.Task(
                self._run(attempt),
                loop=asyncio.get_running_loop(),
                context=self._variables.copy(),
            )
            attempt.handle = handle
            self._running[handle] = attempt
            handle.add_done_callback(self._ended_one)

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        try:
            attempt.begin(self._clock.monotonic())
            attempt.context.check()
            try:
                value = await self._worker(attempt.context, task)
            finally:
                end_child(self._process)
            outcome = returned(task, value)
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            attempt.fail(error)
        else:
            attempt.outcome = attempt.outcome or outcome

    def _ended_one(self, handle: asyncio.Task[None]) -> None:
        attempt = self._running.pop(handle, None)
        if attempt is None:
            # Its loop had been given up, and the attempt with it.
            return
        # Without an outcome when somebody else cancelled its asyncio task before the first step.
        attempt.end(asyncio.CancelledError(), self._clock.monotonic())
        self._ended.append(attempt)
        self._fill()
        if len(self._pending) <= self.ring_below:
            self._bell.ring()
