"""A transaction on eventq's own SQLite file: rows of the user's and tasks, stored together or not.

It waits for its thread to be let in, and hands on; the log runs the statements, and a command
decides on the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import Any, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from eventq.core.command import NOTHING, Command
from eventq.core.create import NewTask, check_order
from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.new_task import MakesSpecs, TaskSpec, make_orders, order_for
from eventq.core.options import TaskOptions
from eventq.core.task import Task
from eventq.core.validation import check_query, check_values
from eventq.core.values import Policy
from eventq.errors import ArgumentError, EventLoopError, TransactionError
from eventq.eventlog.contract import Guest, Rows
from eventq.handlers.children import Children, NewTaskRef
from eventq.handlers.tracing import Tracing
from eventq.host.surroundings import OwnThread, running_loop
from eventq.node.visit import OVER, Visit
from eventq.node.waiting_line import Committed

P = ParamSpec("P")
R = TypeVar("R")

# Longer, and the log would stand still for everybody: other nodes' signs of life would come late.
MOST_S = 10.0
ELSEWHERE = "another thread, or another asyncio task, than the one that began it"


class TransactionEnd(Protocol):
    """Where a transaction's tasks go, and what its end means."""

    def ask(self, orders: list[NewTask]) -> list[NewTaskRef]:
        """Takes the orders, all or none."""

    def finish(self, visit: Visit) -> list[Task]:
        """The block has ended without an error; returns the tasks that are made now."""


