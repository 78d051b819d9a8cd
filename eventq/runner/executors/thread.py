"""Calls a ``def`` worker in threads; what it hands out to be awaited, in an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context as Variables
from queue import Empty, SimpleQueue
from typing import Any

from eventq.errors import LoopEndedError
from eventq.eventlog.wakeup import Bell
from eventq.host.clock import Clock
from eventq.host.forks import end_child
from eventq.runner.attempt import Attempt, is_awaitable, returned
from eventq.runner.context import AsyncContext, Context
from eventq.runner.executors.contract import LOOP_ENDED, drained
from eventq.runner.executors.loops import JOIN_S, LoopHost
from eventq.runner.variables import RunVariables


class ThreadExecutor:
    """Calls a ``def`` worker in `workers` threads; what it hands out to be awaited, in a loop."""

    def __init__(
        self,
        worker: Callable[[Any, Any], object],
        *,
        workers: int,
        bell: Bell,
        clock: Clock,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.ring_below = 0
        self._worker = worker
        self._bell = bell
        self._clock = clock
        self._variables = RunVariables()
        self._process = os.getpid()
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self._ended: deque[Attempt] = deque()
        self.threads = [self._thread(place) for place in range(workers)]
        # What each thread has in hand, and what killed it if it died.
        self._at: list[Attempt | None] = [None] * workers
        self._killed: dict[int, BaseException] = {}
        self.host = LoopHost(loop, bell=bell, clock=clock)
        self._awaiting: dict[_Awaited, Attempt] = {}
        self._stopped = False

    @property
    def context_type(self) -> type[Context]:
        """See Executor.context_type."""
        return Context

    def start(self) -> None:
        """See Executor.start."""
        for thread in self.threads:
            thread.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        for attempt in attempts:
            self._inbox.put(attempt)

    def take_ended(self) -> list[Attempt]:
        """See Executor.take_ended."""
        return drained(self._ended)

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

    def is_behind(self) -> bool:
        """See Executor.is_behind. A free thread takes what there is by itself."""
        return False

    def cancel(self, attempt: Attempt, why: str) -> None:
        """See Executor.cancel."""
        attempt.context.stop(why)
        if attempt.handle is not None:
            self.host.call(attempt.handle.cancel)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if threading.current_thread() in self.threads:
            return True
        return bool(self._awaiting) and self.host.is_here()

    def mend(self) -> bool:
        """See Executor.mend."""
        if self._stopped:
            return False
        killed = self.host.death()
        if killed is not None:
            for awaited, attempt in list(self._awaiting.items()):
                attempt.fail(killed)
                self.cancel(attempt, LOOP_ENDED)
                awaited.put(killed)
            self.host.replace(killed)
        dead = [place for place, thread in enumerate(self.threads) if not thread.is_alive()]
        for place in dead:
            self._bury(place)
            with suppress(RuntimeError):
                # When no thread can be begun now, the next look tries again.
                self.threads[place] = thread = self._thread(place)
                thread.start()
        return bool(dead) or killed is not None

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return any(thread.is_alive() for thread in self.threads)

    def stop(self) -> None:
        """See Executor.stop."""
        if self._stopped:
            return
        self._stopped = True
        for _ in self.threads:
            self._inbox.put(None)
        ends_s = self._clock.monotonic() + JOIN_S
        for thread in self.threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, ends_s - self._clock.monotonic()))
        self.host.stop(_nothing)

    def _thread(self, place: int) -> threading.Thread:
        # Daemons: a worker that ignores its cancellation must not keep the process alive.
        name = f"eventq-worker-{place}"
        return threading.Thread(target=self._work, args=(place,), name=name, daemon=True)

    def _work(self, place: int) -> None:
        try:
            self._serve(place)
        except BaseException as error:  # noqa: BLE001 - thrown at the thread from outside; see mend
            self._killed[place] = error
            self._bell.ring()

    def _serve(self, place: int) -> None:
        inbox, ended, monotonic = self._inbox, self._ended, self._clock.monotonic
        worker, copy, at = self._worker, self._variables.copy, self._at
        process = self._process
        # An error that is thrown at a thread (as libraries for time-outs do) comes up after a call,
        # so there is none between taking an attempt and noting that it is in hand.
        for attempt in iter(inbox.get, None):
            at[place] = attempt
            task = attempt.task
            try:
                attempt.begin(monotonic())
                # A task that was cancelled or expired while it waited its turn must not begin.
                attempt.context.check()
                variables = copy()
                try:
                    value = variables.run(worker, attempt.context, task)
                finally:
                    end_child(process)
                if value is not None and is_awaitable(value):
                    value = self._await(attempt, value, variables)
                attempt.outcome = returned(task, value)
            except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
                attempt.fail(error)
            attempt.ended_s = monotonic()
            ended.append(attempt)
            at[place] = None
            if inbox.qsize() <= self.ring_below:
                self._bell.ring()

    def _bury(self, place: int) -> None:
        """Ends what a dead thread had in hand, even if that has been handed out already."""
        killed = self._killed.pop(place, None) or RuntimeError("the worker's thread ended")
        attempt, self._at[place] = self._at[place], None
        if attempt is not None:
            attempt.end(killed, self._clock.monotonic())
            self._ended.append(attempt)

    def _await(self, attempt: Attempt, value: Any, variables: Variables) -> object:  # noqa: ANN401
        """What comes of a coroutine that the worker handed out, as a plain decorator does.

        It runs in the loop, and the thread keeps its place until it has ended.
        """
        awaited = _Awaited()
        # Nothing of it has run: from here on its context is that of a coroutine.
        attempt.context.__class__ = AsyncContext

        def begin() -> None:
            loop = asyncio.get_running_loop()
            attempt.handle = handle = asyncio.Task(
                _awaited(value, self._process), loop=loop, context=variables
            )
            handle.add_done_callback(awaited.put)
            if attempt.context.cancelled:
                # Whoever cancelled it may have been too early to find the handle.
                handle.cancel()

        self._awaiting[awaited] = attempt
        try:
            self.host.start()
            if not self.host.call(begin):
                if hasattr(value, "close"):
                    value.close()
                raise LoopEndedError("there is no event loop to await the worker's coroutine in")
            return awaited.result()
        finally:
            del self._awaiting[awaited]


class _Awaited:
    """Where a thread waits for an asyncio task, or for what ended its loop."""

    def __init__(self) -> None:
        self._box: SimpleQueue[asyncio.Task[object] | BaseException] = SimpleQueue()
        self.put = self._box.put

    def result(self) -> object:
        """What the task returned; raises what it raised, or what ended its loop."""
        ended = self._box.get()
        if isinstance(ended, BaseException):
            raise ended
        return ended.result()


async def _awaited(value: Any, process: int) -> object:  # noqa: ANN401 - whatever can be awaited
    try:
        return await value
    finally:
        end_child(process)


async def _nothing() -> None:
    """What a run of threads has left to do in its loop."""
