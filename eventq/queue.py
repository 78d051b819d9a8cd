"""The public face: `Queue`, and `AsyncQueue`, the same awaited. They check, ask the node, and show.

They decide nothing themselves, and touch the log only to read.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, Unpack, overload

import msgspec
from msgspec.structs import replace

from eventq.aio import AsyncPlan, AsyncSchedules, AsyncSelection, awaited, follow_log, taking
from eventq.archive import open_archived
from eventq.catalog.bulks import BulkState, list_bulks
from eventq.catalog.finishing import finish_bulk
from eventq.catalog.orders import ORDERS, Order
from eventq.catalog.place import check_path
from eventq.catalog.plan import Applied, Plan, Selection
from eventq.catalog.search import CatalogSearch, FoundTasks, TaskList, find_tasks, list_tasks
from eventq.catalog.selector import Selector, SelectorOptions
from eventq.catalog.undo import plan_undo
from eventq.catalog.undo_rules import RulePlan
from eventq.core.asking import check_asking
from eventq.core.commits import Event
from eventq.core.create import NewTask
from eventq.core.create_flow import CreateFlow
from eventq.core.create_tasks import creating
from eventq.core.durations import Duration
from eventq.core.events import Asked
from eventq.core.follow import DropFollower
from eventq.core.govern import CancelRunning, PauseTasks, ResumeTasks, SetLimit, SetTurns
from eventq.core.manage import (
    CancelTask,
    ManageTask,
    RepeatTask,
    RetryTask,
    UpdateTask,
    make_update,
)
from eventq.core.new_task import TaskSpec, batches, make_orders, order_for
from eventq.core.options import TaskOptions, make_policy
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.queue_events import Paused, Resumed, Shared
from eventq.core.reference import ResultOf, check_task
from eventq.core.rule_options import (
    ScopeOptions,
    check_until,
    make_limited,
    make_scope,
    make_shared,
)
from eventq.core.task import Task
from eventq.core.validation import (
    States,
    check_count,
    check_duration,
    check_flag,
    check_key,
    check_limit,
    check_lookup_key,
    check_name,
    check_namespace,
    check_pattern,
    check_query,
    check_states,
    check_tags,
    check_values,
)
from eventq.core.values import Via
from eventq.errors import ArgumentError, EventLoopError, EventqError, TaskNotFoundError
from eventq.eventlog import EventLog, Rows, open_log
from eventq.handlers.around import Call
from eventq.handlers.collection import Handlers
from eventq.handlers.flow import Flow
from eventq.handlers.handler import Handler
from eventq.handlers.registry import Registry
from eventq.handlers.tracing import Tracing, repeated
from eventq.handlers.transaction import QueueAsking, Transaction, check_timeout, tasks_of
from eventq.host.clock import Clock, SystemClock
from eventq.host.loading import check_guarded
from eventq.host.surroundings import in_thread, running_loop, usable_cores
from eventq.node.end_watch import EndWatch
from eventq.node.managing import manage_task
from eventq.node.node import Node
from eventq.replay.attempts import PastAttempt, past_attempts
from eventq.replay.blocking import waits_for
from eventq.replay.fold import task_history
from eventq.replay.followers import FollowerState, follower_states
from eventq.replay.points import END, PointLike, find_point
from eventq.replay.query import (
    Stats,
    TaskFilter,
    first_instant,
    follow_events,
    read_events,
    take_stats,
)
from eventq.replay.rules_now import BucketState, PauseState, bucket_states, pause_states
from eventq.runner.relays import Relayed, await_with_relays, check_outboxes, with_relays
from eventq.runner.slot import RunSlot
from eventq.runner.workload import Workload, make_workload
from eventq.schedules.managing import QueueSchedules

if TYPE_CHECKING:
    from eventq.anchors import AnchorKeeper, KeepAnchors
    from eventq.runner.runner import RunReport

P = ParamSpec("P")
A = TypeVar("A", bound=Asked)

DEFAULT_URL = "sqlite:///eventq.db"


class Queue:
    """A task queue on an event log, for threads; `aio` is the same queue for asyncio.

    All methods may be called from any thread. Errors are all EventqError; a wrong argument is an
    ArgumentError, and then nothing has been appended. After a fork the child may go on using it.
    """

    tracing: Tracing | None = None
    """What follows its tasks, where `contrib.otel` has set it."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        namespace: str = "default",
        max_age: Duration | None = None,
        max_retries: int | None = None,
        max_lapses: int | None = None,
        workers: int | None = None,
        deadline: Duration | None = None,
        backoff: Backoff | Duration = DEFAULT_BACKOFF,
        handlers: Iterable[Handlers] = (),
        create: bool = True,
        archive: str | os.PathLike[str] | None = None,
        catalog: str | os.PathLike[str] | None = None,
        anchors: KeepAnchors | None = None,
        log: EventLog | None = None,
        clock: Clock | None = None,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Opens the queue, making its database if it is missing and ``create``.

        ``max_age``: a task expires this long after its creation (None: never).
        ``max_retries``: attempts after the first (None: without limit).
        ``max_lapses``: attempts in a row that may die with their process (None: without limit).
        ``workers``: how many tasks `run` works on at a time (None: one for each usable CPU core).
        ``deadline``: longest time an attempt may run (None: any).
        ``backoff``: a duration, the n-th retry comes n times it after the failure; or a Backoff.
        ``handlers``: collections of handlers that `run` calls, and whose tasks this queue makes.
        ``archive``, ``catalog``: where the log's archive is, which is then read too; its catalog.
        ``anchors``: how `run` keeps anchors of the log while it goes on.
        ``log``: an open log, instead of a URL and a namespace; the queue closes it.
        ``chance``: draws a number from 0 up to 1, for the jitter of retries.
        Durations are timedelta, seconds, or text like ``"2h30m"``. The task options are defaults:
        those of `new` beat them. Raises ArgumentError and LogError.
        """
        if log is not None and (url != DEFAULT_URL or namespace not in {"default", log.namespace}):
            raise ArgumentError("log", log, "a log, or a URL and a namespace, not both")
        self.namespace = name = check_namespace(namespace) if log is None else log.namespace
        count = usable_cores() if workers is None else workers
        self.workers = check_count(count, "workers", least=1, most=10_000)
        self._policy = make_policy(
            max_age=max_age,
            max_retries=max_retries,
            max_lapses=max_lapses,
            backoff=backoff,
            deadline=deadline,
        )
        self._registry = Registry(self, handlers)
        create, path = check_flag(create, "create"), check_path(catalog)
        self.log = open_archived(log or open_log(url, namespace=name, create=create), archive)
        self.url, self.anchors = self.log.url, anchors
        self._node = Node(self.log, clock=clock or SystemClock())
        self._slot = RunSlot(self._node, chance=chance or random.random, beside=self._keeper)
        self._ends = EndWatch(self._node)
        self._search = CatalogSearch(self.log, path)
        self.task = self._registry.own.task
        """Registers a handler on this queue; see `Handlers.task`."""
        self.around = self._registry.own.around
        """Wraps each attempt of this queue's runs; see `Handlers.around`."""
        self.follow = self._registry.own.follow
        """Has a function called for events, by this queue's runs; see `Handlers.follow`."""
        self.cron, self.every = self._registry.own.cron, self._registry.own.every
        """Make tasks by the clock or every so often; see `Handlers.cron` and `Handlers.every`."""
        self.schedules = QueueSchedules(self._node, self._registry.schedules)
        """The schedules of the log, by name."""
        self.limit, self.fair = self._registry.own.limit, self._registry.own.fair
        """Define limits and turns, set by this queue's runs; see `Handlers.limit` and `fair`."""
        self._registry.bind()
        _open_queues.add(self)

    @property
    def aio(self) -> AsyncQueue:
        """This queue for asyncio: the same methods, awaited."""
        return AsyncQueue.of(self)

    # Creating tasks.

    @overload
    def new(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> Task: ...
    @overload
    def new(self, task: TaskSpec, /) -> Task: ...
    @overload
    def new(self, handler: Handler[P, Any, Any], /, *args: P.args, **kwargs: P.kwargs) -> Task: ...
    def new(self, what: Any = None, /, *args: Any, **options: Any) -> Task:
        """Creates a task; when this returns, it is durable.

        From ``tags``: names (letters, digits, underscores) to JSON values, 64 KiB at most; from a
        TaskSpec; or from a handler and its arguments (its options come by `Handler.using`).
        ``priority``: higher runs first. ``key``: the caller's own id; the same call again returns
        the task that is there. Either ``scheduled_at`` or ``delay``, and either ``expires_at`` or
        ``max_age``. ``max_retries``, ``max_lapses``, ``backoff`` and ``deadline``: instead of the
        queue's. ``name``: of the handler that it is for; ``lane``: what workers choose it by.
        ``unique``: a text of which one task is open at a time, or True for name and tags. While one
        is, that is returned; with ``on_duplicate`` "raise", DuplicateTaskError is raised, and with
        "replace" it gets these tags and this schedule first, if it is pending. ``after``: tasks, or
        their keys, that must complete before; ``if_failed`` "cancel", "run" or "hold": what becomes
        of it if one of them does not. ``limits``: the limits that it takes a place in while it
        runs, each by its tag's value or (``{"smtp": "mx1"}``) by one that is given.
        ``exclusive``: values of each of which one task runs at a time. ``share``: whose turn it is
        among equals, instead of its tag's value. ``secret``: tags whose values only its worker is
        to see.

        Raises ArgumentError, KeyConflictError (the key's task has other content),
        TaskNotFoundError (``after``), LogError, and TypeError for arguments that the handler does
        not take.
        """
        return self._create([order_for(what, args, options, self._policy)])[0]

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

    def flow(self, key: str | None = None) -> Flow:
        """Tasks that are made together: ``with queue.flow("doc:42") as flow: flow.new(...)``.

        One commit holds them all, made when the block ends; none, if it raises. Members come after
        each other by ``after`` and ``.result``; finalisers come when all members are final. The
        ``key`` is taken by this flow for good. Raises ArgumentError; and, at the block's end,
        FlowExistsError, KeyConflictError, DuplicateTaskError and LogError.
        """
        return Flow(self._create_flow, self._policy, check_key(key))

    def transaction(self, *, timeout: Duration = "1s") -> Transaction:
        """Rows of your own and tasks in one transaction, on eventq's own SQLite file.

        ``with queue.transaction() as tx: tx.execute("INSERT ..."); tx.new(handler, ...)``: durable
        together when the block ends, or, if it raises, not at all. The block holds up all who
        append to the file, in this process and others: after ``timeout`` (10 s at most) it is
        rolled back. Read the rows by `sql`, not by another SQLite library. Raises ArgumentError on
        another log (an `Outbox` is for those), LogError, TransactionError, and as `new`.
        """
        check_guarded("transaction")
        timeout_s = check_timeout(timeout)
        asking = QueueAsking(
            lambda orders: creating(orders, self._registry.limit_tags),
            self._node.now,
            self.tracing,
        )
        return Transaction(lambda: self._node.visit(timeout_s), asking, self._policy)

    def result(self, task: Task | str) -> Any:  # noqa: ANN401 - stands for any result
        """Stands for a task's result, as an argument of another one that then comes after it.

        ``ocr.new(queue.result(scan))`` waits until ``scan`` has completed. Nothing is asked now.
        """
        return ResultOf(check_task(task))

    # Running them.

    def run(
        self,
        worker: Call | None = None,
        *,
        names: Iterable[str] | None = None,
        lanes: Iterable[str] | Mapping[str, int] | None = None,
        until: Literal["idle"] | None = None,
        grace: Duration = "30s",
        lease_ttl: Duration = "30s",
        signals: bool = True,
        max_stuck: Duration | None = None,
        health: str | os.PathLike[str] | None = None,
        outboxes: Iterable[Relayed] = (),
    ) -> RunReport:
        """Runs tasks in priority order until SIGTERM or SIGINT.

        Without a ``worker``: those of this queue's handlers, or of the ``names`` among them (names,
        or patterns like "mail.*"). With one: it is called as ``worker(ctx, task)`` for each task
        that has no name, or for those of the ``names`` ("*": for all). ``lanes``: only tasks of
        these; with a number for each, that many at a time of it, instead of ``workers`` of all.

        A ``def`` worker runs in threads, an ``async def`` one in one event loop. Returning
        completes the task; a JSON value is kept as its result. Raising fails the attempt; `Retry`
        and `Cancel` say more. ``until="idle"`` returns once nothing is ready, running or waiting
        for a retry. The first signal (or `stop`) lets running attempts finish for ``grace``, the
        second cancels them; without ``signals``, only `stop` does. Other nodes take the tasks over
        ``lease_ttl`` after this process died. Raises LogError when the log cannot be used,
        AlreadyRunningError, and WorkersStuckError when all workers have ignored for ``max_stuck``
        that they should end (None: never). ``health``: a file that the run writes every few
        seconds, for `eventq health`. ``outboxes``: what is committed there becomes tasks meanwhile.
        """
        workload, relayed = self._workload(worker, names, lanes), check_outboxes(outboxes)

        def run() -> RunReport:
            return self._slot.run(
                workload,
                signals=signals,
                until=until,
                grace=grace,
                lease_ttl=lease_ttl,
                max_stuck=max_stuck,
                health=health,
            )

        if not relayed:
            return run()
        return with_relays(relayed, run, self._slot, until_idle=until == "idle")

    def stop(self) -> bool:
        """Asks `run` to stop, as a signal does: a second call forces.

        Returns whether there was a run to ask; without one, nothing is remembered.
        """
        return self._slot.stop()

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
        name: str | None = None,
        lane: str | None = None,
        schedule: str | None = None,
        tags: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> TaskList:
        """Tasks in dispatch order: those leased, then ready, then scheduled, then unknown.

        ``state``: one or several of scheduled, ready, leased, unknown, completed, expired,
        cancelled; None means all that are open. Final tasks come last, newest first, read from the
        end of the log, or found in the catalog: with a ``limit`` that costs little. ``name``: only
        tasks with this name, or with one like ``"mail.*"``. ``lane``, ``tags``: only tasks with
        these values; ``schedule``: only those that it made.
        """
        states = check_states(state)
        wanted = TaskFilter(
            tags=None if tags is None else msgspec.json.decode(check_tags(tags)),
            name=None if name is None else check_pattern(name, "name"),
            lane=None if lane is None else check_name(lane, "lane"),
            schedule=None if schedule is None else check_name(schedule, "schedule"),
        )
        limit, path = check_limit(limit), self._search.path
        return list_tasks(self._node, states, wanted, limit=limit, path=path)

    def find(
        self,
        *,
        at: PointLike | None = None,
        order: Order = "number",
        limit: int | None = 100,
        **selector: Unpack[SelectorOptions],
    ) -> FoundTasks:
        """The tasks that fit all that is given, as in `select`, at any point of the log.

        From the catalog where it is at hand, else by a pass over the log: ``source`` says which.
        ``at``: a position, an instant, or a time ago; None: now. ``order``: by ``"number"``,
        ``"-number"`` (the newest first) or ``"-last"`` (the last event's, the latest first).
        Raises ArgumentError, and LogArchivedError for a point before the log begins.
        """
        if order not in [*ORDERS]:  # Not all that may come here can be looked up.
            raise ArgumentError("order", order, f"one of {', '.join(ORDERS)}")
        now = self._node.now()
        wanted = Selector.parse(now=now, **selector)
        point = find_point(self.log, END if at is None else at, now=now, argument="at")
        limit, path = check_limit(limit), self._search.path
        return find_tasks(self.log, wanted, point, order=order, limit=limit, path=path)

    def wait(self, key: str, *, timeout: Duration | None = None) -> Task:
        """The task, once it has ended; None waits without limit.

        Woken by the log, whichever process ends the task. Raises WaitTimeoutError,
        TaskNotFoundError, QueueClosedError when the queue is closed meanwhile, and EventLoopError
        in the event loop of an `AsyncQueue.run`, which it would hold up.
        """
        self._slot.check_not_in_loop("wait()", "`await queue.aio.wait()`")
        return self._ends.wait(check_lookup_key(key), check_duration(timeout, "timeout"))

    def history(self, key: str) -> list[Event]:
        """All events of one task, oldest first. Raises TaskNotFoundError."""
        key = check_lookup_key(key)
        with self._node.reading():
            number = self._node.find(key).number
        return task_history(self.log, number)

    def attempts(self, key: str) -> list[PastAttempt]:
        """All attempts of one task, oldest first, read from the log. Raises TaskNotFoundError."""
        return past_attempts(self.namespace, self.history(key))

    def events(self, *, after: int = 0, follow: bool = False) -> Iterator[Event]:
        """The events behind position ``after``; with ``follow``, waits for more without end.

        Raises EventLoopError where following would hold up the event loop of an `AsyncQueue.run`.
        """
        after = check_count(after, "after", least=0, most=2**63)
        follow = check_flag(follow, "follow")
        if not follow:
            return read_events(self.log, after)
        self._slot.check_not_in_loop("events(follow=True)", "`queue.aio.events(follow=True)`")
        return follow_events(self.log, after)

    def stats(self) -> Stats:
        """How many tasks are in each state, and what has happened so far.

        Warns where the log is ahead of the clock.
        """
        self._node.warn_again()
        with self._node.reading() as projection:
            numbers = take_stats(projection, now=self._node.now())
        return replace(numbers, first_at=first_instant(self.log))

    def waits_for(self, tasks: Iterable[Task]) -> dict[int, str]:
        """What keeps each of these open tasks from running, in words, by the tasks' numbers.

        That is another task, a pause, or a limit without room; one that nothing keeps is left out.
        """
        with self._node.reading() as projection:
            return waits_for(projection, tasks, self._node.now())

    def sql(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """One read-only SQL statement over the log, on SQLite; the docs list the views.

        Raises ArgumentError for what is no read-only statement, or a log without SQL.
        """
        return self.log.query(check_query(query), check_values(values))

    def followers(self) -> list[FollowerState]:
        """Who follows the log: how far each has come, how far it is behind, who does its work.

        Reads the log from the slowest one's position on.
        """
        with self._node.reading() as projection:
            now, followers = self._node.now(), dict(projection.followers)
        return follower_states(self.log, followers, now=now)

    # Managing.

    # All of these take ``by``, who asks for it, and ``reason``, why; the log keeps both. ``via``
    # says by what way: code, cli, console, or login, for a console that had proof of the name.

    def cancel(
        self, key: str, *, by: str | None = None, reason: str = "", via: Via = "code"
    ) -> Task:
        """Cancels an open task; a running attempt learns of it from its ctx.

        Raises TaskNotFoundError, NotAllowedError for a completed or expired task.
        """
        return self._manage(key, CancelTask(check_asking(by, reason, via)))

    def retry(
        self, key: str, *, by: str | None = None, reason: str = "", via: Via = "code"
    ) -> Task:
        """Makes a waiting task ready now, or reopens an expired or cancelled one.

        A reopened task has its retries anew and its max_age counts from now. Raises
        TaskNotFoundError, NotAllowedError for a running or completed task.
        """
        return self._manage(key, RetryTask(check_asking(by, reason, via)))

    def repeat(self, key: str) -> Task:
        """Makes a new task like a final one: its name, lane, tags, priority and policy.

        It has no key, may run at once, and takes a unique value again. Raises TaskNotFoundError,
        NotAllowedError for a task that is open, or where another open one has the value.
        """
        repeat = RepeatTask(check_lookup_key(key))
        return repeated(repeat, self._node.execute, self.tracing, self.get)

    def update(
        self,
        key: str,
        *,
        priority: int | None = None,
        tags: Mapping[str, Any] | None = None,
        scheduled_at: datetime | None = None,
        delay: Duration | None = None,
        lane: str | None = None,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> Task:
        """Edits a task that is not running; None leaves a thing as it is. Raises as `retry`."""
        edit = make_update(
            check_asking(by, reason, via),
            priority=priority,
            tags=tags,
            scheduled_at=scheduled_at,
            delay=delay,
            lane=lane,
        )
        return self._manage(key, edit)

    # Many at once.

    def select(self, **selector: Unpack[SelectorOptions]) -> Selection:
        """The tasks that fit all that is given, to be retried, cancelled or updated by a plan.

        By how they stand: ``state``, ``name`` (or a pattern), ``lane``, ``tags`` with values,
        ``text`` (words in the tags), ``key``, ``number``, ``flow``, ``schedule``; by their last
        error: ``error`` (its type), ``message`` and ``place`` (text in these); by their attempts:
        ``node``, ``min_attempts``, ``waited``, ``ran``, ``lapsed``, ``refused``, ``ran_twice``; by
        instants (also ``"-2h"`` or ``"today"``): ``created_after``, ``created_before``,
        ``ended_after``, ``ended_before``, ``since``, ``until`` (of their last change); ``by`` whom
        something was done to them. Raises ArgumentError, also from a plan for no selector at all.
        """
        found = Selector.parse(now=self._node.now(), **selector)
        return Selection(self._node, found, self._search)

    def undo(self, change: int) -> Plan | RulePlan:
        """A plan that takes back a change to many tasks, or what one event by hand did.

        ``change``: the number of the change (`Applied.id`), or the position of the event. Tasks
        that nothing has happened to since become what they were; the plan lists all others. An undo
        has a number too, by which it can be undone. Raises NotUndoableError, ArgumentError.
        """
        return plan_undo(self._node, check_count(change, "change", least=1, most=2**63 - 1))

    def bulks(self) -> list[BulkState]:
        """The changes to many tasks in the log, oldest first, also those that broke off."""
        return list_bulks(self.log)

    def finish_bulk(self, number: int) -> Applied:
        """Makes what is left of a change that broke off. Raises ArgumentError, LogError."""
        number = check_count(number, "number", least=1, most=2**63 - 1)
        return finish_bulk(self._node, self._search, number)

    # Who may run when.

    def limits(self) -> list[BucketState]:
        """All buckets of limits: bounds, what is taken, who holds and how many wait."""
        with self._node.reading() as projection:
            return bucket_states(projection, self._node.now())

    def set_limit(
        self,
        name: str,
        *,
        running: int | None = None,
        rate: str | None = None,
        per: str | None = None,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> None:
        """Sets a limit by hand; it holds until the code's own definition changes.

        As `limit` otherwise; with neither ``running`` nor ``rate``, the limit is lifted. Raises
        ArgumentError, also for another ``per`` while open tasks are counted by the one there is.
        """
        wanted = make_limited(name, running=running, rate=rate, per=per)
        self._node.execute(SetLimit(self._asked(wanted, by, reason, via)))

    def set_turns(
        self,
        *,
        per: str | None = None,
        weights: Mapping[str, int] | None = None,
        lifted: bool = False,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
    ) -> None:
        """Has shares take turns as `fair` does, by hand; ``lifted``: no more."""
        is_over = check_flag(lifted, "lifted")
        wanted = Shared(lifted=True) if is_over else make_shared(per=per, weights=weights)
        self._node.execute(SetTurns(self._asked(wanted, by, reason, via)))

    def pause(
        self,
        *,
        until: datetime | Duration | None = None,
        cancel_running: bool = False,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
        **scope: Unpack[ScopeOptions],
    ) -> int:
        """Has no task of a scope leased until it is resumed, or ``until`` an instant or so long.

        The scope is a ``lane``, a ``name`` (or a pattern), a ``limit`` (with a ``value``: one of
        its buckets), ``tags`` with values, or several of these; nothing given is everything. What
        runs goes on, unless ``cancel_running``; returns how many were cancelled. Tasks are made,
        and age, as ever. A pause of the same scope is replaced. Raises ArgumentError.
        """
        found = make_scope(**scope)
        cancels = check_flag(cancel_running, "cancel_running")
        at = check_until(until, self._node.now())
        asking = check_asking(by, reason, via)
        paused = Paused(found, at, **asking.marks)
        self._node.execute(PauseTasks(paused))
        cancelled = 0
        while cancels:
            command = CancelRunning(found, replace(asking, reason=reason or "paused"))
            count = self._node.execute(command).result
            cancelled += count
            cancels = count > 0
        return cancelled

    def resume(
        self,
        *,
        by: str | None = None,
        reason: str = "",
        via: Via = "code",
        **scope: Unpack[ScopeOptions],
    ) -> None:
        """Ends the pause of this scope. Raises ArgumentError where there is none."""
        resumed = self._asked(Resumed(scope=make_scope(**scope)), by, reason, via)
        self._node.execute(ResumeTasks(resumed))

    def pauses(self) -> list[PauseState]:
        """The pauses that go on, in the order in which they began."""
        with self._node.reading() as projection:
            return pause_states(projection, self._node.now())

    def drop_follower(
        self, name: str, *, by: str | None = None, reason: str = "", via: Via = "code"
    ) -> None:
        """Forgets a follower, so that archives do not wait for it. One that runs stops there.

        A later run that has its code begins anew. Raises ArgumentError where there is none.
        """
        asking = check_asking(by, reason, via)
        self._node.execute(DropFollower(check_name(name, "name"), asking))

    def close(self) -> None:
        """Stops a run in progress, waits for it, and closes the log; may come twice.

        Raises AlreadyRunningError in a worker (which may call `stop`), TransactionError in a
        transaction, and EventLoopError in an `AsyncQueue.run`'s loop: it would wait for each.
        """
        self._slot.close()
        self._give_up()

    def __enter__(self) -> Self:
        """The queue itself; the block's end closes it. Raises EventLoopError in an event loop."""
        if running_loop() is not None:
            raise EventLoopError("the end of `with`", "`async with queue.aio`")
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Closes the queue; an error of the block is never hidden by one of closing."""
        try:
            self.close()
        except EventqError as refusal:
            _note_on(error, refusal)

    def __repr__(self) -> str:
        """Where it is; never a password."""
        return f"<Queue {self.url} namespace={self.namespace!r}>"

    @property
    def handlers(self) -> list[Handler[..., Any, Any]]:
        """All handlers of this queue: its own, and those of its collections."""
        return list(self._registry)

    def _workload(
        self,
        worker: Call | None,
        names: Iterable[str] | None,
        lanes: Iterable[str] | Mapping[str, int] | None,
    ) -> Workload:
        return make_workload(
            self._registry,
            worker,
            names=names,
            lanes=lanes,
            workers=self.workers,
            policy=self._policy,
            tracing=self.tracing,
        )

    def _keeper(self) -> AnchorKeeper | None:
        return None if self.anchors is None else self.anchors.keeper(self.log)

    @staticmethod
    def _asked(body: A, by: str | None, reason: str, via: Via) -> A:
        return replace(body, **check_asking(by, reason, via).marks)

    def _create(self, orders: list[NewTask]) -> list[Task]:
        check_guarded("new")

        def make(orders: list[NewTask]) -> list[Task]:
            return tasks_of(self._node.execute(creating(orders, self._registry.limit_tags)))

        return make(orders) if self.tracing is None else self.tracing.making(orders, make)

    def _create_flow(self, orders: list[NewTask], key: str | None) -> list[Task]:
        check_guarded("flow")

        def make(orders: list[NewTask]) -> list[Task]:
            committed = self._node.execute(CreateFlow(orders, key))
            tasks: list[Any] = committed.tasks
            return tasks[committed.result :]

        return make(orders) if self.tracing is None else self.tracing.making(orders, make)

    def _manage(self, key: str, edit: CancelTask | RetryTask | UpdateTask) -> Task:
        return manage_task(self._node, ManageTask(check_lookup_key(key), edit))

    def _give_up(self) -> None:
        """What is left to do once the log is closed."""
        self._ends.close()
        self._registry.release()

    def _after_fork(self) -> None:
        self._slot.after_fork()
        self._ends.after_fork()
        self._node.after_fork()


class AsyncQueue:
    """A task queue on an event log, for asyncio: the methods of `Queue`, awaited.

    Each runs in a thread, so the event loop goes on meanwhile. When the awaiting task is cancelled,
    what was begun is still done.
    """

    @taking(Queue.__init__)
    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - those of Queue
        """Opens a queue of its own; see `Queue`."""
        self.queue = Queue(*args, **options)

    @classmethod
    def of(cls, queue: Queue) -> Self:
        """The view of an open queue; `Queue.aio` is that."""
        view = cls.__new__(cls)
        view.queue = queue
        return view

    new = awaited(Queue.new)
    new_many = awaited(Queue.new_many)
    get = awaited(Queue.get)
    tasks = awaited(Queue.tasks)
    find = awaited(Queue.find)
    history = awaited(Queue.history)
    stats = awaited(Queue.stats)
    waits_for = awaited(Queue.waits_for)
    followers = awaited(Queue.followers)
    sql = awaited(Queue.sql)
    cancel = awaited(Queue.cancel)
    retry = awaited(Queue.retry)
    attempts = awaited(Queue.attempts)
    repeat = awaited(Queue.repeat)
    update = awaited(Queue.update)
    drop_follower = awaited(Queue.drop_follower)
    limits = awaited(Queue.limits)
    set_limit = awaited(Queue.set_limit)
    set_turns = awaited(Queue.set_turns)
    pause = awaited(Queue.pause)
    resume = awaited(Queue.resume)
    pauses = awaited(Queue.pauses)
    bulks = awaited(Queue.bulks)
    finish_bulk = awaited(Queue.finish_bulk)

    def select(self, **selector: Unpack[SelectorOptions]) -> AsyncSelection:
        """See `Queue.select`; not awaited, since a plan asks first."""
        return AsyncSelection(self.queue.select(**selector))

    async def undo(self, change: int) -> AsyncPlan:
        """See `Queue.undo`."""
        return AsyncPlan(await in_thread(self.queue.undo, change))

    def flow(self, key: str | None = None) -> Flow:
        """See `Queue.flow`; here ``async with queue.flow() as flow``."""
        return self.queue.flow(key)

    def transaction(self, *, timeout: Duration = "1s") -> Transaction:
        """See `Queue.transaction`; here ``async with`` it, and ``await tx.execute(...)``."""
        return self.queue.transaction(timeout=timeout)

    def result(self, task: Task | str) -> Any:  # noqa: ANN401 - as there
        """See `Queue.result`; not awaited, since it asks nothing."""
        return self.queue.result(task)

    async def run(
        self,
        worker: Call | None = None,
        *,
        names: Iterable[str] | None = None,
        lanes: Iterable[str] | Mapping[str, int] | None = None,
        until: Literal["idle"] | None = None,
        grace: Duration = "30s",
        lease_ttl: Duration = "30s",
        signals: bool = False,
        max_stuck: Duration | None = None,
        health: str | os.PathLike[str] | None = None,
        outboxes: Iterable[Relayed] = (),
    ) -> RunReport:
        """See `Queue.run`; an ``async def`` worker runs in this event loop.

        Signals are the application's, unless ``signals`` says that the run listens to them as well.
        Cancelling the awaiting task is a forced stop: attempts are cancelled and given back.
        """
        workload = self.queue._workload(worker, names, lanes)  # noqa: SLF001 - as `_slot`

        async def run() -> RunReport:
            return await self._slot.run_in_loop(
                workload,
                signals=signals,
                until=until,
                grace=grace,
                lease_ttl=lease_ttl,
                max_stuck=max_stuck,
                health=health,
            )

        relayed = check_outboxes(outboxes)
        if not relayed:
            return await run()
        return await await_with_relays(relayed, run, self._slot, until_idle=until == "idle")

    async def wait(self, key: str, *, timeout: Duration | None = None) -> Task:  # noqa: ASYNC109
        """See `Queue.wait`; no thread is held while it waits, however many do."""
        ends = self.queue._ends  # noqa: SLF001 - as `_slot`
        timeout_us = check_duration(timeout, "timeout")
        return await ends.wait_in_loop(check_lookup_key(key), timeout_us)

    @property
    def _original(self) -> Queue:
        """Whose methods are awaited here."""
        return self.queue

    @property
    def schedules(self) -> AsyncSchedules:
        """See `Queue.schedules`."""
        return AsyncSchedules(self.queue.schedules)

    def stop(self) -> bool:
        """See `Queue.stop`; not awaited, since it never waits."""
        return self.queue.stop()

    def events(self, *, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """See `Queue.events`."""
        after = check_count(after, "after", least=0, most=2**63)
        return follow_log(self.queue.log, after, waits=check_flag(follow, "follow"))

    async def close(self) -> None:
        """See `Queue.close`; a run in the same event loop goes on to its end meanwhile."""
        await self._slot.close_in_loop()
        await in_thread(self.queue._give_up)  # noqa: SLF001 - as `_slot`

    async def __aenter__(self) -> Self:
        """The queue itself; the block's end closes it."""
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Closes the queue; an error of the block is never hidden by one of closing."""
        try:
            await self.close()
        except EventqError as refusal:
            _note_on(error, refusal)

    @property
    def _slot(self) -> RunSlot:
        return self.queue._slot  # noqa: SLF001 - the two share it


def _note_on(error: BaseException | None, refusal: EventqError) -> None:
    """Notes on a block's error that its queue was not closed; without one, raises the refusal."""
    if error is None:
        raise refusal
    error.add_note(f"the queue was not closed: {refusal}")


def _after_fork() -> None:
    for queue in list(_open_queues):
        queue._after_fork()  # noqa: SLF001 - this module's own class


_open_queues: weakref.WeakSet[Queue] = weakref.WeakSet()
os.register_at_fork(after_in_child=_after_fork)
