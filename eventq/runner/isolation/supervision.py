"""One attempt in its process, as the parent sees it: told, watched, told to end, killed, reaped.

Its lease is renewed by the run all the while, and given up only when its whole group is gone.
"""

from __future__ import annotations

import signal
import threading
from contextvars import Context as Variables

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.durations import SECOND_US
from eventq.core.settle import Outcome
from eventq.core.sizes import show_size
from eventq.core.values import ErrorInfo, ProcessExit
from eventq.errors import DeadlineExceededError, EventqError, ProcessDiedError
from eventq.handlers.context import LATE
from eventq.handlers.isolation import IsolatedCall
from eventq.host import records
from eventq.host.clock import Clock
from eventq.runner.attempt import Attempt, failed, raised
from eventq.runner.frames import StackLine
from eventq.runner.isolation.calls import answer, deadline_of
from eventq.runner.isolation.messages import (
    AskStack,
    AttemptEnded,
    ContextCall,
    Loaded,
    LoadHandler,
    Logged,
    Stands,
    Start,
    Stop,
    Unloaded,
)
from eventq.runner.isolation.process import WorkerProcess

# Importing a handler's module may take this long.
LOAD_S = 120.0
# A run that is forced to stop waits no longer than this for a process.
HURRY_S = 2.0
# Somebody looks at a page meanwhile; a process that is well says at once where it stands.
STACK_S = 0.5
# How long to wait where nothing is due: it is woken when something is.
IDLE_S = 60.0
SLOW = f"its module was not imported within {LOAD_S:.0f} s"


