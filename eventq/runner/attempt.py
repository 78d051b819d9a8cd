"""One attempt: calling the worker, and what its return or exception means as an outcome.

Nothing here appends; outcomes are values that the runner settles.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.complete import CompleteAttempt
from eventq.core.durations import SECOND_US, parse_duration
from eventq.core.events import Noted
from eventq.core.new_task import size_bytes
from eventq.core.plain import plain, storable
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.core.values import ErrorInfo
from eventq.errors import (
    ArgumentError,
    AttemptCancelledError,
    AttemptStoppedError,
    Cancel,
    Fail,
    Retry,
    Snooze,
)
from eventq.handlers.children import CHILDREN_BYTES
from eventq.handlers.context import Context
from eventq.handlers.rules import RetryRules
from eventq.handlers.secret_texts import secrets_of, without
from eventq.handlers.telling import Telling
from eventq.handlers.tracing import AttemptTrace, carrying
from eventq.handlers.work import Work
from eventq.runner.describing import MESSAGE_CHARACTERS, describe

UNDONE = "the worker returned a {}, which nobody runs: write it without yield"
TOO_LATE = "its lease time was over before it began"
UNTOLD = ErrorInfo("Exception", "the worker raised an error that cannot be described")


class LeaseTime(Struct, eq=False):
    """How long the leases of one run last, which are renewed all at once."""

    ttl_s: float
    signed_s: float = 0.0
    """When its node last gave a sign of life. Monotonic seconds."""

    def is_over(self, now_s: float) -> bool:
        """Whether other nodes may have the tasks by now."""
        return now_s >= self.signed_s + self.ttl_s


class Attempt(Struct, eq=False):
    """A leased task on its way through a worker. The runner's thread and one worker share it."""

    task: Task
    context: Context
    work: Work
    lease: LeaseTime
    begun_s: float | None = None
    ended_s: float = 0.0
    outcome: Outcome | None = None
    stopped: bool = False
    """The worker ended by letting ctx.check()'s error pass, or by asyncio's cancellation."""
    revoked: bool = False
    """The lease is gone: the runner has settled the attempt without the worker."""
    interrupt: Callable[[Attempt], object] | None = None
    """Given this, cancels its asyncio task, or wakes who watches its process; from any thread.

    None until there is one.
    """
    hurried: bool = False
    """Its process is not given all the time to end that its handler asks for."""
    stray_s: float = math.inf
    """Since when it goes on without a lease. Monotonic seconds."""
    reported: bool = False
    """It is known to be stuck."""
    trace: AttemptTrace | None = None
    """What follows it in a tracing system."""
    settled: bool = False
    """Its own transaction has completed it: there is nothing left to settle."""

    def begin(self, monotonic_s: float) -> None:
        """For the executor, right before the worker is called: the deadline counts from here.

        Raises AttemptCancelledError where its lease time is over: it is given back.
        """
        if self.lease.is_over(monotonic_s):
            self.outcome = released(self, TOO_LATE)
            raise AttemptCancelledError(TOO_LATE)
        self.begun_s = monotonic_s
        task = self.task
        if task.policy.deadline_us is not None or task.expires_at_us is not None:
            self.context.set_deadline(task.policy.deadline_us)

    def due_s(self, *, now: int, monotonic_s: float) -> float | None:
        """When its deadline will pass, at the earliest; None for never. Monotonic seconds."""
        if self.context.deadline_s is not None:
            # Once it has been told to end, its process is watched elsewhere.
            return None if self.context.stopped_why else self.context.deadline_s
        task = self.task
        # It may begin at any moment from now on.
        lengths_us = []
        if task.policy.deadline_us is not None:
            lengths_us.append(task.policy.deadline_us)
        if task.expires_at_us is not None:
            lengths_us.append(task.expires_at_us - now)
        return monotonic_s + min(lengths_us) / SECOND_US if lengths_us else None

    def fail(self, error: BaseException) -> None:
        """For the executor: the worker raised. Never raises; an outcome that is there stays."""
        if self.context.visit is not None:
            self.complete(None)
        if self.outcome is None:
            self.stopped = is_stop(error)
            self.outcome = raised(self.task, error, self.work)

    def complete(self, outcome: Outcome | None) -> None:
        """For the executor: ends the transaction that the worker has left to be ended with it.

        With a completion, if it is one; else nothing of it is stored. Raises what keeps it from
        being so.
        """
        visit, self.context.visit = self.context.visit, None
        assert visit is not None, "it is asked where there is one"
        if outcome is None or outcome.kind != "completed":
            visit.end(None)
            return
        visit.end(CompleteAttempt(self._traced(with_told(outcome, self.context.telling))))
        self.settled = True

    def conclude(self, outcome: Outcome) -> Outcome:
        """See `concluded`."""
        return self._traced(concluded(outcome, self.context))

    def _traced(self, outcome: Outcome) -> Outcome:
        """The outcome, with tasks that carry the attempt's trace, if a commit has room for that."""
        if self.trace is None or not outcome.children:
            return outcome
        context = self.trace.context
        if context is None:
            return outcome
        children = carrying(outcome.children, context)
        if sum(map(size_bytes, children)) > CHILDREN_BYTES:
            return outcome
        return replace(outcome, children=tuple(children))

    def stop(self, why: str, *, hurry: bool = False) -> None:
        """Asks its worker to end, which may take its time; from the first time on."""
        self.hurried = self.hurried or hurry
        self.context.stop(why)
        if self.interrupt is not None:
            self.interrupt(self)

    def end(self, error: BaseException, monotonic_s: float) -> None:
        """For the executor: what ended the attempt is its outcome, unless it has one."""
        self.fail(error)
        self.ended_s = monotonic_s


