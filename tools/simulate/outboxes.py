"""An application's database, with rows that become tasks: what writes them, and what relays them.

The database never fails. Relays do: between what they read, what the log takes and what they
delete, others go on and relay the same rows, and they die.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from eventq.contrib.outbox.dbapi import DbapiLink
from eventq.contrib.outbox.outbox import Outbox
from eventq.contrib.outbox.row import row_of
from eventq.contrib.outbox.sql import INSERT, SqlStore, values_of
from eventq.contrib.outbox.store import OutboxStore, Watching
from eventq.core.create import NewTask, check_order
from eventq.core.new_task import order_for
from eventq.core.settle import CANNOT_MAKE
from eventq.errors import EventqError
from eventq.queue import Queue
from tools.simulate.world import NAMESPACE, Finding, NodeDiedError, World

R = TypeVar("R")

# Keys that begin so are those of rows alone; others are calls' as well.
OWN = "row-"


class RolledBackError(EventqError):
    """The application has rolled its transaction back."""


class Database:
    """The application's; relays do not take turns in it, as where one lost its lock meanwhile."""

    shown = "simulated"
    poll_s = 1.0
    home = None

    def __init__(self) -> None:
        connection = sqlite3.connect(":memory:")
        self._link = DbapiLink(connection, "qmark")
        self.store = SqlStore(self._link, "sqlite", NAMESPACE, shown=self.shown, lock=None)
        self.store.create()

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:  # noqa: ARG002 - one
        """See Site.visit."""
        return work(self.store)

    def watch(self, wake: Callable[[], None]) -> Watching | None:  # noqa: ARG002 - calls do
        """See Site.watch."""
        return None

    def write(self, orders: list[tuple[str, NewTask]], *, now: int, commits: bool) -> None:
        """Writes rows in a transaction, and ends that."""
        for key, order in orders:
            row = row_of(order, namespace=NAMESPACE, key=key, now=now)
            self._link.execute(INSERT, values_of(row))
        if commits:
            self._link.commit()
        else:
            self._link.rollback()


class Outboxes:
    """The rows of one simulation, and what came of them."""

    def __init__(self, world: World) -> None:
        self.database = Database()
        self.committed: list[str] = []
        """The keys of rows, in their order."""
        self.rolled_back: list[str] = []
        """The keys of rows that were not committed."""
        self.delivered: Counter[str] = Counter()
        """How often the log has taken each row, or said that it has its task."""
        self.put_aside: set[str] = set()
        """The keys of rows that were set aside at some time."""
        self.refused: set[str] = set()
        """The keys of rows that a relay could not make, and may have died before it said so."""
        self.is_drained = False
        """Faults were off, and somebody has relayed all."""
        self._world = world
        self._relays_count = 0

    def write(self, queue: Queue, asked: list[tuple[str, dict[str, Any]]]) -> None:
        """Has a transaction of the application write these rows: of each its key, and the rest.

        Raises RolledBackError, and what `Queue.new` raises.
        """
        chance, orders, now = self._world.chance, [], queue._node.clock.now_us()  # noqa: SLF001
        for key, options in asked:
            order = order_for(None, (), options, queue._policy)  # noqa: SLF001 - as Outbox does
            check_order(order, now)
            orders.append((key, order))
        commits = not chance.one_in(4)
        self.database.write(orders, now=now, commits=commits)
        self._world.sometimes["a row committed" if commits else "a row rolled back"] += len(orders)
        if not commits:
            self.rolled_back += [key for key, _ in orders]
            raise RolledBackError("somebody else was quicker")
        self.committed += [key for key, _ in orders]

    def relay(self, queue: Queue) -> None:
        """Relays all that is committed, for this process. Raises LogError, OutboxError."""
        relayed = self._relayed(queue)
        self._world.sometimes["two relays at once"] += self._relays_count > 0
        self._relays_count += 1
        try:
            relayed.relay()
        finally:
            self._relays_count -= 1
            aside = {each.key for each in self.database.store.aside()}
            self._world.sometimes["a row set aside"] += len(aside - self.put_aside)
            self.put_aside |= aside

    def retry(self, queue: Queue) -> None:
        """Somebody has a row relayed that was set aside, having looked that its task is not there.

        Raises LogError.
        """
        chance, aside = self._world.chance, self.database.store.aside()
        if not aside:
            return
        key = chance.pick(aside).key
        if queue.get(key) is None and not self.delivered[key]:
            self._relayed(queue).retry(key)
            self._world.sometimes["a row set aside is relayed again"] += 1

    def drain(self, queue: Queue) -> None:
        """Relays all that is left. Raises LogError."""
        self.relay(queue)
        self.is_drained = True

    def judge(self, made: Mapping[str, list[int]]) -> Iterator[Finding]:
        """What is wrong, where these tasks were made by their keys: each row is one, or set aside.

        So that those of no row are none, and they stand in the order of their rows.
        """
        for key in self.rolled_back:
            if key in made and key.startswith(OWN):
                yield Finding("row", made[key][0], f"row {key} was rolled back, and is a task")
        last, store = 0, self.database.store
        for key in dict.fromkeys(self.committed):
            numbers = made.get(key, [])
            if len(numbers) > 1:
                yield Finding("row", numbers[1], f"row {key} is the tasks {numbers}")
            left = store.find(key)
            is_aside = left is not None and left.problem is not None
            if not numbers and left is None:
                yield Finding("row", 0, f"row {key} is lost")
            if self.is_drained and left is not None and not is_aside:
                yield Finding("row", 0, f"row {key} was not relayed")
            if key in self.put_aside | self.refused or not key.startswith(OWN) or not numbers:
                continue
            if numbers[0] < last:
                yield Finding("row", numbers[0], f"row {key} has overtaken another one")
            last = numbers[0]

    def _relayed(self, queue: Queue) -> RelayedOutbox:
        return RelayedOutbox(queue, self._world, self)


class RelayedOutbox(Outbox):
    """One process's way to the rows, in whose relay others go on, and which dies."""

    def __init__(self, queue: Queue, world: World, outboxes: Outboxes) -> None:
        super().__init__(queue, relay=False, clock=queue._node.clock)  # noqa: SLF001 - the host's
        self._world = world
        self._delivered = outboxes.delivered
        self._refused = outboxes.refused
        self._place = outboxes.database

    def create_tasks(self, orders: list[NewTask]) -> None:
        """See Source.create_tasks."""
        world, chance, name = self._world, self._world.chance, self.queue._node.name  # noqa: SLF001
        if not world.is_calm and chance.one_in(2):
            world.interlope(name)
        keys = [order.key for order in orders if order.key is not None]
        try:
            super().create_tasks(orders)
        except CANNOT_MAKE:
            if len(keys) == 1:
                # This one skips it: those behind it may come first, if another relay makes it.
                self._refused.update(keys)
            raise
        self._delivered.update(keys)
        world.sometimes["a row delivered twice"] += sum(self._delivered[key] == 2 for key in keys)
        if world.is_calm:
            return
        if chance.one_in(5):
            world.sometimes["death between a row's append and its deletion"] += 1
            raise NodeDiedError
        if chance.one_in(2):
            world.interlope(name)
