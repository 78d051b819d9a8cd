"""What a worker is given beside its task; it changes nothing but its own attempt's deadline.

What it tells, and the tasks that it asks for, wait in `telling` for a commit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar, Unpack, overload

import msgspec
from msgspec import Raw

from eventq.core.commits import AnyBody, Unknown
from eventq.core.create import NewTask, check_order
from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.events import Progressed, Saved
from eventq.core.new_task import MakesSpecs, TaskSpec, make_orders, order_for
from eventq.core.options import TaskOptions
from eventq.core.plain import plain, storable
from eventq.core.task import DEFAULT_LANE, Task, instant
from eventq.core.validation import check_json, check_measure
from eventq.core.values import RESULT_BYTES, LogLine, Policy
from eventq.errors import (
    ArgumentError,
    AttemptCancelledError,
    DeadlineExceededError,
    NoAttemptError,
)
from eventq.handlers.children import Children, NewTaskRef
from eventq.handlers.secret_texts import without
from eventq.handlers.telling import (
    FIRST_S,
    NOTE_CHARACTERS,
    PLAIN_SETTING,
    KeptLogger,
    Setting,
    Telling,
)
from eventq.handlers.transaction import Transaction, check_timeout
from eventq.host.clock import Clock
from eventq.host.logger import SafeLogger
from eventq.node.visit import Visit

P = ParamSpec("P")
T = TypeVar("T")

NEVER_US = 2**63
LATE = "the attempt ran past its deadline"
OVER = "the attempt has ended"
LOGGER = "eventq.worker"

# One for all attempts, held for a moment: a lock in each would cost every task its making.
_making = threading.Lock()

running: ContextVar[Context] = ContextVar("eventq_running")


def current() -> Context:
    """The context of the attempt that runs here, also in what its worker calls.

    Not in a thread that the worker starts, unless it copies the context variables to it. Raises
    NoAttemptError where no attempt runs.
    """
    try:
        return running.get()
    except LookupError:
        raise NoAttemptError("no attempt runs here") from None


class Context:
    """One attempt as its worker sees it. Safe to use from any thread the worker starts."""

    __slots__ = {
        **dict.fromkeys(("_clock", "_deadline_at", "_setting", "_stopped", "_stopped_why", "task")),
        "deadline_s": "For the runner: the deadline on the monotonic clock.",
        "is_over": "For the runner: it is set once what the attempt has told goes with its end.",
        "telling": "For the runner: what the attempt has told; None where it has told nothing.",
        "visit": "For the runner: the transaction that ends as the attempt completes, or None.",
    }

    def __init__(self, task: Task, clock: Clock, setting: Setting = PLAIN_SETTING) -> None:
        self.task = task
        self._setting = setting
        self.telling: Telling | None = None
        self.visit: Visit | None = None
        self.is_over = False
        self._clock = clock
        self._stopped_why: str | None = None
        self._stopped: threading.Event | None = None
        self.deadline_s: float | None = None
        self._deadline_at: int | None = None

    @property
    def fence(self) -> int:
        """The lease's position in the log: others can refuse whoever brings a smaller one."""
        return self.task.fence

    @property
    def deadline(self) -> datetime | None:
        """When the attempt will be failed if it still runs; None for never."""
        return None if self._deadline_at is None else instant(self._deadline_at)

    @property
    def deadline_at(self) -> int | None:
        """For the runner: the deadline in microseconds since 1970."""
        return self._deadline_at

    @property
    def stopped_why(self) -> str | None:
        """For the runner: what the worker was told when it was asked to end."""
        return self._stopped_why

    @property
    def cancelled(self) -> bool:
        """Whether the attempt should stop: cancelled, out of time, or its lease lost."""
        return self._stopped_why is not None or self.is_late()

    @property
    def log(self) -> SafeLogger:
        """A logger (``eventq.worker``) whose records carry the attempt.

        That is task, task_name, lane, attempt, fence and namespace.

        Its calls may add an ``extra`` of their own. Whatever the application's logging raises,
        the attempt goes on. With ``keep_logs`` on the handler they are kept with the attempt.
        """
        task, level = self.task, self._setting.keeps_level
        extra = {
            "task": task.key,
            "task_name": task.name,
            "lane": task.lane or DEFAULT_LANE,
            "attempt": task.attempt,
            "fence": task.fence,
            "namespace": task.namespace,
        }
        if level is None:
            return SafeLogger(LOGGER, extra)
        return KeptLogger(LOGGER, extra, level=level, keep=self._keep)

    @overload
    def new(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> NewTaskRef: ...
    @overload
    def new(self, task: TaskSpec, /) -> NewTaskRef: ...
    @overload
    def new(self, handler: MakesSpecs[P], /, *args: P.args, **kwargs: P.kwargs) -> NewTaskRef: ...
    def new(self, what: Any = None, /, *args: Any, **options: Any) -> NewTaskRef:
        """Makes a task in the same commit as this attempt's completion, and only then.

        It takes what `Queue.new` takes, and checks it now; there is no number yet. An attempt that
        ends in any other way makes none. A key that a task of the same content has gives that task;
        one that belongs to another is found at the commit, and fails the attempt for good. Raises
        as `Queue.new`, as `check` does, NoAttemptError once the attempt has ended, and
        ArgumentError beyond 999 tasks or 896 KiB.
        """
        self._check_on()
        return self._ask_for([order_for(what, args, options, self._setting.policy)])[0]

    def new_many(
        self, tasks: Iterable[Mapping[str, Any] | TaskSpec], /, **options: Unpack[TaskOptions]
    ) -> list[NewTaskRef]:
        """Makes many tasks with the completion, each from its tags or a TaskSpec, or none of them.

        ``options`` are for all. Raises as `new`.
        """
        self._check_on()
        return self._ask_for(make_orders(tasks, self._setting.policy, options))

    def transaction(self, *, timeout: Duration = "1s") -> Transaction:
        """Rows of your own and this attempt's completion, stored together: an effect exactly once.

        ``with ctx.transaction() as tx: tx.execute("UPDATE ...")``, on eventq's own SQLite file.
        When the worker returns, the rows, the completion and the tasks that it makes are one
        commit; when it raises, or has lost its lease, none of it is stored. It holds up all who
        append to the file until the worker has returned: for longer than ``timeout`` (10 s at
        most), and it is rolled back. In an ``async def`` worker: ``async with``, and ``await
        tx.execute(...)``. Raises ArgumentError on another log, and in an isolated attempt.
        """
        self._check_on()
        timeout_s, visit = check_timeout(timeout), self._setting.visit
        if visit is None:
            expected = "an attempt in its run's own process, on eventq's own SQLite file"
            raise ArgumentError("transaction", self.task.key, expected)
        return Transaction(partial(visit, timeout_s), ContextAsking(self), self._setting.policy)

    def ask_for(self, orders: list[NewTask]) -> list[NewTaskRef]:
        """For the runner: the tasks of a transaction come with the completion."""
        return self._ask_for(orders)

    @property
    def results(self) -> dict[str, Any]:
        """The results of the tasks that it came after and that completed, by their keys."""
        return {k: msgspec.json.decode(text) for k, text in self._setting.results.items()}

    @property
    def results_json(self) -> Mapping[str, bytes]:
        """For the runner: the same as JSON text."""
        return self._setting.results

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Says how far the attempt has come; the log is told once a second at most.

        Others see it as `Task.progress`. Losing it loses nothing: an attempt that has ended, or
        lost its lease, says it in vain. Raises ArgumentError for what is no finite number, 0 or
        more.
        """
        done = check_measure(done, "done")
        total = None if total is None else check_measure(total, "total")
        text = plain(note)
        if not isinstance(text, str):
            raise ArgumentError("note", note, "text")
        note = storable(text, NOTE_CHARACTERS)
        telling = self._begin_telling()
        note = without(note, telling.secrets)
        with telling.lock:
            telling.progress = Progressed(self.fence, done=done, total=total, note=note)
            self._be_heard(telling)

    def track(self, items: Iterable[T], note: str = "") -> Iterator[T]:
        """The items, one by one, with `progress` told of each that is done."""
        total = len(items) if isinstance(items, Sized) else None
        self.progress(0, total, note)
        for done, item in enumerate(items, 1):
            yield item
            self.progress(done, total, note)

    @property
    def saved(self) -> Any:  # noqa: ANN401 - whatever JSON value was saved
        """The value that was saved last, by this attempt or one before; None without one."""
        telling = self.telling
        text = self.task.saved_json
        if telling is not None and telling.saved_json is not None:
            text = telling.saved_json
        return None if text is None else msgspec.json.decode(text)

    def save(self, value: Any) -> None:  # noqa: ANN401 - any JSON value
        """Keeps a JSON value, 64 KiB at most, for the next attempt, which has it as `saved`.

        It is in the log within a second, and before the attempt's failure is; a later value takes
        its place. The completion drops it. Raises ArgumentError, as `check` does, and
        NoAttemptError once the attempt has ended.
        """
        self._check_on()
        text = check_json(value, "value", RESULT_BYTES)
        telling = self._begin_telling()
        with telling.lock:
            self._check_on()
            telling.saved_json = text
            telling.saved = Saved(self.fence, value=Raw(text))
            self._be_heard(telling)

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        if self.deadline_s is None:
            return None
        return max(0.0, self.deadline_s - self._clock.monotonic())

    def check(self) -> None:
        """Returns while the attempt should go on.

        Raises DeadlineExceededError past the deadline, AttemptCancelledError when the task was
        cancelled, its lease lost or given back. Let them pass through the worker.
        """
        if self.is_late():
            raise DeadlineExceededError(LATE)
        if self._stopped_why is not None:
            raise AttemptCancelledError(self._stopped_why)

    def sleep(self, duration: Duration) -> None:
        """Sleeps, but wakes and raises like `check` as soon as the attempt should stop."""
        length_s = parse_duration(duration) / SECOND_US
        remaining_s = self.remaining()
        with _making:
            # Two threads of one worker must wait for the same one.
            if self._stopped is None:
                self._stopped = threading.Event()
        # Looked at after the event is in place: whoever stops sets the reason first, then it.
        if self._stopped_why is None:
            self._stopped.wait(length_s if remaining_s is None else min(length_s, remaining_s))
        self.check()

    def extend(self, by: Duration | None = None) -> None:
        """Moves the deadline to ``by`` from now, if that is later; never past ``expires_at``.

        None takes the task's own deadline again. Raises as `check` does when it is too late.
        """
        self.check()
        by_us = self.task.policy.deadline_us if by is None else parse_duration(by, "by")
        if by_us is None:
            raise ArgumentError("by", by, "a duration, since the task has no deadline")
        self.set_deadline(by_us)

    def set_deadline(self, length_us: int | None) -> None:
        """For the runner: the deadline lies ``length_us`` from now, or at ``expires_at``."""
        expires_at = self.task.expires_at_us
        if length_us is None and expires_at is None:
            return
        now = max(self._clock.now_us(), self.task.seen_at_us)
        ends_at = NEVER_US if length_us is None else max(now + length_us, self._deadline_at or 0)
        self._deadline_at = ends_at if expires_at is None else min(ends_at, expires_at)
        self.deadline_s = self._clock.monotonic() + (self._deadline_at - now) / SECOND_US

    def stop(self, why: str) -> None:
        """For the runner: tells the worker to stop."""
        self._stopped_why = self._stopped_why or why
        if self._stopped is not None:
            self._stopped.set()

    @property
    def policy(self) -> Policy:
        """For the runner: the queue's, for the tasks that the attempt makes."""
        return self._setting.policy

    def take_told(self, bodies: Iterable[AnyBody | Unknown]) -> None:
        """For the runner: what the attempt has told in its own process."""
        telling = self._begin_telling()
        with telling.lock:
            telling.take(bodies)
            self._be_heard(telling)

    def conclude(self) -> Telling | None:
        """For the runner: the attempt has ended. What it has told and not been rid of, if anything.

        From here on nothing is added to it.
        """
        # First this, then the look: whoever begins to tell meanwhile finds that it is over.
        self.is_over = True
        telling = self.telling
        if telling is not None:
            with telling.lock:
                telling.is_over = True
        return telling

    def become_async(self) -> None:
        """For the runner: the worker has handed out a coroutine, and none of it has run.

        The coroutine holds this very context, so that its class is changed, not the context.
        """
        self.__class__ = AsyncContext

    def _check_on(self) -> None:
        """Raises as `check` does, and NoAttemptError once the attempt has ended."""
        self.check()
        if self.is_over:
            raise NoAttemptError(OVER)

    def _ask_for(self, orders: list[NewTask]) -> list[NewTaskRef]:
        now = max(self._clock.now_us(), self.task.seen_at_us)
        for order in orders:
            check_order(order, now)
        telling = self._begin_telling()
        with telling.lock:
            self._check_on()
            if telling.children is None:
                telling.children = Children()
            return telling.children.add(orders)

    def _keep(self, level: str, text: str) -> None:
        """Keeps a line of the log with the attempt; once that has ended, in vain."""
        telling = self._begin_telling()
        with telling.lock:
            if telling.add_line(LogLine(self._clock.now_us(), level, text)):
                self._be_heard(telling)

    def _begin_telling(self) -> Telling:
        with _making:
            if self.telling is None:
                self.telling = Telling(self.task)
            return self.telling

    def _be_heard(self, telling: Telling) -> None:
        """Has the run know that there is something to take, under the telling's lock."""
        if telling.is_waiting or self.is_over:
            return
        telling.is_waiting = True
        telling.due_s = max(telling.from_s, self._clock.monotonic() + FIRST_S)
        self._setting.hear(telling)

    def is_late(self) -> bool:
        """For the runner: whether the deadline has passed."""
        return self.deadline_s is not None and self._clock.monotonic() >= self.deadline_s


class ContextAsking:
    """An attempt's transaction: it ends as the attempt completes, and its tasks are made then."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def ask(self, orders: list[NewTask]) -> list[NewTaskRef]:
        """See TransactionEnd.ask."""
        return self._context.ask_for(orders)

    def finish(self, visit: Visit) -> list[Task]:
        """See TransactionEnd.finish."""
        self._context.visit = visit
        return []


class AsyncContext(Context):
    """The context of an ``async def`` worker, which is also cancelled through asyncio."""

    __slots__ = ()

    async def sleep(self, duration: Duration) -> None:  # type: ignore[override]
        """Sleeps without holding up the loop; the runner cancels it when it should stop."""
        import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

        length_s = parse_duration(duration) / SECOND_US
        remaining_s = self.remaining()
        await asyncio.sleep(length_s if remaining_s is None else min(length_s, remaining_s))
        self.check()
