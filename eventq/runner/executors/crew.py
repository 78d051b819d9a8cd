"""Threads that take attempts from one inbox; one that dies is replaced.

What they do with an attempt is their executor's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue

from eventq.host.clock import Clock
from eventq.runner.attempt import Attempt
from eventq.runner.executors.contract import Executor


class Crew:
    """So many threads, each of which has one attempt in hand at a time."""

    def __init__(
        self,
        executor: Executor,
        size: int,
        work_on: Callable[[int, Attempt], object],
        leave: Callable[[int], object] = lambda _: None,
    ) -> None:
        """``work_on`` is called with a thread's place and an attempt, and returns at its end.

        ``leave`` is called with its place by a thread that ends, and for one that died.
        """
        self._executor = executor
        self._leave = leave
        self._work_on = work_on
        self._inbox: SimpleQueue[Attempt | None] = SimpleQueue()
        self.threads = [self._thread(place) for place in range(size)]
        # What each thread has in hand, and what killed it if it died.
        self._at: list[Attempt | None] = [None] * size
        self._killed: dict[int, BaseException] = {}

    def start(self) -> None:
        """Begins the threads."""
        for thread in self.threads:
            thread.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """Queues attempts; each is taken as soon as a thread is free."""
        for attempt in attempts:
            self._inbox.put(attempt)

    def take_back(self) -> list[Attempt]:
        """Withdraws all attempts that no thread has taken."""
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
        """How many attempts no thread has taken."""
        return self._inbox.qsize()

    def is_here(self) -> bool:
        """Whether one of the threads calls this."""
        return threading.current_thread() in self.threads

    def is_alive(self) -> bool:
        """Whether a thread of it goes on."""
        return any(thread.is_alive() for thread in self.threads)

    def at(self, place: int) -> Attempt | None:
        """What a thread has in hand."""
        return self._at[place]

    def replace_dead(self) -> Iterator[tuple[Attempt | None, BaseException]]:
        """Replaces the threads that died: what they had in hand, and what killed them.

        When no thread can be begun now, the next call tries again.
        """
        for place, thread in enumerate(self.threads):
            if thread.is_alive():
                continue
            killed = self._killed.pop(place, None) or RuntimeError("the worker's thread ended")
            attempt, self._at[place] = self._at[place], None
            self._leave(place)
            yield attempt, killed
            with suppress(RuntimeError):
                self.threads[place] = another = self._thread(place)
                another.start()

    def end(self) -> None:
        """Has each thread end once it has nothing in hand."""
        for _ in self.threads:
            self._inbox.put(None)

    def join(self, patience_s: float, clock: Clock) -> None:
        """Waits for the threads that end; others are left."""
        ends_s = clock.monotonic() + patience_s
        for thread in self.threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, ends_s - clock.monotonic()))

    def _thread(self, place: int) -> threading.Thread:
        # Daemons: a worker that ignores its cancellation must not keep the process alive.
        name = f"eventq-worker-{place}"
        return threading.Thread(target=self._run, args=(place,), name=name, daemon=True)

    def _run(self, place: int) -> None:
        try:
            self._serve(place)
        except BaseException as error:  # noqa: BLE001 - thrown at the thread from outside; see mend
            self._killed[place] = error
            self._executor.bell.ring()

    def _serve(self, place: int) -> None:
        inbox, at, work_on, executor = self._inbox, self._at, self._work_on, self._executor
        # An error that is thrown at a thread (as libraries for time-outs do) comes up after a call,
        # so there is none between taking an attempt and noting that it is in hand.
        for attempt in iter(inbox.get, None):
            at[place] = attempt
            work_on(place, attempt)
            at[place] = None
            # Another thread may be about to take what still waits.
            if not executor.ring_below or inbox.qsize() <= executor.ring_below:
                executor.bell.ring()
        self._leave(place)


class CrewExecutor(Executor):
    """One whose attempts each keep a thread of its crew."""

    crew: Crew
    """Made by each such executor when it is made."""

    def start(self) -> None:
        """See Executor.start."""
        self.crew.start()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self.crew.submit(attempts)

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        return self.crew.take_back()

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return self.crew.waiting_count()

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return self.crew.is_alive()

    def replace_dead(self) -> bool:
        """Replaces the threads that died, and ends their attempts; returns whether any had died."""
        has_died = False
        for attempt, killed in self.crew.replace_dead():
            has_died = True
            if attempt is not None:
                # Even one that has been handed out already.
                attempt.end(killed, self._clock.monotonic())
                self.note_end(attempt)
        return has_died