def concluded(outcome: Outcome, context: Context) -> Outcome:
    """The outcome with what its worker has told, and the tasks that it makes if it completed.

    From here on the context takes nothing more. What was kept for a next attempt, and how far this
    one came, is of no use to a completed one.
    """
    return with_told(outcome, context.conclude())


def with_told(outcome: Outcome, telling: Telling | None) -> Outcome:
    """The outcome with what was told; see `concluded`."""
    if telling is None:
        return outcome
    told = (*telling.bodies(), *outcome.told)
    if outcome.kind != "completed":
        return replace(outcome, told=told)
    children = outcome.children
    if telling.children is not None:
        children = tuple(telling.children.orders)
    noted = tuple(body for body in told if isinstance(body, Noted))
    return replace(outcome, told=noted, children=children)


def returned(task: Task, value: object, work: Work) -> Outcome:
    """The outcome of a worker that returned: completed, with the value if it can be kept."""
    if value is None:
        return Outcome(task.number, task.fence, "completed")
    try:
        result_json = work.result_json(value)
    except ArgumentError as error:
        if _is_undone(value):
            return failed(task, describe(TypeError(UNDONE.format(type(value).__name__))))
        if work.keeps_strictly:
            return without_secrets(task, failed(task, describe(error)))
        # The work is done; that its result cannot be kept must not run it again.
        done = Outcome(task.number, task.fence, "completed", result_missing=str(error))
        return without_secrets(task, done)
    return Outcome(task.number, task.fence, "completed", result_json=result_json)


def raised(task: Task, error: BaseException, work: Work) -> Outcome:
    """The outcome of a worker that raised; describing the error may raise as well."""
    try:
        return without_secrets(task, _judged(task, _gist(error), work.rules))
    except BaseException as wrong:  # noqa: BLE001 - a broken exception must not take its thread along
        try:
            return without_secrets(task, failed(task, describe(wrong)))
        except BaseException:  # noqa: BLE001 - and neither must what it raised when it was asked
            return failed(task, UNTOLD)


def is_stop(error: BaseException) -> bool:
    """Whether the worker ended because its ctx or asyncio asked it to."""
    try:
        return isinstance(_gist(error), (AttemptStoppedError, asyncio.CancelledError))
    except BaseException:  # noqa: BLE001 - see raised
        return False


def is_awaitable(value: object) -> bool:
    """Whether the worker has handed out something to be awaited, like a coroutine."""
    return hasattr(type(value), "__await__")


def failed(task: Task, error: ErrorInfo) -> Outcome:
    """A failure; the chance that its backoff's jitter uses is drawn when it is settled."""
    return Outcome(task.number, task.fence, "failed", error=error)


def without_secrets(task: Task, outcome: Outcome) -> Outcome:
    """The outcome without what its task's secret tags hold in its words; a result is no words."""
    if not task.secret:
        return outcome
    secrets = secrets_of(task.tags_json, task.secret)
    error, missing = outcome.error, outcome.result_missing
    if error is not None:
        texts = (without(text, secrets) for text in (error.message, error.traceback))
        error = ErrorInfo(error.type, *texts)
    missing = None if missing is None else without(missing, secrets)
    reason = without(outcome.reason, secrets)
    return replace(outcome, error=error, result_missing=missing, reason=reason)


def released(attempt: Attempt, reason: str) -> Outcome:
    """An attempt that is given back, and not counted."""
    return Outcome(attempt.task.number, attempt.task.fence, "released", reason=reason)


def _judged(task: Task, error: BaseException, rules: RetryRules) -> Outcome:
    """What an error means: what it says itself, else the handler's rules, else the backoff."""
    number, fence = task.number, task.fence
    if isinstance(error, Cancel):
        met = None if error.__cause__ is None else describe(error.__cause__)
        return Outcome(number, fence, "cancelled", error=met, reason=_reason_of(error))
    if isinstance(error, Snooze):
        delay_us = parse_duration(error.delay, "delay")
        return Outcome(number, fence, "released", delay_us=delay_us, reason=_reason_of(error))
    met = describe(error)
    if isinstance(error, Fail):
        return Outcome(number, fence, "failed", error=met, fatal=True)
    if isinstance(error, Retry):
        wait_us = None if error.delay is None else parse_duration(error.delay, "delay")
        return Outcome(number, fence, "failed", error=met, delay_us=wait_us)
    rule = rules.find(error)
    if rule is None:
        return Outcome(number, fence, "failed", error=met)
    fatal = rule.backoff is None
    return Outcome(
        number, fence, "failed", error=met, backoff=rule.backoff, fatal=fatal, rule=rule.text
    )


def _reason_of(error: Cancel | Snooze) -> str:
    return storable(str(plain(error.reason)), MESSAGE_CHARACTERS)


def _gist(error: BaseException) -> BaseException:
    """The error that decides: a group's leaf, if all leaves mean the same to eventq; else itself.

    A TaskGroup wraps whatever its children raise. Of several waits, the longest is meant.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = _leaves(error)
    for kind in (Cancel, Fail, AttemptStoppedError):
        if all(isinstance(leaf, kind) for leaf in leaves):
            return leaves[0]
    for waiting in (Retry, Snooze):
        if all(isinstance(leaf, waiting) for leaf in leaves):
            return max(leaves, key=_wait_of)
    return error


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves


def _wait_of(retry: BaseException) -> int:
    delay = getattr(retry, "delay", None)
    return -1 if delay is None else parse_duration(delay, "delay")


def _is_undone(value: object) -> bool:
    """Whether the worker has only handed out the work, none of which has run."""
    if inspect.iscoroutine(value):
        # Else Python warns that it was never awaited, which the failure says better.
        value.close()
        return True
    return inspect.isawaitable(value) or inspect.isgenerator(value) or inspect.isasyncgen(value)
