"""Calls an ``async def`` worker in one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any

from eventq.handlers.context import running
from eventq.handlers.work import Work
from eventq.host.forks import end_child
from eventq.runner.attempt import Attempt, returned
from eventq.runner.executors.contract import LOOP_ENDED, Executor
from eventq.runner.executors.loops import cancel


class AsyncExecutor(Executor):
    """Calls an ``async def`` worker in one event loop: the one given, or its own in a thread."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Executor
        super().__init__(**options)
        self._pending: deque[Attempt] = deque()
        self._unseen = False
        self._running: dict[asyncio.Task[None], Attempt] = {}

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
        return not self.host.is_given or asyncio.current_task() in self._running

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
        for attempt in lost.values():
            attempt.end(killed, self._clock.monotonic())
            # Should its loop go on after all, its worker ends there.
            attempt.stop(LOOP_ENDED)
            self.note_end(attempt)

    def end(self) -> None:
        """See Executor.end."""
        self.host.stop(lambda: cancel(set(self._running)))

    def _fill(self) -> None:
        self._unseen = False
        while len(self._running) < self._workers:
            try:
                attempt = self._pending.popleft()
            except IndexError:
                # None waits, or the runner's thread has just taken the last one back.
                return
            variables = self._variables.copy()
            variables.run(running.set, attempt.context)
            # Not by the loop's own factory: an eager one would begin before its place is taken.
            handle = asyncio.Task(
                self._run(attempt),
                loop=asyncio.get_running_loop(),
                context=variables,
            )
            attempt.interrupt = partial(self.host.call, handle.cancel)
            self._running[handle] = attempt
            handle.add_done_callback(self._ended_one)

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        try:
            attempt.begin(self._clock.monotonic())
            attempt.context.check()
            try:
                value = await attempt.work.call(attempt.context, task)
            finally:
                end_child(self._process)
            outcome = returned(task, value, attempt.work)
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
        self.note_end(attempt)
        self._fill()
        if len(self._pending) <= self.ring_below:
            self.bell.ring()
