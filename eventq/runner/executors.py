"""The two ways to call workers: threads for ``def``, one event loop for ``async def``.

Executors know nothing of logs: attempts go in, ended attempts come out, the bell is rung.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context as Variables
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from eventq.errors import LoopEndedError
from eventq.eventlog.wakeup import Bell
from eventq.host.clock import Clock
from eventq.runner.attempt import Attempt, is_awaitable, raised, returned
from eventq.runner.attempt_context import Surroundings
from eventq.runner.context import AsyncContext, Context
from eventq.runner.loops import JOIN_S, LoopHost, cancel

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
        """Whether it has not come yet to look at what it was given last."""

    def cancel(self, attempt: Attempt, why: str) -> None:
        """Tells a running attempt to end; it may take its time."""

    def works_here(self) -> bool:
        """Whether one of its workers calls this."""

    def is_alive(self) -> bool:
        """Whether attempts that have begun may still end, also after `stop`."""

    def mend(self) -> bool:
        """Replaces threads and loops that have died; their attempts end with what killed them.

        Tells whether there was something to mend. Raises LoopEndedError when there is no replacing.
        """

    def stop(self) -> None:
        """Ends it, without waiting for workers that ignore their cancellation; may come twice."""


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
        self._surroundings = Surroundings()
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self._ended: deque[Attempt] = deque()
        self._threads = [self._thread(place) for place in range(workers)]
        # What each thread has in hand, and what killed it if it died.
        self._at: list[Attempt | None] = [None] * workers
        self._killed: dict[int, BaseException] = {}
        self._host = LoopHost(loop, bell=bell, clock=clock)
        self._awaiting: dict[_Awaited, Attempt] = {}
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

    def is_behind(self) -> bool:
        """See Executor.is_behind. A free thread takes what there is by itself."""
        return False

    def cancel(self, attempt: Attempt, why: str) -> None:
        """See Executor.cancel."""
        attempt.context.stop(why)
        if attempt.handle is not None:
            self._host.call(attempt.handle.cancel)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if threading.current_thread() in self._threads:
            return True
        return bool(self._awaiting) and self._host.is_here()

    def mend(self) -> bool:
        """See Executor.mend."""
        if self._stopped:
            return False
        killed = self._host.death()
        if killed is not None:
            for awaited, attempt in list(self._awaiting.items()):
                attempt.fail(killed)
                self.cancel(attempt, LOOP_ENDED)
                awaited.put(killed)
            self._host.replace(killed)
        dead = [place for place, thread in enumerate(self._threads) if not thread.is_alive()]
        for place in dead:
            self._bury(place)
            with suppress(RuntimeError):
                # When no thread can be begun now, the next look tries again.
                self._threads[place] = thread = self._thread(place)
                thread.start()
        return bool(dead) or killed is not None

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return any(thread.is_alive() for thread in self._threads)

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
        self._host.stop(_nothing)

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
        worker, copy, at = self._worker, self._surroundings.copy, self._at
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
                value = variables.run(worker, attempt.context, task)
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
            _end(attempt, killed, self._clock.monotonic())
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
            attempt.handle = handle = asyncio.Task(_awaited(value), loop=loop, context=variables)
            handle.add_done_callback(awaited.put)
            if attempt.context.cancelled:
                # Whoever cancelled it may have been too early to find the handle.
                handle.cancel()

        self._awaiting[awaited] = attempt
        try:
            self._host.start()
            if not self._host.call(begin):
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
        self._surroundings = Surroundings()
        self._pending: deque[Attempt] = deque()
        self._unseen = False
        self._ended: deque[Attempt] = deque()
        self._running: dict[asyncio.Task[None], Attempt] = {}
        self._host = LoopHost(loop, bell=bell, clock=clock)
        self._stopped = False

    @property
    def context_type(self) -> type[Context]:
        """See Executor.context_type."""
        return AsyncContext

    def start(self) -> None:
        """See Executor.start."""
        self._host.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._pending.extend(attempts)
        self._unseen = True
        self._host.call(self._fill)

    def take_ended(self) -> list[Attempt]:
        """See Executor.take_ended."""
        return _drained(self._ended)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        return _drained(self._pending)

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
            self._host.call(attempt.handle.cancel)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if not self._host.is_here():
            return False
        # In the caller's own loop others run as well, who may well close the queue.
        return self._host.is_own or asyncio.current_task() in self._running

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return self._host.is_open()

    def mend(self) -> bool:
        """See Executor.mend."""
        killed = None if self._stopped else self._host.death()
        if killed is None:
            return False
        # The loop runs no more, so that only this thread touches them.
        lost, self._running = self._running, {}
        for attempt in lost.values():
            _end(attempt, killed, self._clock.monotonic())
            # Should its loop go on after all, its worker ends there.
            self.cancel(attempt, LOOP_ENDED)
            self._ended.append(attempt)
        self._host.replace(killed)
        self._host.call(self._fill)
        return True

    def stop(self) -> None:
        """See Executor.stop."""
        if not self._stopped:
            self._stopped = True
            self._host.stop(lambda: cancel(set(self._running)))

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
                context=self._surroundings.copy(),
            )
            attempt.handle = handle
            self._running[handle] = attempt
            handle.add_done_callback(self._ended_one)

    async def _run(self, attempt: Attempt) -> None:
        task = attempt.task
        try:
            attempt.begin(self._clock.monotonic())
            attempt.context.check()
            outcome = returned(task, await self._worker(attempt.context, task))
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
        _end(attempt, asyncio.CancelledError(), self._clock.monotonic())
        self._ended.append(attempt)
        self._fill()
        if len(self._pending) <= self.ring_below:
            self._bell.ring()


async def _awaited(value: Any) -> object:  # noqa: ANN401 - whatever can be awaited
    return await value


async def _nothing() -> None:
    """What a run of threads has left to do in its loop."""


def _end(attempt: Attempt, error: BaseException, monotonic_s: float) -> None:
    """The attempt is over; what ended it is its outcome, unless it has one."""
    if attempt.outcome is None:
        attempt.outcome = raised(attempt.task, error)
    attempt.ended_s = monotonic_s


def _drained(queue: deque[Attempt]) -> list[Attempt]:
    drained: list[Attempt] = []
    while queue:
        try:
            drained.append(queue.popleft())
        except IndexError:
            # The other thread took the last one in between.
            break
    return drained
