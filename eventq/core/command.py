"""What a command is: a value that decides from what it is handed, and returns events and a result.

Nothing here reads a clock, draws chance, or changes what it was given: a draft becomes a fact
only when a log has appended it.
"""

from __future__ import annotations

from typing import ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from eventq.core.commits import AnyBody, Event
from eventq.core.projection import Projection
from eventq.core.task import Task

R = TypeVar("R")

# Stands for the number of a task that its own commit will create.
NEW = -1

# One event of a decision: the task's number (NEW, or NODE for none) and what happened.
Draft = tuple[int, AnyBody]


class Decision(Struct, Generic[R], frozen=True, gc=False):
    """What a command decided: the events to append, in order, and what its caller gets."""

    events: list[Draft]
    result: R
    is_linked: bool = False
    """Its tasks refer to each other, by places: see `link.placed`."""


class BulkSince(Struct, frozen=True, gc=False):
    """What the log says of a change to many tasks behind one position, up to another."""

    seq: int
    """Up to here."""
    changed: set[int]
    """The tasks that it has changed there."""
    is_over: bool
    """The log says there that it is done."""
    seal: bytes | None = None
    """Of the last commit that was read for it."""


class PastTasks(Protocol):
    """What only the log knows: keys that are taken, final tasks, histories."""

    def find_keys(self, keys: list[str], /) -> dict[str, int]:
        """The tasks that callers' keys belong to; unknown keys are left out."""

    def created_and_task(self, number: int, /) -> tuple[Event | None, Task | None]:
        """A task's ``created`` event and the task as it stands; None for what is not kept."""

    def history(self, number: int, /) -> list[Event]:
        """The task's events, as far as the log holds them."""

    def caused_by(self, number: int, /) -> list[int]:
        """The tasks that the task's end has cancelled at any time, as far as the log holds that."""

    def bulk_since(self, bulk: int, after: int, until: int, /) -> BulkSince:
        """What has become of a change to many tasks behind a position. Raises LogArchivedError."""

    def ahead(self, numbers: list[int], /) -> PastTasks:
        """The same, with what it knows of many tasks read at once: for one decision on them all."""


class NoPast:
    """A past in which nothing has been, for decisions that need none."""

    def find_keys(self, _keys: list[str]) -> dict[str, int]:
        """See PastTasks.find_keys."""
        return {}

    def created_and_task(self, _number: int) -> tuple[Event | None, Task | None]:
        """See PastTasks.created_and_task."""
        return None, None

    def history(self, _number: int) -> list[Event]:
        """See PastTasks.history."""
        return []

    def caused_by(self, _number: int) -> list[int]:
        """See PastTasks.caused_by."""
        return []

    def bulk_since(self, _bulk: int, _after: int, until: int) -> BulkSince:
        """See PastTasks.bulk_since."""
        return BulkSince(until, set(), is_over=False)

    def ahead(self, _numbers: list[int]) -> PastTasks:
        """See PastTasks.ahead."""
        return self


NO_PAST = NoPast()


class Nothing(Struct, frozen=True):
    """Decides on nothing: for who has a place in a commit and does not know yet what for."""

    unconditional: ClassVar[bool] = True
    leasing: ClassVar[bool] = False

    def decide(self, _projection: Projection, _past: PastTasks, _now: int) -> Decision[None]:
        """See Command.decide."""
        return Decision([], None)


NOTHING = Nothing()


class Command(Protocol[R]):
    """What one caller asks for, as a frozen value. It may have to decide again after a conflict."""

    @property
    def unconditional(self) -> bool:
        """Whether the projection does not matter; the command is then handed an empty one."""

    @property
    def leasing(self) -> bool:
        """Whether it stands first in its commit, so that its choice is right at its position."""

    def decide(self, projection: Projection, past: PastTasks, now: int) -> Decision[R]:
        """The events to append at ``now`` (microseconds), or an error for the caller alone."""
