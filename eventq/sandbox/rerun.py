"""Running a recorded attempt again, here, against nothing but its recorded input.

The log is only read: nothing that happens here becomes an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

import msgspec
from msgspec import Struct

from eventq.audit.lookup import read_history
from eventq.core.durations import SECOND_US
from eventq.core.plain import sorted_json
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.validation import check_count
from eventq.core.values import ErrorInfo
from eventq.errors import ArgumentError, DeadlineExceededError
from eventq.eventlog.contract import EventLog
from eventq.handlers.around import Call
from eventq.handlers.collection import Handlers
from eventq.handlers.context import LATE, AsyncContext, Context, running
from eventq.handlers.work import Work, unpacking, work_of_handler, work_of_worker
from eventq.host.clock import Clock, SystemClock
from eventq.queue import Queue
from eventq.replay.attempts import (
    OUTCOMES,
    Ended,
    RecordedAttempt,
    attempt_of,
    ended_as,
    leases_of,
)
from eventq.replay.points import Point
from eventq.runner.attempt import failed, is_awaitable, raised, returned
from eventq.runner.describing import describe
from eventq.runner.variables import RunVariables

RerunVerdict = Literal["same", "other result", "other error", "other outcome", "nothing to compare"]
# Given the exception that a worker raised, once it has ended.
OnError = Callable[[BaseException], None]


class Rerun(Struct, frozen=True):
    """An attempt as it was recorded, beside what the same input gave here."""

    recorded: RecordedAttempt
    here: Ended
    here_us: int
    """How long it ran here, in microseconds."""
    verdict: RerunVerdict
    differs: str | None
    """Which part differs, in words; None when nothing does or there is nothing to compare."""

    @property
    def recorded_us(self) -> int | None:
        """From the lease to the outcome: the run, and any wait for a free worker before it."""
        ended_at = self.recorded.ended_at
        return None if ended_at is None else ended_at - self.recorded.leased_at


class PastClock:
    """A clock that stands at a recorded instant when it is made, and goes on from there."""

    def __init__(self, at: int, clock: Clock) -> None:
        self._at = at
        self._clock = clock
        self._begun_s = clock.monotonic()

    def now_us(self) -> int:
        """See Clock.now_us."""
        return self._at + self.passed_us()

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self._clock.monotonic()

    def passed_us(self) -> int:
        """Microseconds since it was made."""
        return round((self._clock.monotonic() - self._begun_s) * SECOND_US)


def rerun(
    log: EventLog,
    key: str,
    worker: Call | Queue | Handlers,
    *,
    attempt: int | None = None,
    at: Point | None = None,
    clock: Clock | None = None,
    on_error: OnError | None = None,
) -> Rerun:
    """Calls the worker, here and now, with the task as a recorded attempt was given it.

    Of a queue or Handlers it is the handler of the task's name, with what is wrapped around it and
    its rules; an isolated one is called in this process. ``attempt`` is its number; None takes the
    last one, of those begun up to the point ``at``. The worker really runs, and what it does to the
    world is done. Its ``ctx`` is of the recorded instant: ``ctx.fence`` is the recorded one,
    ``ctx.deadline`` lies in the past as far from the lease as it did then, ``ctx.remaining()``
    counts from now. A ``def`` worker runs in this thread, a coroutine in a loop of its own, so not
    from within a loop; context variables that it sets are gone afterwards. ``on_error`` is called
    with what it raised. Raises TaskNotFoundError, and ArgumentError for an attempt that was never
    made, and for a task that none of the handlers is for.
    """
    recorded = find_attempt(log, key, attempt=attempt, at=at)
    work = _work_of(worker, recorded.task.name)
    run = _Run(recorded, work, clock or SystemClock())
    call = run.call_async if work.is_async else run.call
    ended = ended_as(RunVariables().copy().run(call))
    verdict, differs = compare(recorded.ended, ended)
    if run.error is not None and on_error is not None:
        on_error(run.error)
    return Rerun(recorded, ended, run.ran_us, verdict, differs)


def _work_of(worker: Call | Queue | Handlers, name: str | None) -> Work:
    """What is called for a task of this name."""
    if isinstance(worker, Queue):
        works = worker._registry.works(None, unpacking)  # noqa: SLF001 - as its own runs do
    elif isinstance(worker, Handlers):
        arounds = worker.arounds
        works = {each.name: work_of_handler(each, arounds, call=unpacking(each)) for each in worker}
    else:
        return work_of_worker(worker)
    if name not in works:
        raise ArgumentError("worker", worker, f"handlers, of which one is for {name!r}")
    return works[name]


def find_attempt(
    log: EventLog, key: str, *, attempt: int | None = None, at: Point | None = None
) -> RecordedAttempt:
    """A recorded attempt: the last one of that number, or of all, begun up to the point.

    Raises TaskNotFoundError, and ArgumentError when there was none.
    """
    history = read_history(log, key)
    leases = leases_of(history, until=None if at is None else at.seq)
    then = "" if at is None else f" by position {at.seq}"
    if not leases:
        raise ArgumentError("key", key, f"a task that has been leased{then}")
    if attempt is not None:
        check_count(attempt, "attempt", least=1)
        made = max(number for _, number in leases)
        leases = [lease for lease in leases if lease[1] == attempt]
        if not leases:
            expected = f"one of the {made} attempts of task {key}{then}"
            raise ArgumentError("attempt", attempt, expected)
    return attempt_of(log.namespace, history, leases[-1][0])


def compare(recorded: Ended, here: Ended) -> tuple[RerunVerdict, str | None]:
    """Whether two endings are the same, and if not, which part differs.

    Results are compared as JSON, whatever the order of their names; errors by type, then message.
    """
    if recorded.kind not in OUTCOMES:
        return "nothing to compare", None
    if recorded.kind != here.kind:
        return "other outcome", "outcome"
    differs = _differing_result(recorded, here)
    if differs is not None:
        return "other result", differs
    differs = _differing_error(recorded.error, here.error)
    return ("same", None) if differs is None else ("other error", differs)


class _Run:
    """One call of the worker, and what becomes of it."""

    def __init__(self, recorded: RecordedAttempt, work: Work, clock: Clock) -> None:
        self.task: Task = recorded.task
        self._work = work
        self.ran_us = 0
        self.error: BaseException | None = None
        self._begun = partial(PastClock, recorded.leased_at, clock)
        self._clock = self._begun()

    def call(self) -> Outcome:
        """Calls a ``def`` worker; Ctrl-C passes through."""
        context = self._begin(Context)
        try:
            value = self._work.call(context, self.task)
            if is_awaitable(value):
                context.become_async()
                return self._call_async(value, context)
            outcome = returned(self.task, value, self._work)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            outcome = self._raised(error)
        return self._in_time(context, outcome)

    def call_async(self) -> Outcome:
        """Calls an ``async def`` worker in a new loop; Ctrl-C passes through."""
        context = self._begin(AsyncContext)

        async def called() -> object:
            return await self._work.call(context, self.task)

        return self._call_async(called(), context)

    def _call_async(self, value: Awaitable[object], context: Context) -> Outcome:
        outcome = asyncio.run(self._supervise(value, context))
        if isinstance(self.error, KeyboardInterrupt):
            raise self.error
        return outcome

    async def _supervise(self, value: Awaitable[object], context: Context) -> Outcome:
        """Awaits it, and cancels it through asyncio at its deadline, as a node does."""
        handle = asyncio.create_task(self._await(value))
        told = False
        while not handle.done():
            remaining_s = None if told else context.remaining()
            await asyncio.wait([handle], timeout=remaining_s)
            # The worker may have moved its deadline meanwhile.
            if not handle.done() and context.remaining() == 0.0:
                context.stop("deadline exceeded")
                told = told or handle.cancel()
        return self._in_time(context, handle.result())

    async def _await(self, value: Awaitable[object]) -> Outcome:
        try:
            return returned(self.task, await value, self._work)
        # Also Ctrl-C, which asyncio would print on its way through a loop.
        except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            return self._raised(error)

    def _begin(self, kind: type[Context]) -> Context:
        self._clock = self._begun()
        context = kind(self.task, self._clock)
        running.set(context)
        context.set_deadline(self.task.policy.deadline_us)
        return context

    def _raised(self, error: BaseException) -> Outcome:
        self.error = error
        return raised(self.task, error, self._work)

    def _in_time(self, context: Context, outcome: Outcome) -> Outcome:
        """The outcome, or the failure that a node records for whatever ends past its deadline."""
        self.ran_us = self._clock.passed_us()
        if context.remaining() != 0.0:
            return outcome
        return failed(self.task, describe(DeadlineExceededError(LATE)))


def _differing_result(recorded: Ended, here: Ended) -> str | None:
    # The reason often names an object by its address, which is another each time.
    if (recorded.result_missing is None) != (here.result_missing is None):
        return "whether a result is kept"
    ours, theirs = (
        sorted_json(msgspec.json.decode(ended.result_json or b"null")) for ended in (recorded, here)
    )
    return None if ours == theirs else "result"


def _differing_error(recorded: ErrorInfo | None, here: ErrorInfo | None) -> str | None:
    if recorded is None or here is None:
        return None
    if recorded.type != here.type:
        return "error type"
    return None if recorded.message == here.message else "error message"