class Supervision:
    """What becomes of one attempt that is given to a process."""

    def __init__(
        self,
        attempt: Attempt,
        call: IsolatedCall,
        process: WorkerProcess,
        clock: Clock,
        variables: Variables,
    ) -> None:
        """``clock`` is the system's: a process cares for no other.

        ``variables`` are those in which the attempt's records are logged here.
        """
        self.is_over = False
        """The process is gone, or takes no other attempt."""
        self.is_told = False
        """The attempt has been told to end."""
        self._attempt = attempt
        self._call = call
        self._process = process
        self._clock = clock
        self._variables = variables
        self._told_s = 0.0
        self._is_late = False
        self._signals = [signal.SIGTERM, signal.SIGKILL]
        self._killed_after_us: int | None = None
        # Whether its process has been asked where it stands, how often it has said so, and what.
        self._standing = threading.Condition()
        self._is_asked = False
        self._said_count = 0
        self._said: list[StackLine] = []

    def is_of(self, fence: int) -> bool:
        """Whether it is this attempt that is supervised."""
        return self._attempt.task.fence == fence

    def stack(self) -> list[StackLine] | None:
        """Where its handler stands, as its process says; None where that says nothing. Any thread.

        A process that has not answered yet is not asked again.
        """
        with self._standing:
            before, asks = self._said_count, not self._is_asked
            self._is_asked = True
        if asks:
            try:
                self._process.send(AskStack())
            except OSError:
                return None
        with self._standing:
            has_said = self._standing.wait_for(lambda: self._said_count > before, STACK_S)
            return self._said if has_said else None

    def load(self) -> bool:
        """Has the process find the handler; False when that is how the attempt ended."""
        if self._call.name in self._process.loaded:
            return True
        ends_s = self._clock.monotonic() + LOAD_S
        try:
            self._process.send(LoadHandler(self._call))
            while (left_s := ends_s - self._clock.monotonic()) > 0:
                message = self._next(left_s)
                if isinstance(message, Loaded):
                    self._process.loaded.add(self._call.name)
                    self._process.least_bytes = self._process.least_bytes or message.peak_bytes
                    return True
                if isinstance(message, Unloaded):
                    self._settle(failed(self._attempt.task, message.error))
                    return False
                self._hear(message)
        except (EOFError, OSError, msgspec.DecodeError) as error:
            self._end_dead(error)
            return False
        self._end_dead(TimeoutError(SLOW))
        return False

    def run(self) -> None:
        """Has the process call the handler; returns when the attempt has its outcome."""
        deadline_at, remaining_us = deadline_of(self._attempt.context)
        try:
            context, task = self._attempt.context, self._attempt.task
            results = {key: Raw(text) for key, text in context.results_json.items()}
            trace = None if self._attempt.trace is None else self._attempt.trace.continuing
            start = Start(task, deadline_at, remaining_us, context.policy, results, trace)
            self._process.send(start)
            while not isinstance(message := self._next(IDLE_S), AttemptEnded):
                self._hear(message)
        except (EOFError, OSError, msgspec.DecodeError) as error:
            self._end_dead(error)
            return
        self.is_over = message.spent
        outcome = message.outcome
        if outcome.exit is not None and outcome.error is not None:
            outcome = replace(outcome, error=_with_limit(outcome.error, outcome.exit))
        self._attempt.stopped = message.stopped
        self._settle(outcome)

    def _next(self, wait_s: float) -> object | None:
        """The next message, having done what is due; None when the time has come for something."""
        if self._attempt.context.stopped_why is not None:
            wait_s = min(wait_s, self._press())
        return self._process.receive(wait_s)

    def _press(self) -> float:
        """Takes the steps that are due towards its end; returns the seconds until the next one.

        First its context is told. Then, half of the time later, its group gets SIGTERM, and at the
        end SIGKILL.
        """
        now_s = self._clock.monotonic()
        context = self._attempt.context
        if not self.is_told:
            self.is_told, self._told_s = True, now_s
            self._is_late = context.is_late()
            why = context.stopped_why or ""
            self._process.send(Stop(context.fence, why, is_late=self._is_late))
        patience_s = self._call.isolation.kill_after_us / SECOND_US
        if self._attempt.hurried:
            patience_s = min(patience_s, HURRY_S)
        while self._signals:
            due_s = self._told_s + patience_s / len(self._signals)
            if now_s < due_s:
                return due_s - now_s
            number = self._signals.pop(0)
            if number is signal.SIGKILL:
                self._killed_after_us = round((now_s - self._told_s) * SECOND_US)
            self._process.signal(number)
        return IDLE_S

    def _hear(self, message: object | None) -> None:
        if isinstance(message, ContextCall):
            reply = answer(self._attempt.context, message)
            if reply is not None:
                self._process.send(reply)
        elif isinstance(message, Stands):
            with self._standing:
                self._is_asked, self._said = False, message.lines
                self._said_count += 1
                self._standing.notify_all()
        elif isinstance(message, Logged):
            values = (message.name, message.level, message.message, message.attributes)
            self._variables.run(records.emit, *values)

    def _settle(self, outcome: Outcome) -> None:
        """The outcome, unless the deadline had passed before it came: then that is the outcome."""
        attempt = self._attempt
        if self._is_late:
            late = raised(attempt.task, DeadlineExceededError(LATE), attempt.work)
            outcome = replace(late, exit=outcome.exit)
            attempt.stopped = False
        attempt.outcome = outcome

    def _end_dead(self, met: Exception) -> None:
        """The process has ended, or talks nonsense, or was not ready in time: it is reaped."""
        attempt = self._attempt
        self.is_over = True
        found = self._process.reap(killed_after_us=self._killed_after_us)
        if self._is_late:
            how = "was killed" if found.killed_after_us is not None else "ended under it"
            error: EventqError = DeadlineExceededError(f"{LATE}; its process {how}")
        else:
            known = "" if isinstance(met, (EOFError, ConnectionError)) else str(met)
            error = ProcessDiedError(known or _words(found), code=found.code, signal=found.signal)
        attempt.stopped = self.is_told and not self._is_late
        attempt.outcome = replace(raised(attempt.task, error, attempt.work), exit=found)


def _words(found: ProcessExit) -> str:
    """How a process ended that should not have."""
    if found.signal is not None:
        how = f"its process was killed by {found.signal}"
        if found.signal == "SIGKILL" and found.killed_after_us is None:
            how += ", not by eventq (out of memory?)"
    elif found.code is not None:
        how = f"its process ended with exit code {found.code}"
    else:
        how = "its process is gone, and somebody else has reaped it"
    return how if found.peak_bytes is None else f"{how}; it had {show_size(found.peak_bytes)}"


def _with_limit(error: ErrorInfo, found: ProcessExit) -> ErrorInfo:
    """A MemoryError says nothing of its own."""
    if error.message or found.memory_bytes is None:
        return error
    return replace(error, message=f"the limit is {show_size(found.memory_bytes)}")
