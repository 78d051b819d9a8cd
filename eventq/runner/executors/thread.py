"""Calls a ``def`` worker in threads; what it hands out to be awaited, in an event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import Context as Variables
from queue import Empty, SimpleQueue
from typing import Any

from eventq.errors import LoopEndedError
from eventq.handlers.context import running
from eventq.handlers.work import Work
from eventq.host.forks import end_child
from eventq.runner.attempt import Attempt, is_awaitable, returned
from eventq.runner.executors.contract import LOOP_ENDED, Executor
from eventq.runner.executors.loops import JOIN_S


class ThreadExecutor(Executor):
    """Calls a ``def`` worker in `workers` threads; what it hands out to be awaited, in a loop."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Executor
        super().__init__(**options)
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self.threads = [self._thread(place) for place in range(self._workers)]
        # What each thread has in hand, and what killed it if it died.
        self._at: list[Attempt | None] = [None] * self._workers
        self._killed: dict[int, BaseException] = {}
        self._awaiting: dict[SimpleQueue[Any], Attempt] = {}

    def calls(self, work: Work) -> bool:
        """See Executor.calls."""
        return not work.is_async

    def start(self) -> None:
        """See Executor.start."""
        for thread in self.threads:
            thread.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        for attempt in attempts:
            self._inbox.put(attempt)

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

    def works_here(self) -> bool:
        """See Executor.works_here."""
        if threading.current_thread() in self.threads:
            return True
        return bool(self._awaiting) and self.host.is_here()

    def mend(self) -> bool:
        """See Executor.mend."""
        loop_died = super().mend()
        dead = [place for place, thread in enumerate(self.threads) if not thread.is_alive()]
        if self._stopped or not dead:
            return loop_died
        for place in dead:
            self._bury(place)
            with suppress(RuntimeError):
                # When no thread can be begun now, the next look tries again.
                self.threads[place] = thread = self._thread(place)
                thread.start()
        return True

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost."""
        for box, attempt in list(self._awaiting.items()):
            attempt.fail(killed)
            attempt.stop(LOOP_ENDED)
            box.put(killed)

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return any(thread.is_alive() for thread in self.threads)

    def end(self) -> None:
        """See Executor.end."""
        for _ in self.threads:
            self._inbox.put(None)
        ends_s = self._clock.monotonic() + JOIN_S
        for thread in self.threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, ends_s - self._clock.monotonic()))
        self.host.stop(lambda: asyncio.sleep(0))

    def _thread(self, place: int) -> threading.Thread:
        # Daemons: a worker that ignores its cancellation must not keep the process alive.
        name = f"eventq-worker-{place}"
        return threading.Thread(target=self._work, args=(place,), name=name, daemon=True)

    def _work(self, place: int) -> None:
        try:
            self._serve(place)
        except BaseException as error:  # noqa: BLE001 - thrown at the thread from outside; see mend
            self._killed[place] = error
            self.bell.ring()

    def _serve(self, place: int) -> None:
        inbox, monotonic, copy = self._inbox, self._clock.monotonic, self._variables.copy
        note_end, at, process = self.note_end, self._at, self._process
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
                variables.run(running.set, attempt.context)
                try:
                    value = variables.run(attempt.work.call, attempt.context, task)
                finally:
                    end_child(process)
                if value is not None and is_awaitable(value):
                    value = self._await(attempt, value, variables)
                attempt.outcome = returned(task, value, attempt.work)
            except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
                attempt.fail(error)
            attempt.ended_s = monotonic()
            note_end(attempt)
            at[place] = None
            if inbox.qsize() <= self.ring_below:
                self.bell.ring()

    def _bury(self, place: int) -> None:
        """Ends what a dead thread had in hand, even if that has been handed out already."""
        killed = self._killed.pop(place, None) or RuntimeError("the worker's thread ended")
        attempt, self._at[place] = self._at[place], None
        if attempt is not None:
            attempt.end(killed, self._clock.monotonic())
            self.note_end(attempt)

    def _await(self, attempt: Attempt, value: Any, variables: Variables) -> object:  # noqa: ANN401
        """What comes of a coroutine that the worker handed out, as a plain decorator does.

        It runs in the loop, and the thread keeps its place until it has ended.
        """
        # Comes by its end: the asyncio task, or what ended its loop.
        box: SimpleQueue[asyncio.Task[object] | BaseException] = SimpleQueue()
        attempt.context.become_async()

        def begin() -> None:
            loop = asyncio.get_running_loop()
            handle = asyncio.Task(_awaited(value, self._process), loop=loop, context=variables)
            attempt.interrupt = lambda _: self.host.call(handle.cancel)
            handle.add_done_callback(box.put)
            if attempt.context.cancelled:
                # Whoever cancelled it may have been too early to find the handle.
                handle.cancel()

        self._awaiting[box] = attempt
        try:
            self.host.start()
            if not self.host.call(begin):
                if hasattr(value, "close"):
                    value.close()
                raise LoopEndedError("there is no event loop to await the worker's coroutine in")
            ended = box.get()
        finally:
            del self._awaiting[box]
        if isinstance(ended, BaseException):
            raise ended
        return ended.result()


async def _awaited(value: Any, process: int) -> object:  # noqa: ANN401 - whatever can be awaited
    try:
        return await value
    finally:
        end_child(process)
