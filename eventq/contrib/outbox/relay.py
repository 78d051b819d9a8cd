"""A relay: it appends the rows of one outbox to the log, oldest first, and then deletes them.

A row is delivered at least once, and its key makes it one task. What cannot be made a task is set
aside and told, so that it blocks nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from eventq.contrib.outbox.row import OutboxRow, RowError, order_of_row
from eventq.contrib.outbox.store import OutboxStore, Settled, Site
from eventq.core.create import NewTask
from eventq.core.new_task import batches
from eventq.core.settle import CANNOT_MAKE
from eventq.errors import LogTooNewError, OutboxError, QueueClosedError
from eventq.eventlog import EventLog
from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.contrib.outbox")

# Rows that are taken at a time: a commit or a few.
BLOCK = 1_000
# Where nothing tells of a commit, a relay that knows of a row looks for it soon, then less often.
SOON_S = 0.002
SELDOM_S = 0.1
# For so long; then its transaction was rolled back, or takes its time.
EXPECTS_S = 10.0
# The pause after the database, or the log, could not be reached.
AGAIN_S = 1.0
OLD = (
    "it was made before the log was cut, so that its key may have been forgotten: its task may "
    "have run. Have it relayed by `eventq outbox retry`, if it should"
)


class Source(Protocol):
    """What a relay has to know of an outbox."""

    @property
    def log(self) -> EventLog:
        """The log that its rows go to."""

    @property
    def place(self) -> Site:
        """Where its rows are."""

    def visit(self, work: Callable[[OutboxStore], int | None]) -> int | None:
        """Calls ``work`` with a connection of its own."""

    def create_tasks(self, orders: list[NewTask]) -> None:
        """Makes the tasks, all in one commit or none."""


class Relay:
    """Relays one outbox in a thread of its own, until it is stopped."""

    def __init__(self, outbox: Source, *, poll_s: float) -> None:
        self._outbox = outbox
        self._poll_s = poll_s
        self._bell = threading.Event()
        self._stopped = False
        # Until when rows are expected that nothing tells of. Monotonic seconds.
        self._expects_s = 0.0
        self._is_told = False
        self._pause_s = SELDOM_S
        self._thread = threading.Thread(target=self._run, name="eventq-relay", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it goes on; not in a forked child."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends it once the rows at hand are settled, and waits for that."""
        self._stopped = True
        self._bell.set()
        self._thread.join()

    def wake(self) -> None:
        """Has it look now."""
        self._bell.set()

    def expect(self) -> None:
        """Has it look soon, and for a while: a row was written, whose commit nothing tells of."""
        self._expects_s, self._pause_s = time.monotonic() + EXPECTS_S, SOON_S
        self._bell.set()

    def _run(self) -> None:
        place = self._outbox.place
        watching = place.watch(self.wake)
        self._is_told = watching is not None
        try:
            while not self._stopped:
                try:
                    self._outbox.visit(self._serve)
                except QueueClosedError:
                    return
                except Exception as error:  # noqa: BLE001 - the driver's, or the log's
                    values = {"outbox": place.shown, "error": str(error)}
                    logger.warning("%(outbox)s is not relayed: %(error)s", values, extra=values)
                    is_missing = isinstance(error, OutboxError)
                    self._bell.clear()
                    # Not so that a stop is missed, which rings once.
                    if not self._stopped:
                        self._bell.wait(max(AGAIN_S, self._poll_s) if is_missing else AGAIN_S)
        finally:
            if watching is not None:
                watching.close()

    def _serve(self, store: OutboxStore) -> None:
        store.check()
        while not self._stopped:
            self._bell.clear()
            count = relay_block(self._outbox, store)
            if count and self._is_told:
                # Elsewhere others may still come, of transactions that are open.
                self._expects_s = 0.0
            if count < BLOCK and not self._stopped:
                self._bell.wait(self._next_s())

    def _next_s(self) -> float:
        if time.monotonic() >= self._expects_s:
            return self._poll_s
        self._pause_s = min(self._pause_s * 1.5, SELDOM_S)
        return min(self._pause_s, self._poll_s)


def relay_block(outbox: Source, store: OutboxStore) -> int:
    """Relays the oldest rows, a block of them at the most; returns how many."""
    return store.relay(BLOCK, lambda rows: _append(outbox, rows))


def _append(outbox: Source, rows: list[OutboxRow]) -> Settled:
    """Appends the rows in as few commits as can be; durable when it returns. Raises LogError."""
    settled = Settled([], [])
    read: list[tuple[OutboxRow, NewTask]] = []
    for row in rows:
        try:
            read.append((row, order_of_row(row)))
        except RowError as error:
            _set_aside(settled, row, str(error))
    old = _unknown_old(outbox, [row for row, _ in read])
    for row, _ in read:
        if row.key in old:
            _set_aside(settled, row, OLD)
    wanted = [row for row, _ in read if row.key not in old]
    orders = [order for row, order in read if row.key not in old]
    start = 0
    for batch in batches(orders):
        taken = wanted[start : start + len(batch)]
        start += len(batch)
        try:
            outbox.create_tasks(batch)
            settled.done.extend(row.id for row in taken)
        except LogTooNewError:
            raise
        except CANNOT_MAKE:
            _one_by_one(outbox, taken, batch, settled)
    return settled


def _one_by_one(
    outbox: Source, rows: list[OutboxRow], orders: list[NewTask], settled: Settled
) -> None:
    """Appends each by itself, so that one that cannot be made keeps no other back."""
    for row, order in zip(rows, orders, strict=True):
        try:
            outbox.create_tasks([order])
            settled.done.append(row.id)
        except LogTooNewError:
            raise
        except CANNOT_MAKE as error:
            _set_aside(settled, row, f"{type(error).__name__}: {error}")


def _unknown_old(outbox: Source, rows: list[OutboxRow]) -> set[str]:
    """The keys of rows that are older than the log reaches, and that it does not know any more."""
    log = outbox.log
    start = log.start()
    # A log with its archive begins at 1, and knows all keys.
    old = {row.key for row in rows if start.seq and row.made_at < start.at}
    return old - set(log.find_keys(list(old))) if old else old


def _set_aside(settled: Settled, row: OutboxRow, problem: str) -> None:
    settled.aside.append((row.id, problem))
    values = {"key": row.key, "problem": problem}
    logger.warning("an outbox row is set aside: %(key)s: %(problem)s", values, extra=values)
