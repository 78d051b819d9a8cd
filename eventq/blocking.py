"""The queue for threads: what a user's program calls. It checks, asks the node, and shows.

It decides nothing itself, and touches the log only to read.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

import msgspec
from msgspec import UNSET, UnsetType

from eventq.archive import open_archived
from eventq.core.create import CreateTasks, NewTask
from eventq.core.durations import Duration
from eventq.core.events import Event
from eventq.core.manage import CancelTask, ManageTask, RetryTask, UpdateTask
from eventq.core.new_task import (
    TaskOptions,
    TaskSpec,
    batches,
    check_policy,
    make_order,
    make_orders,
)
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.task import FINAL, Task
from eventq.core.validation import (
    States,
    check_count,
    check_duration,
    check_flag,
    check_instant,
    check_limit,
    check_lookup_key,
    check_namespace,
    check_priority,
    check_query,
    check_states,
    check_tags,
    check_text,
    check_values,
)
from eventq.errors import (
    AlreadyRunningError,
    ArgumentError,
    EventLoopError,
    EventqError,
    TaskNotFoundError,
)
from eventq.eventlog import Rows, open_log
from eventq.host.clock import Clock, SystemClock
from eventq.host.interrupts import Holding
from eventq.host.surroundings import running_loop, usable_cores
from eventq.node.node import Node
from eventq.replay.fold import task_history
from eventq.replay.query import (
    Stats,
    final_tasks,
    follow_events,
    open_tasks,
    read_events,
    take_stats,
)

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from eventq.runner import Runner, RunReport


Worker = Callable[[Any, Task], Any]


class BlockingQueue:
    """A task queue on an event log.

    All methods may be called from any thread. Errors are all EventqError; a wrong argument is an
    ArgumentError, and then nothing has been appended. After a fork the child may go on using it.
    """

    def __init__(
        self,
        url: str = "sqlite:///eventq.db",
        *,
        namespace: str = "default",
        max_age: Duration | None = None,
        max_retries: int | None = None,
        workers: int | None = None,
        deadline: Duration | None = None,
        backoff: Backoff | Duration = DEFAULT_BACKOFF,
        create: bool = True,
        archive: str | os.PathLike[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Opens the queue, making its database if it is missing and ``create``.

        ``max_age``: a task expires this long after its creation (None: never).
        ``max_retries``: attempts after the first (None: without limit).
        ``workers``: how many tasks `run` works on at a time (None: one for each CPU core that this
        process may use).
        ``deadline``: longest time an attempt may run (None: any).
        ``backoff``: a duration, the n-th retry comes n times it after the failure; or a Backoff.
        ``archive``: the folder of the log's archive, which is then read too.
        Durations are timedelta, seconds, or text like ``"2h30m"``. The task options are defaults:
        those of `new` beat them. Raises ArgumentError and LogError.
        """
        self.namespace = check_namespace(namespace)
        self.workers = (
            usable_cores()
            if workers is None
            else check_count(workers, "workers", least=1, most=10_000)
        )
        self._policy = check_policy(
            max_age=max_age, max_retries=max_retries, backoff=backoff, deadline=deadline
        )
        create = check_flag(create, "create")
        log = open_archived(open_log(url, namespace=self.namespace, create=create), archive)
        self.url = log.url
        self._node = Node(log, clock=clock or SystemClock())
        self._run_lock = threading.Lock()
        self._runner: Runner | None = None
        self._runs_in: AbstractEventLoop | None = None
        self._closing = False
        _open_queues.add(self)

    # Creating tasks.

    def new(
        self,
        tags: Mapping[str, Any] | None = None,
        *,
        priority: int = 0,
        key: str | None = None,
        scheduled_at: datetime | None = None,
        delay: Duration | None = None,
        expires_at: datetime | None = None,
        max_age: Duration | UnsetType | None = UNSET,
        max_retries: int | UnsetType | None = UNSET,
        backoff: Backoff | Duration | UnsetType = UNSET,
        deadline: Duration | UnsetType | None = UNSET,
    ) -> Task:
        """Creates a task; when this returns, it is durable.

        ``tags``: names (letters, digits, underscores) to JSON values, 64 KiB at most. ``priority``:
        higher runs first. ``key``: the caller's own id; the same call again gives the task that
        is there. Either ``scheduled_at`` or ``delay``, and either ``expires_at`` or ``max_age``.
        Raises ArgumentError, KeyConflictError (the key's task has other content), LogError.
        """
        options: TaskOptions = {
            "priority": priority,
            "key": key,
            "scheduled_at": scheduled_at,
            "delay": delay,
            "expires_at": expires_at,
            "max_age": max_age,
            "max_retries": max_retries,
            "backoff": backoff,
            "deadline": deadline,
        }
        return self._create([make_order(tags, self._policy, options)])[0]

    def new_many(
        self,
        tasks: Iterable[Mapping[str, Any] | TaskSpec],
        /,
        **options: Unpack[TaskOptions],
    ) -> list[Task]:
        """Creates many tasks, each from its tags or a TaskSpec; ``options`` are for all.

        Up to 1,000 tasks and 1 MiB are one commit: all or nothing. More are cut into commits of
        that size, in order. Every item is checked before the first commit. Raises as `new`.
        """
        orders = make_orders(tasks, self._policy, options)
        created: list[Task] = []
        for batch in batches(orders):
            created += self._create(batch)
        return created

    # Running them.

    def run(
        self,
        worker: Worker,
        *,
        until: Literal["idle"] | None = None,
        grace: Duration = "30s",
        lease_ttl: Duration = "30s",
        signals: bool = True,
        max_stuck: Duration | None = None,
    ) -> RunReport:
        """Calls ``worker(ctx, task)`` for each task in priority order, until SIGTERM or SIGINT.

        A ``def`` worker runs in threads, an ``async def`` one in one event loop. Returning
        completes the task; a JSON value is kept as its result. Raising fails the attempt; `Retry`
        and `Cancel` say more. ``until="idle"`` returns once nothing is ready, running or waiting
        for a retry. The first signal (or `stop`) lets running attempts finish for ``grace``, the
        second cancels them; without ``signals``, only `stop` does. Other nodes take the tasks over
        ``lease_ttl`` after this process died. Raises LogError when the log cannot be used,
        AlreadyRunningError, and WorkersStuckError when all workers have ignored for ``max_stuck``
        that they should end (None: never).
        """
        from eventq.runner import run_worker, stopping_on_signals  # noqa: PLC0415 - loads asyncio

        signals = check_flag(signals, "signals")
        runner = run_worker(
            self._node,
            worker,
            workers=self.workers,
            until=until,
            grace=grace,
            lease_ttl=lease_ttl,
            max_stuck=max_stuck,
        )
        stopping = stopping_on_signals(runner.stop) if signals else nullcontext()
        with self._running(runner), stopping:
            try:
                return runner.run()
            finally:
                self._runner = None

    def stop(self) -> bool:
        """Asks `run` to stop, as a signal does: a second call forces.

        Tells whether there was a run to ask; without one, nothing is remembered.
        """
        runner = self._runner
        if runner is None:
            return False
        runner.stop()
        return True

    # Looking.

    def get(self, key: str) -> Task | None:
        """The task with this key (a caller's key, or a number as text), final or not; or None."""
        key = check_lookup_key(key)
        with self._node.reading():
            try:
                return self._node.find(key).as_of(self._node.now())
            except TaskNotFoundError:
                return None

    def tasks(
        self,
        *,
        state: States | None = None,
        tags: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> list[Task]:
        """Tasks in dispatch order: those leased, then ready, then scheduled.

        ``state``: one or several of scheduled, ready, leased, completed, expired, cancelled; None
        means all that are open. Final tasks come last, newest first, read from the end of the
        log: with a ``limit`` that costs little. ``tags``: only tasks with these values.
        """
        limit = check_limit(limit)
        wanted = check_states(state)
        tags = None if tags is None else msgspec.json.decode(check_tags(tags))
        with self._node.reading() as projection:
            now, seq = self._node.now(), projection.seq
            found = open_tasks(projection, states=wanted, tags=tags, limit=limit, now=now)
            ends = projection.final_counts()
        left = None if limit is None else limit - len(found)
        # Not inside: it takes its time, in which a run must renew its leases.
        return found + final_tasks(
            self._node.log,
            states=wanted,
            tags=tags,
            limit=left,
            now=now,
            until=seq,
            count=sum(ends[state] for state in wanted & FINAL),
        )

    def history(self, key: str) -> list[Event]:
        """All events of one task, oldest first. Raises TaskNotFoundError."""
        key = check_lookup_key(key)
        with self._node.reading():
            number = self._node.find(key).number
        return task_history(self._node.log, number)

    def events(self, *, after: int = 0, follow: bool = False) -> Iterator[Event]:
        """The events behind position ``after``; with ``follow``, waits for more without end."""
        after = check_count(after, "after", least=0, most=2**63)
        follow = check_flag(follow, "follow")
        if not follow:
            return read_events(self._node.log, after)
        self._check_not_in_run_loop("events(follow=True)", "`queue.events_async(follow=True)`")
        return follow_events(self._node.log, after)

    def stats(self) -> Stats:
        """How many tasks are in each state, and what has happened so far.

        Warns where the log is ahead of the clock.
        """
        self._node.warn_again()
        with self._node.reading() as projection:
            return take_stats(projection, now=self._node.now())

    def sql(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """One read-only SQL statement over the log, on SQLite; the docs list the views.

        Raises ArgumentError for what is no read-only statement, or a log without SQL.
        """
        return self._node.log.query(check_query(query), check_values(values))

    # Managing.

    def cancel(self, key: str, *, reason: str = "", by: str | None = None) -> Task:
        """Calls an open task off; a running attempt is told through its ctx.

        Raises TaskNotFoundError, NotAllowedError for a completed or expired task.
        """
        reason = check_text(reason, "reason")
        by = None if by is None else check_text(by, "by")
        return self._manage(key, CancelTask(reason, by))

    def retry(self, key: str, *, by: str | None = None) -> Task:
        """Makes a waiting task ready now, or reopens an expired or cancelled one.

        A reopened task has its retries anew and its max_age counts from now. Raises
        TaskNotFoundError, NotAllowedError for a running or completed task.
        """
        by = None if by is None else check_text(by, "by")
        return self._manage(key, RetryTask(by))

    def update(
        self,
        key: str,
        *,
        priority: int | None = None,
        tags: Mapping[str, Any] | None = None,
        scheduled_at: datetime | None = None,
        delay: Duration | None = None,
        by: str | None = None,
    ) -> Task:
        """Edits a task that is not running; None leaves a thing as it is. Raises as `retry`."""
        new_priority = None if priority is None else check_priority(priority)
        tags_json = None if tags is None else check_tags(tags)
        at = check_instant(scheduled_at, "scheduled_at")
        delay_us = check_duration(delay, "delay")
        by = None if by is None else check_text(by, "by")
        if at is not None and delay_us is not None:
            raise ArgumentError("delay", delay, "either delay or scheduled_at, not both")

        return self._manage(key, UpdateTask(new_priority, tags_json, at, delay_us, by))

    def close(self) -> None:
        """Stops a run in progress, waits for it, and closes the log; may come twice.

        Raises AlreadyRunningError in a worker, which it would wait for (a worker may call `stop`),
        and EventLoopError in the event loop of a `run_async`, which it would hold up.
        """
        self._check_not_worker()
        self._check_not_in_run_loop("close()", "`await queue.close_async()`, or `async with`")
        self._begin_close()
        self._finish_close()

    def __enter__(self) -> Self:
        """The queue itself; the block's end closes it. Raises EventLoopError in an event loop."""
        if running_loop() is not None:
            raise EventLoopError("the end of `with`", "`async with`")
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Closes the queue; an error of the block is never hidden by one of closing."""
        try:
            self.close()
        except EventqError as refusal:
            if error is None:
                raise
            error.add_note(f"the queue was not closed: {refusal}")

    def __repr__(self) -> str:
        """Where it is; never a password."""
        return f"<Queue {self.url} namespace={self.namespace!r}>"

    def _create(self, orders: list[NewTask]) -> list[Task]:
        committed = self._node.execute(CreateTasks(orders))
        tasks = [
            place if isinstance(place, Task) else committed.tasks[place]
            for place in committed.result
        ]
        assert all(tasks), "a created task is never missing"
        return [task for task in tasks if task is not None]

    def _manage(self, key: str, edit: CancelTask | RetryTask | UpdateTask) -> Task:
        committed = self._node.execute(ManageTask(check_lookup_key(key), edit))
        after = committed.tasks[-1] if committed.tasks else committed.result
        assert after is not None
        return after.as_of(self._node.now())

    def _check_not_worker(self) -> None:
        runner = self._runner
        if runner is not None and runner.works_here():
            raise AlreadyRunningError("a worker cannot close its own queue; it may call stop()")

    def _check_not_in_run_loop(self, call: str, instead: str) -> None:
        if self._runs_in is not None and self._runs_in is running_loop():
            raise EventLoopError(call, instead)

    def _begin_close(self) -> None:
        self._closing = True
        self.stop()

    def _finish_close(self) -> None:
        with self._run_lock:
            self._node.close()

    def _running(self, runner: Runner, loop: AbstractEventLoop | None = None) -> Holding[None]:
        def begin() -> None:
            self._runner = runner
            self._runs_in = loop
            if self._closing:
                # A close that came before there was a run to ask waits for its end.
                runner.stop()

        return Holding(self._run_lock, begin, busy=AlreadyRunningError)

    def _after_fork(self) -> None:
        self._run_lock = threading.Lock()
        self._runner = self._runs_in = None
        self._node.after_fork()


def _after_fork() -> None:
    for queue in list(_open_queues):
        queue._after_fork()  # noqa: SLF001 - this module's own class


_open_queues: weakref.WeakSet[BlockingQueue] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
