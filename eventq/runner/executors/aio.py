"""Calls an ``async def`` worker in one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import suppress
from types import coroutine
from typing import Any

from eventq.core.settle import Outcome
from eventq.handlers.context import running as current_context
from eventq.handlers.work import Work
from eventq.host.forks import end_child
from eventq.host.surroundings import OwnThread
from eventq.runner.attempt import Attempt, returned
from eventq.runner.executors.contract import LOOP_ENDED, Executor
from eventq.runner.executors.loops import cancel

BROKEN_OFF = asyncio.CancelledError()


class AsyncExecutor(Executor):
    """Calls an ``async def`` worker in one event loop: the one given, or its own in a thread."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Executor
        super().__init__(**options)
        self._pending: deque[Attempt] = deque()
        self._unseen = False
        self._running: dict[Attempt, asyncio.Task[None]] = {}

    def calls(self, work: Work) -> bool:
        """See Executor.calls."""
        return work.is_async and work.isolated is None

    def start(self) -> None:
        """See Executor.start."""
        self.host.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._pending.extend(attempts)
        self._unseen = True
        self.host.call(self._fill)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        back: list[Attempt] = []
        while self._pending:
            with suppress(IndexError):  # The loop took the last one in between.
                back.append(self._pending.popleft())
        return back

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return len(self._pending)

    def is_behind(self) -> bool:
        """See Executor.is_behind. So it is while a worker, or who owns the loop, blocks it."""
        return self._unseen

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if not self.host.is_here():
            return False
        # In the caller's own loop others run as well, who may well close the queue.
        return not self.host.is_given or asyncio.current_task() in self._running.values()

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return self.host.is_open()

    def mend(self) -> bool:
        """See Executor.mend."""
        has_died = super().mend()
        if has_died:
            self.host.call(self._fill)
        return has_died

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost."""
        # The loop runs no more, so that only this thread touches them.
        lost, self._running = self._running, {}
        for attempt, handle in lost.items():
            attempt.end(killed, self._clock.monotonic())
            attempt.stop(LOOP_ENDED)
            # Should its loop go on after all, its worker ends there.
            self.host.call(handle.cancel)
            self.note_end(attempt)

    def end(self) -> None:
        """See Executor.end."""
        self.host.stop(lambda: cancel(set(self._running.values())))

    def _fill(self) -> None:
        self._unseen = False
        if not self.host.is_here():
            # A loop that is over threw away an attempt's coroutine, which came here as it ended.
            return
        running, copy = self._running, self._variables.copy
        while len(running) < self._workers:
            try:
                attempt = self._pending.popleft()
            except IndexError:
                # None waits, or the runner's thread has just taken the last one back.
                return
            course = self._run(attempt)
            # To its first line, so that it hears of whatever cancels its asyncio task.
            course.send(None)
            variables = copy()
            variables.run(current_context.set, attempt.context)
            # Not by the loop's own factory: an eager one would begin before its place is taken.
            running[attempt] = asyncio.Task(course, context=variables)
            attempt.interrupt = self._interrupt

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        try:
            await _first_step()
            attempt.begin(self._clock.monotonic())
            attempt.context.check()
            if self._tracing is not None:
                attempt.trace = self._tracing.begin(task)
            try:
                value = await attempt.work.call(attempt.context, task)
            finally:
                end_child(self._process)
            outcome = returned(task, value, attempt.work)
            if attempt.context.visit is not None:
                await self._complete(attempt, outcome)
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            attempt.fail(error)
        else:
            attempt.outcome = attempt.outcome or outcome
        finally:
            # Here, since a callback of its asyncio task costs another turn of the loop.
            self._end(attempt)

    async def _complete(self, attempt: Attempt, outcome: Outcome) -> None:
        """Ends its transaction, for which all threads of the loop's pool may be waiting."""
        thread = OwnThread()
        try:
            await thread.call(attempt.complete, outcome)
        finally:
            thread.end()

    def _end(self, attempt: Attempt) -> None:
        if attempt not in self._running:
            # Its loop had been given up, and the attempt with it.
            return
        # Without an outcome if an interrupt broke off the telling of it.
        attempt.end(BROKEN_OFF, self._clock.monotonic())
        # In this order, so that an interrupt loses none; one handed out twice is settled once.
        self.note_end(attempt)
        del self._running[attempt]
        self._fill()
        if len(self._pending) <= self.ring_below:
            self.bell.ring()

    def _interrupt(self, attempt: Attempt) -> None:
        handle = self._running.get(attempt)
        if handle is not None:
            self.host.call(handle.cancel)


@coroutine
def _first_step() -> Generator[None]:
    """Waits for whoever sends a second time: the asyncio task."""
    yield
