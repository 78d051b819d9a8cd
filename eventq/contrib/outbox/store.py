"""What an outbox asks of the database that it stands in, whichever that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from eventq.contrib.outbox.row import OutboxRow, OutboxTask

R = TypeVar("R")


class Settled(Struct, frozen=True):
    """What became of some rows: those in the log now, and those that cannot be."""

    done: list[Any]
    """Their ids."""
    aside: list[tuple[Any, str]]
    """Their ids, and why."""


class OutboxStore(Protocol):
    """The rows of one namespace, through one connection. Lets the driver's errors through."""

    def check(self) -> None:
        """Raises OutboxError unless the table is there, in this version."""

    def create(self) -> None:
        """Makes the table, and what belongs to it, unless it is there.

        Raises OutboxError where there is one of another version.
        """

    def relay(self, limit: int, append: Callable[[list[OutboxRow]], Settled]) -> int:
        """Has the oldest rows appended, then deletes or sets aside each; returns how many.

        One caller at a time, among all processes: so the order of rows is kept. What ``append``
        raises goes through, and the rows stay as they are.
        """

    def find(self, key: str) -> OutboxTask | None:
        """The row with this key, if there is one."""

    def aside(self) -> list[OutboxTask]:
        """The rows that were set aside, oldest first."""

    def retry(self, key: str | None, *, now: int) -> int:
        """Has rows that were set aside (None: all) relayed, as if made now; returns how many."""


class Watching(Protocol):
    """What wakes a relay; it ends with `close`."""

    def close(self) -> None:
        """Ends it, and waits until it has ended."""


class Site(Protocol):
    """Where an outbox stands, for whoever relays."""

    shown: str
    """Its name for people, without any password."""
    poll_s: float
    """How often a relay looks without being woken, in seconds."""

    @property
    def home(self) -> str | None:
        """Which database it is, whatever way leads there; None where that is not known."""

    def visit(self, namespace: str, work: Callable[[OutboxStore], R]) -> R:
        """Calls ``work`` with a connection of its own, in this thread."""

    def watch(self, wake: Callable[[], None]) -> Watching | None:
        """Has ``wake`` called soon after a commit; None where the database tells nobody."""


class Enrolled(Protocol):
    """An open transaction of the application, into which rows can be written."""

    @property
    def place(self) -> Site:
        """Where its rows will be."""

    def write(self, row: OutboxRow) -> None:
        """Writes the row, so that it is stored if the transaction is."""

    def on_commit(self, wake: Callable[[], None]) -> bool:
        """Has ``wake`` called once it is committed; False where nothing tells."""