class Transaction:
    """One block ``with queue.transaction() as tx``, or ``with ctx.transaction() as tx``.

    It holds the one writer's place in the file, so all others wait: it is rolled back when it goes
    on for longer than its timeout. When its block raises, nothing of it is stored.
    """

    def __init__(self, begin: Callable[[], Visit], asking: TransactionEnd, policy: Policy) -> None:
        self.tasks: list[Task] = []
        """Once it has ended: those of a queue's transaction, made or found, in order of `new`."""
        self._begin = begin
        self._asking = asking
        self._policy = policy
        self._visit: Visit | None = None
        self._owner: object = None
        # For a block in an event loop, which waits for it.
        self._thread: OwnThread

    def execute(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """Runs one SQL statement on tables of your own; its rows, as of ``RETURNING``.

        Foreign keys are enforced. Raises ArgumentError for a statement that is wrong or touches the
        log, StatementError for one that breaks a constraint, TransactionError once this is over,
        and LogUnavailableError.
        """
        return self._mine().run(_execute(query, values))

    def execute_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """Runs one statement for each row of values. Raises as `execute`."""
        self._mine().run(_execute_many(query, rows))

    @overload
    def new(
        self, tags: Mapping[str, Any] | None = None, /, **options: Unpack[TaskOptions]
    ) -> NewTaskRef: ...
    @overload
    def new(self, task: TaskSpec, /) -> NewTaskRef: ...
    @overload
    def new(self, handler: MakesSpecs[P], /, *args: P.args, **kwargs: P.kwargs) -> NewTaskRef: ...
    def new(self, what: Any = None, /, *args: Any, **options: Any) -> NewTaskRef:
        """Makes a task together with the rows: it takes what `Queue.new` takes, and checks it now.

        There is no number yet. What only the commit can tell, such as a key that another task has,
        is raised when the block ends, and then nothing is stored. Raises as `Queue.new`, and
        ArgumentError beyond 999 tasks or 896 KiB.
        """
        self._mine()
        return self._asking.ask([order_for(what, args, options, self._policy)])[0]

    def new_many(
        self, tasks: Iterable[Mapping[str, Any] | TaskSpec], /, **options: Unpack[TaskOptions]
    ) -> list[NewTaskRef]:
        """Makes many tasks, each from its tags or a TaskSpec. Raises as `new`."""
        self._mine()
        return self._asking.ask(make_orders(tasks, self._policy, options))

    def __enter__(self) -> Self:
        """Waits for the writer's place; from then on the timeout counts."""
        if running_loop() is not None:
            raise EventLoopError("`with ... transaction()`", "`async with` and `await tx.execute`")
        self._enter(get_ident()).begin()
        self._let_in()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Has all of it stored, or nothing, if the block has raised."""
        visit = self._leave()
        if error is None:
            self.tasks = self._asking.finish(visit)
        else:
            visit.end(None)

    async def __aenter__(self) -> AsyncTransaction:
        """See `__enter__`."""
        visit, self._thread = self._enter(_async_task()), OwnThread()
        try:
            await self._thread.call(visit.begin)
        except BaseException:
            # Its asyncio task may have been cancelled, while the thread goes on to begin.
            visit.give_up()
            self._thread.end()
            raise
        self._let_in()
        return AsyncTransaction(self)

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """See `__exit__`."""
        visit = self._leave()
        try:
            if error is None:
                self.tasks = await self._thread.call(self._asking.finish, visit)
            else:
                await self._thread.call(visit.end, None)
        finally:
            self._thread.end()

    async def run_async(self, step: Callable[[Guest], R]) -> R:
        """For the form for asyncio: runs a step in a thread."""
        return await self._thread.call(self._mine().run, step)

    def _enter(self, owner: object) -> Visit:
        if self._owner is not None:
            raise TransactionError("it was begun before")
        self._owner = owner
        self._visit = self._begin()
        return self._visit

    def _let_in(self) -> None:
        assert self._visit is not None
        self._visit.mark()

    def _leave(self) -> Visit:
        visit, self._visit = self._visit, None
        assert visit is not None, "its block has begun"
        visit.unmark()
        return visit

    def _mine(self) -> Visit:
        """The visit, for the thread or the asyncio task that began it."""
        visit = self._visit
        if visit is None:
            raise TransactionError(OVER if self._owner else "its block has not begun: use `with`")
        if self._owner != get_ident() and self._owner is not _async_task():
            raise TransactionError(f"this is {ELSEWHERE}")
        return visit


class AsyncTransaction:
    """A transaction in an event loop: its statements are awaited, and run in a thread."""

    def __init__(self, original: Transaction) -> None:
        self._original = original
        self.new = original.new
        self.new_many = original.new_many

    async def execute(self, query: str, values: Sequence[Any] = ()) -> Rows:
        """See `Transaction.execute`."""
        return await self._original.run_async(_execute(query, values))

    async def execute_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """See `Transaction.execute_many`."""
        await self._original.run_async(_execute_many(query, rows))


class QueueAsking:
    """The tasks of a queue's transaction: made when its block ends."""

    def __init__(
        self,
        command: Callable[[list[NewTask]], Command[list[int | Task]]],
        now: Callable[[], int],
        tracing: Tracing | None,
    ) -> None:
        self._command = command
        self._now = now
        self._tracing = tracing
        self._children = Children()

    def ask(self, orders: list[NewTask]) -> list[NewTaskRef]:
        """See TransactionEnd.ask."""
        now = self._now()
        for order in orders:
            check_order(order, now)
        return self._children.add(orders)

    def finish(self, visit: Visit) -> list[Task]:
        """See TransactionEnd.finish."""
        orders = self._children.orders

        def make(orders: list[NewTask]) -> list[Task]:
            return tasks_of(visit.end(self._command(orders) if orders else NOTHING))

        return make(orders) if self._tracing is None else self._tracing.making(orders, make)


def tasks_of(committed: Committed[Any]) -> list[Task]:
    """Each order's own task, of a commit that created tasks, or of nothing."""
    # Of a created task's event, the task after it is never missing.
    tasks: list[Any] = committed.tasks
    places: list[int | Task] = committed.result or []
    return [tasks[place] if isinstance(place, int) else place for place in places]


def check_timeout(timeout: Duration) -> float:
    """The seconds for which a transaction may go on. Raises ArgumentError."""
    timeout_s = parse_duration(timeout, "timeout") / SECOND_US
    if not 0 < timeout_s <= MOST_S:
        raise ArgumentError("timeout", timeout, f"more than nothing, at most {MOST_S:g} s")
    return timeout_s


def _execute(query: str, values: Sequence[Any]) -> Callable[[Guest], Rows]:
    text, checked = check_query(query), check_values(values)
    return lambda guest: guest.execute(text, checked)


def _execute_many(query: str, rows: Iterable[Sequence[Any]]) -> Callable[[Guest], None]:
    text, checked = check_query(query), [check_values(row) for row in rows]
    return lambda guest: guest.execute_many(text, checked)


def _async_task() -> object:
    """The asyncio task that goes on here; None outside of an event loop."""
    if running_loop() is None:
        return None
    import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

    return asyncio.current_task()
