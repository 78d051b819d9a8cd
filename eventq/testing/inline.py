"""Calls handlers in the very thread of the run, one after the other, in virtual time.

Nothing happens beside anything else here, so that a run is the same each time.
"""

from __future__ import annotations

import threading
from collections import deque
from contextvars import Context as Variables
from typing import Any, cast

from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.errors import DeadlineExceededError
from eventq.handlers.context import LATE, AsyncContext, Context, running
from eventq.handlers.work import Work
from eventq.host.clock import LogClock
from eventq.runner.attempt import Attempt, is_awaitable, raised, returned
from eventq.runner.executors import Executor
from eventq.runner.pacing import Pace
from eventq.testing.clock import ManualClock
from eventq.testing.faults import Faults, NodeDiedError
from eventq.testing.loop import VirtualLoop


class VirtualContext(Context):
    """A context whose `sleep` moves the clock."""

    __slots__ = ()

    def sleep(self, duration: Duration) -> None:
        """See Context.sleep."""
        self.check()
        _pass_time(self, duration)
        self.check()


class VirtualAsyncContext(AsyncContext):
    """The same for plain calls of ``async def`` handlers, whose loop knows nothing of the clock."""

    __slots__ = ()

    async def sleep(self, duration: Duration) -> None:  # type: ignore[override]
        """See AsyncContext.sleep."""
        self.check()
        _pass_time(self, duration)
        self.check()


class OneByOne(Pace):
    """Leases nothing ahead: what comes in next may be more urgent."""

    def ahead(self) -> int:
        """See Pace.ahead."""
        return 0


class InlineExecutor(Executor):
    """Calls ``def`` and ``async def`` handlers alike as soon as they are leased."""

    def __init__(
        self,
        virtual: VirtualLoop,
        faults: Faults,
        **options: Any,  # noqa: ANN401 - those of Executor
    ) -> None:
        super().__init__(**options)
        self.attempt: Attempt | None = None
        """What runs now."""
        self._virtual = virtual
        self._faults = faults
        self._thread: int | None = None
        self._waiting: deque[Attempt] = deque()

    def calls(self, work: Work) -> bool:  # noqa: ARG002 - all of it
        """See Executor.calls."""
        return True

    def start(self) -> None:
        """See Executor.start."""
        self._thread = threading.get_ident()

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._waiting.extend(attempts)
        while self._waiting:
            self.attempt = self._waiting.popleft()
            try:
                self._call(self.attempt)
            finally:
                self.attempt = None

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        back, self._waiting = list(self._waiting), deque()
        return back

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return len(self._waiting)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        return self.attempt is not None

    def is_alive(self) -> bool:
        """See Executor.is_alive: it is all done when `submit` returns."""
        return False

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost; its loop ends with the test."""

    def end(self) -> None:
        """See Executor.end."""
        self._virtual.end_tasks()

    def _call(self, attempt: Attempt) -> None:
        task, context = attempt.task, attempt.context
        self._faults.strike(task, after=False)
        if not attempt.work.is_async:
            # It holds this very context, so that its class is changed; see Context.become_async.
            context.__class__ = VirtualContext
        attempt.begin(self._clock.monotonic())
        try:
            context.check()
            variables = self._variables.copy()
            variables.run(running.set, context)
            value = variables.run(attempt.work.call, context, task)
            if value is not None and is_awaitable(value):
                value = self._finish(attempt, value, variables)
            outcome = returned(task, value, attempt.work)
            if context.visit is not None:
                attempt.complete(outcome)
        except (KeyboardInterrupt, NodeDiedError):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            attempt.fail(error)
        else:
            attempt.outcome = outcome
        self._faults.strike(task, after=True)
        attempt.ended_s = self._clock.monotonic()
        if context.deadline_s is not None and attempt.ended_s >= context.deadline_s:
            # It had failed by then, whatever it came with later.
            attempt.outcome = raised(task, DeadlineExceededError(LATE), attempt.work)
        self.note_end(attempt)

    def _finish(self, attempt: Attempt, value: Any, variables: Variables) -> object:  # noqa: ANN401
        """What comes of a coroutine, which is cancelled at its deadline."""
        loop, context = self._virtual, attempt.context
        context.become_async()

        async def awaited() -> object:
            return await value

        def begun(handle: Any) -> None:  # noqa: ANN401 - an asyncio.Task
            attempt.interrupt = handle.cancel
            if context.deadline_s is not None:
                loop.call_at(context.deadline_s, expire)

        def expire() -> None:
            if attempt.outcome is None and self.attempt is attempt:
                assert context.deadline_s is not None, "a deadline is never taken away"
                if loop.time() < context.deadline_s:
                    loop.call_at(context.deadline_s, expire)
                else:
                    attempt.stop(LATE)

        return loop.finish(awaited(), variables, begun)


def _pass_time(context: Context, duration: Duration) -> None:
    """Moves the clock on by a duration, but no further than the attempt may run."""
    length_us, remaining_s = parse_duration(duration), context.remaining()
    if remaining_s is not None:
        length_us = min(length_us, round(remaining_s * SECOND_US))
    clock = cast("ManualClock", cast("LogClock", context._clock).source)  # noqa: SLF001 - its own class
    clock.move_to(clock.now_us() + length_us)
