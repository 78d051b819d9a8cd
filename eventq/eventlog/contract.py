"""The contract every event log keeps; logs know bytes and positions, never queues or states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct

from eventq.core.events import COMMIT_EVENTS, Commit
from eventq.errors import LogConflictError, LogCorruptError, LogForeignError
from eventq.eventlog.snapshots import Snapshots

# How many events one `read` asks for, unless told: large enough to fold fast, a few MB at most.
READ_EVENTS = 10_000


class Head(Struct, frozen=True, gc=False):
    """Where a log ends: the last position, its instant, and the last seal."""

    seq: int
    at: int
    seal: bytes


class StoredEvent(Struct, frozen=True, gc=False):
    """One event as stored: its envelope, and its body as text."""

    seq: int
    at: int
    task: int
    body: str


class Kept(Struct, frozen=True, gc=False):
    """What a log keeps of a task whose events were archived: its state after position ``seq``.

    ``key`` is the caller's; such a task is kept for good, another one while it is open. ``state``
    is text that a log does not understand: see kept.py.
    """

    task: int
    seq: int
    key: str | None
    state: str


class Rows(Struct, frozen=True):
    """What a query gave: the columns' names, and the rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class Watch(Protocol):
    """A running watch on a log."""

    def close(self) -> None:
        """Stops it and waits until it has stopped; may come twice."""


class EventLog(Protocol):
    """One namespace's log. All methods may be called from any thread.

    What has been read is a gap-free prefix that never changes. Every method raises
    LogUnavailableError when the log cannot be reached and QueueClosedError after `close`; no
    error of a driver leaves a log.
    """

    namespace: str
    url: str
    """Where the log is, without any password."""
    takes_guesses: bool
    """Whether `turn` gives back the ``guess`` unasked: only where a question is a journey."""

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots in this log's database."""

    def head(self) -> Head:
        """Where the log ends now; position 0 and the genesis seal when it is empty."""

    def start(self) -> Head:
        """What stands before the first event the log still holds.

        Position 0 and the genesis seal, or after a `cut` where that ended: what is archived.
        """

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """Whole commits in order, beginning with the one that holds position ``after + 1``.

        Gives at least one commit if there is any, and stops once ``limit`` events are reached.
        Raises LogCorruptError when positions are missing or a row cannot be understood, and
        LogArchivedError when they have been archived. Seals are not recomputed here.
        """

    def turn(self, *, guess: Head | None = None) -> AbstractContextManager[Head]:
        """Waits, first come first served, for this caller's turn to append; gives the head.

        Logs with one writer at a time hold all others back until the block ends, so that it stays
        the head. Other logs let everybody through, and `append` may conflict; these give the
        ``guess``, if there is one, and save a journey. Turns do not nest.
        """

    def append(self, commit: Commit) -> None:
        """Appends the commit at its position: all or nothing, durable when this returns.

        Raises LogConflictError when the log does not end right before ``commit.first`` with the
        seal ``commit.prev``, or when a key is taken. An outcome the driver does not know is
        resolved by reading the position back, so that after an error nothing has been appended;
        where that fails too, the error is LogOutcomeUnknownError.
        """

    def history(self, task: int) -> list[StoredEvent]:
        """All events of one task that the log holds, in order; empty for no task. By index."""

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """The tasks that callers' keys belong to; unknown keys are left out. By index.

        Also tasks whose events have been archived: a key stays taken for ever.
        """

    def find_stray(self) -> int | None:
        """A position before 1 or behind the end where somebody has stored something; None if none.

        No log does that. `read` never gives it, but `history` and `find_keys` may.
        """

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """What is kept of these tasks; others are left out. By index."""

    def keep(self, rows: list[Kept]) -> None:
        """Keeps these, each in place of what was kept of the same task; durable when it returns.

        Must be done for every task with a key, and every open one, before a `cut`. What holds as
        of an earlier position than what is kept already, or than `start`, changes nothing.
        """

    def cut(self, until: Head) -> None:
        """Forgets all events up to ``until``, the end of a commit, for good; the rest stays.

        First it is made durable that the log starts there, and then the events are deleted, bit
        by bit from the oldest on, with others' turns between. Broken off anywhere, the log is
        whole, and calling it again ends it; a cut at or before `start` only does that. What is
        kept of tasks without a key as of an earlier position is forgotten too. Raises
        LogForeignError when no commit ends there with this seal.
        """

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """One read-only SQL statement over the whole database, where the log speaks SQL.

        Raises ArgumentError where it does not, and for a statement that is wrong or would write.
        """

    def namespaces(self) -> list[str]:
        """The namespaces in this log's database, sorted."""

    def watch(self, wake: Callable[[], None], *, heard: Callable[[], bool] = lambda: True) -> Watch:
        """Calls ``wake`` from another thread soon after anybody, in any process, has appended.

        Wakes may come late by a second, too often, or together; never take one for a fact. Until
        the last one was ``heard``, a log that pays for each look may put the next off for a while.
        """

    def clock_offset_us(self) -> int:
        """How far the log's own clock is ahead of this host's, in microseconds.

        Where all nodes share a host it is 0. Elsewhere it is measured now and then, so that one
        host's wrong clock does not bend the log's time; never raises.
        """

    def after_fork(self) -> None:
        """Called once in a forked child before anything else: takes no handle of the parent's."""

    def close(self) -> None:
        """Gives up what the log holds; may come twice."""


def check_commit(commit: Commit, head: Head) -> None:
    """Raises what `append` must raise for a commit that does not fit the head."""
    assert len(commit.tasks) == len(commit.bodies), "tasks and bodies run in parallel"
    assert 0 < len(commit.bodies) <= COMMIT_EVENTS, "a commit has 1 to 1,000 events"
    if commit.first != head.seq + 1 or commit.prev != head.seal:
        raise LogConflictError(commit.first)
    if commit.at < head.at:
        raise LogCorruptError(commit.first, "an append would turn time back")


def check_cut(until: Head, last: int, seal: bytes, url: str) -> None:
    """Raises what `cut` must raise unless a commit ends there, with this seal."""
    if (until.seq, until.seal) != (last, seal):
        raise LogForeignError(f"{url}: no commit ends at position {until.seq} with this seal")
