"""The public face of an outbox: it writes rows in the application's transactions, and has relays.

It decides nothing of tasks: an order is checked here as `Queue.new` checks it, and made there.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar, Unpack, overload

from eventq.contrib.outbox.places import check_not_log, check_same, enroll, make_place
from eventq.contrib.outbox.relay import BLOCK, Relay, relay_block
from eventq.contrib.outbox.row import OutboxTask, row_of
from eventq.contrib.outbox.store import OutboxStore, Site
from eventq.core.create import NewTask, check_order
from eventq.core.new_task import MakesSpecs, TaskSpec, order_for
from eventq.core.options import TaskOptions
from eventq.core.task import Task
from eventq.core.validation import check_flag, check_lookup_key
from eventq.errors import ArgumentError, OutboxError
from eventq.eventlog import EventLog
from eventq.host.clock import Clock, SystemClock
from eventq.queue import Queue

R = TypeVar("R")

# A relay that only follows its own process's commits looks this often for what others left.
OWN_POLL_S = 5.0


class Outbox:
    """Tasks made together with rows in the application's own database.

    ``outbox.new(handler, args..., on=session)`` writes a row in the session's transaction; once
    that is committed, a relay appends the task to the log. Rolled back, it never is.
    """

    def __init__(
        self,
        queue: Queue,
        at: object = None,
        *,
        relay: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """``at`` is where it stands: a URL, a SQLAlchemy engine, or a pymongo database.

        None: learnt from the first session, which is enough for a process that makes tasks.
        ``relay``: the process relays its own rows as soon as they are committed; without, only
        `Queue.run` with ``outboxes`` and `eventq relay` do. Raises ArgumentError.
        """
        if not isinstance(queue, Queue):
            raise ArgumentError("queue", queue, "an eventq.Queue")
        self.queue = queue
        self._place = None if at is None else make_place(at)
        if self._place is not None:
            check_not_log(queue, self._place)
        self._relays = check_flag(relay, "relay")
        self._relay: Relay | None = None
        self._guard = threading.Lock()
        self._clock = clock or SystemClock()

    @overload
    def new(
        self,
        tags: Mapping[str, Any] | None = None,
        /,
        *,
        on: object,
        **options: Unpack[TaskOptions],
    ) -> str: ...
    @overload
    def new(self, task: TaskSpec, /, *, on: object) -> str: ...
    @overload
    def new(
        self,
        handler: MakesSpecs[...],
        /,
        *args: Any,  # noqa: ANN401 - the handler's, which no type can say beside `on`
        on: object,
        **kwargs: Any,  # noqa: ANN401 - as those
    ) -> str: ...
    def new(self, what: Any = None, /, *args: Any, on: object, **options: Any) -> str:
        """Has a task made if, and once, the transaction of ``on`` is committed; returns its key.

        It takes what `Queue.new` takes, and checks it now. ``on``: a SQLAlchemy session or
        connection (also of an AsyncSession), a connection of psycopg or sqlite3, or a pymongo
        session, each in a transaction. Raises as `Queue.new`, ArgumentError for an ``on`` without a
        transaction, and OutboxError where there is no table.
        """
        policy = self.queue._policy  # noqa: SLF001 - as AsyncQueue does
        order = order_for(what, args, options, policy)
        now = self._clock.now_us()
        check_order(order, now)
        enrolled = enroll(on, self._place)
        if self._place is None:
            check_not_log(self.queue, enrolled.place)
            self._place = enrolled.place
        check_same(self._place, enrolled.place)
        key = order.key or f"outbox:{secrets.token_hex(16)}"

        def write(orders: list[NewTask]) -> None:
            for each in orders:
                enrolled.write(row_of(each, namespace=self.queue.namespace, key=key, now=now))

        tracing = self.queue.tracing
        write([order]) if tracing is None else tracing.making([order], write)
        if self._relays:
            relay = self._own_relay()
            if not enrolled.on_commit(self._wake):
                relay.expect()
        return key

    def get(self, key: str) -> Task | OutboxTask | None:
        """The task with this key, or its row where it is not in the log yet; None for neither."""
        key = check_lookup_key(key)
        found: Task | OutboxTask | None = self.queue.get(key)
        if found is None:
            found = self.visit(lambda store: store.find(key))
        # It may have been relayed between the two.
        return found if found is not None else self.queue.get(key)

    def aside(self) -> list[OutboxTask]:
        """The rows that were set aside, oldest first, each with its ``problem``."""
        return self.visit(lambda store: store.aside())

    def retry(self, key: str | None = None) -> int:
        """Has rows that were set aside relayed again: one by its key, or all; returns how many."""
        return self.visit(lambda store: store.retry(key, now=self._clock.now_us()))

    def create(self) -> None:
        """Makes the table in the application's database, unless it is there.

        Raises OutboxError where there is one of another version.
        """
        self.visit(lambda store: store.create())

    def check(self) -> None:
        """Raises OutboxError unless the table is there, in this version."""
        self.visit(lambda store: store.check())

    def relay(self) -> int:
        """Relays all that is committed now, in this thread; returns how many rows it took.

        Raises OutboxError, LogError, and the errors of the database's driver.
        """

        def work(store: OutboxStore) -> int:
            store.check()
            total = count = relay_block(self, store)
            while count == BLOCK:
                count = relay_block(self, store)
                total += count
            return total

        return self.visit(work)

    @contextmanager
    def relaying(self) -> Iterator[None]:
        """A relay in a thread of its own while the block lasts, woken by the database."""
        relay = Relay(self, poll_s=self.place.poll_s)
        relay.start()
        try:
            yield
        finally:
            relay.stop()

    def close(self) -> None:
        """Ends the process's own relay, after what it has at hand; may come twice."""
        with self._guard:
            relay, self._relay = self._relay, None
        if relay is not None and relay.is_alive():
            relay.stop()

    def __enter__(self) -> Self:
        """The outbox itself; the block's end closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    @property
    def log(self) -> EventLog:
        """For relays: where the tasks go."""
        return self.queue.log

    @property
    def place(self) -> Site:
        """Where it stands. Raises OutboxError before that is known."""
        if self._place is None:
            raise OutboxError("name the database that the rows are in: Outbox(queue, at=...)")
        return self._place

    def visit(self, work: Callable[[OutboxStore], R]) -> R:
        """For relays: calls ``work`` with a connection of its own."""
        return self.place.visit(self.queue.namespace, work)

    def create_tasks(self, orders: list[NewTask]) -> None:
        """For relays: makes the tasks, all in one commit or none."""
        self.queue._create(orders)  # noqa: SLF001 - as AsyncQueue does

    def _own_relay(self) -> Relay:
        """The process's own, begun with its first row; anew in a forked child."""
        relay = self._relay
        if relay is None or not relay.is_alive():
            with self._guard:
                relay = self._relay
                if relay is None or not relay.is_alive():
                    self._relay = relay = Relay(self, poll_s=OWN_POLL_S)
                    relay.start()
        return relay

    def _wake(self) -> None:
        self._own_relay().wake()
