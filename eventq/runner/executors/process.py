"""Gives isolated attempts to processes of their own: one process a slot, kept for the next."""

from __future__ import annotations

import threading
from typing import Any

from eventq.errors import ProcessDiedError
from eventq.handlers.context import running
from eventq.handlers.isolation import IsolatedCall
from eventq.handlers.work import Work
from eventq.host.clock import Clock, SystemClock
from eventq.runner.attempt import Attempt
from eventq.runner.executors.crew import Crew, CrewExecutor
from eventq.runner.isolation.process import GroupGuard, Waker, WorkerProcess
from eventq.runner.isolation.supervision import HURRY_S, Supervision

# What an attempt is told whose executor ends.
ENDING = "the run has ended"
# Killing and reaping what is left takes no longer than this beside it.
MARGIN_S = 3.0


class ProcessExecutor(CrewExecutor):
    """Runs isolated attempts in `workers` processes, each with a thread here that stands by it.

    A process begins with the first attempt for it.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Executor
        super().__init__(**options)
        # By a slot's thread alone; the system kills a process when the thread ends that began it.
        self._processes: list[WorkerProcess | None] = [None] * self._workers
        self._wakers: list[Waker | None] = [None] * self._workers
        self._guard: GroupGuard | None = None
        self._guarding = threading.Lock()
        # That of processes, whatever clock the run goes by.
        self._own_clock: Clock = SystemClock()
        self.crew = Crew(self, self._workers, self._work_on, self._retire)

    def calls(self, work: Work) -> bool:
        """See Executor.calls."""
        return work.isolated is not None

    def works_here(self) -> bool:
        """See Executor.works_here. They work elsewhere."""
        return False

    def mend(self) -> bool:
        """See Executor.mend. No attempt here needs the loop."""
        return not self._stopped and self.replace_dead()

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost. There is no loop here."""

    def end(self) -> None:
        """See Executor.end. What still runs is killed, and reaped."""
        self.crew.end()
        for place in range(self._workers):
            attempt = self.crew.at(place)
            if attempt is not None and attempt.outcome is None:
                attempt.stop(ENDING, hurry=True)
        self.crew.join(HURRY_S + MARGIN_S, self._own_clock)
        for place, waker in enumerate(self._wakers):
            self._retire(place)
            if waker is not None:
                waker.close()
        if self._guard is not None:
            self._guard.close()

    def _work_on(self, place: int, attempt: Attempt) -> None:
        call = attempt.work.isolated
        assert call is not None, "it calls only what is isolated"
        is_over = False
        try:
            waker = self._wakers[place] = self._wakers[place] or Waker()
            attempt.interrupt = lambda _: waker.wake()
            # What was cancelled or expired while it waited its turn must not begin.
            attempt.context.check()
            process = self._process_for(place, call, waker)
            variables = self._variables.copy()
            variables.run(running.set, attempt.context)
            supervision = Supervision(attempt, call, process, self._own_clock, variables)
            if supervision.load():
                # Nor what was meanwhile: its process took no word of it.
                attempt.context.check()
                # Only now: importing its module is none of its time.
                attempt.begin(self._clock.monotonic())
                if self._tracing is not None:
                    attempt.trace = variables.run(self._tracing.begin, attempt.task)
                supervision.run()
            is_over = supervision.is_over
        except OSError as error:
            # No process can be begun now: out of memory, of processes, or of descriptors.
            attempt.fail(ProcessDiedError(f"no process could be begun for it: {error}"))
        except BaseException as error:  # noqa: BLE001 - else the thread dies, and the attempt with it
            attempt.fail(error)
        attempt.ended_s = self._clock.monotonic()
        self.note_end(attempt)
        self._look_after(place, call, is_over=is_over)

    def _process_for(self, place: int, call: IsolatedCall, waker: Waker) -> WorkerProcess:
        """The slot's process, or a new one where it has none that will do."""
        process = self._processes[place]
        if process is not None:
            if process.memory_bytes == call.isolation.memory_bytes and process.is_alive():
                return process
            self._retire(place)
        with self._guarding:
            self._guard = self._guard or GroupGuard()
        memory_bytes, clock = call.isolation.memory_bytes, self._own_clock
        process = WorkerProcess(self._guard, waker, memory_bytes=memory_bytes, clock=clock)
        self._processes[place] = process
        return process

    def _look_after(self, place: int, call: IsolatedCall, *, is_over: bool) -> None:
        """Lets the process go that has done its part."""
        process = self._processes[place]
        if process is None:
            return
        process.attempts_count += 1
        most = call.isolation.recycle
        if is_over or (most is not None and process.attempts_count >= most):
            # The outcome does not wait until it has ended.
            self.bell.ring()
            self._retire(place)

    def _retire(self, place: int) -> None:
        process, self._processes[place] = self._processes[place], None
        if process is not None:
            process.retire()
