"""What every event log promises. Logs know bytes and positions, never queues or states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from eventq.core.commits import Commit
from eventq.core.values import COMMIT_EVENTS
from eventq.errors import LogConflictError, LogCorruptError, LogForeignError

# How many events one `read` asks for by default: large enough to fold fast, a few MB at most.
READ_EVENTS = 10_000


class Head(Struct, frozen=True, gc=False):
    """Where a log ends: the last position, its instant, and the last seal."""

    seq: int
    at: int
    seal: bytes


# Decides on the commit that is to follow a head; None for none.
Decide = Callable[[Head], Commit | None]


class StoredEvent(Struct, frozen=True, gc=False):
    """One event as stored: its envelope, and its body as text."""

    seq: int
    at: int
    task: int
    body: str


class Kept(Struct, frozen=True, gc=False):
    """What a log keeps of a task whose events were archived: its state after position ``seq``.

    ``key`` is the caller's; such a task is kept for good, another one while it is open. ``state``
    is text that a log does not understand: see tombstones.py.
    """

    task: int
    seq: int
    key: str | None
    state: str


class Rows(Struct, frozen=True):
    """The result of a query: the names of the columns, and the rows."""

    columns: list[str]
    rows: list[tuple[Any, ...]]


class SnapshotEntry(Struct, frozen=True):
    """One snapshot, without its bytes: the end of the commit it is of, and when it was taken."""

    seq: int
    at: int
    seal: bytes
    taken_at: int
    size_bytes: int


class Snapshots(Protocol):
    """One namespace's snapshots, beside its log: bytes by position, opaque to the log.

    They are no part of the log: each can be made anew from it, so all of them may be lost at any
    time. Nothing here changes the log, or delays an append for longer than it takes to write one
    snapshot. All methods may be called from any thread; errors are those of EventLog.
    """

    def entries(self) -> list[SnapshotEntry]:
        """Returns all of them, by rising position."""

    def get(self, seq: int) -> bytes | None:
        """Returns the bytes of the snapshot at this position, as they were put; None without one.

        A snapshot whose writer died before the end does not exist.
        """

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """Writes a snapshot, whole or not at all, in place of any at the same position."""

    def delete(self, seq: int) -> bool:
        """Deletes the snapshot at this position; returns whether there was one."""


class Watch(Protocol):
    """A running watch on a log."""

    def close(self) -> None:
        """Stops it and waits until it has stopped; may be called twice."""


class Remote(Protocol):
    """What a log behind a network offers besides, to save round trips; other logs have none of it.

    A caller does without where `EventLog.remote` is None, and loses nothing but time.
    """

    @property
    def append_s(self) -> float:
        """How long an append takes lately, in seconds; 0 before the first."""

    def append_next(self, decide: Decide, *, guess: Head, waits: bool = True) -> Commit | None:
        """Like `EventLog.append_next`, but takes the ``guess`` for the head instead of asking.

        Unless it ``waits``, it leaves out the wait for others: the caller has done so.
        """

    def watch(self, wake: Callable[[], None], *, heard: Callable[[], bool]) -> Watch:
        """Like `EventLog.watch`, but may put off the next look until a wake was ``heard``."""


class Guest(Protocol):
    """A user's own statements in a transaction of a log. For one thread at a time.

    Raises ArgumentError for a statement that is wrong or may touch the log, StatementError for one
    that breaks a constraint of the user's, and TransactionError once the database has ended it.
    """

    def execute(self, text: str, values: Sequence[Any]) -> Rows:
        """Runs one statement, and returns its rows."""

    def execute_many(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        """Runs one statement for each row of values."""

    def interrupt(self) -> None:
        """Breaks off the statement under way, if there is one; from any thread."""

    def check(self) -> None:
        """Raises what keeps its statements from being kept; nothing is executed after it."""

    def leave(self) -> None:
        """Ends it: its statements are part of the transaction now, whatever becomes of that."""


class Hosting(Protocol):
    """What a log in a SQL file offers besides; other logs have none of it."""

    def receive(self) -> Guest:
        """Lets a user's statements into the transaction that is about to append.

        Only what `append_next` is to decide by may call it, and must have it leave. Whatever that
        raises then undoes its statements.
        """


class EventLog(Protocol):
    """One namespace's log. All methods may be called from any thread.

    What has been read is a gap-free prefix that never changes. Every method raises
    LogUnavailableError when the log cannot be reached and QueueClosedError after `close`; no
    error of a driver leaves a log.
    """

    namespace: str
    url: str
    """Where the log is, without any password."""

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots in this log's database."""

    @property
    def remote(self) -> Remote | None:
        """What saves round trips on a log behind a network; None for a log on this host."""

    @property
    def hosting(self) -> Hosting | None:
        """What takes a user's own statements along; None where there can be none."""

    def head(self) -> Head:
        """Returns where the log ends now; position 0 and the genesis seal when it is empty."""

    def start(self) -> Head:
        """Returns what stands before the first event that the log still holds.

        That is position 0 and the genesis seal or, after a `cut`, where the archived part ends.
        """

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """Returns whole commits in order, from the one that holds position ``after + 1``.

        Returns at least one commit if there is any, and stops once ``limit`` events are reached.
        Raises LogCorruptError when positions are missing or a row cannot be understood, and
        LogArchivedError when they have been archived. Does not recompute seals.
        """

    def append(self, commit: Commit) -> None:
        """Appends the commit at its position: all or nothing, durable when this returns.

        Raises LogConflictError when the log does not end right before ``commit.first`` with the
        seal ``commit.prev``, or when a key is taken. An outcome the driver does not know is
        resolved by reading the position back, so that after an error nothing has been appended;
        where that fails too, the error is LogOutcomeUnknownError.
        """

    def append_next(self, decide: Decide) -> Commit | None:
        """Appends what ``decide`` returns for the head, and returns it.

        Waits, first come first served, until this caller may append. Logs with one writer at a
        time hold all others back until this returns, so that the head stays the head; others let
        everybody through, and may conflict. Errors are those of `append`; what ``decide`` raises
        goes through. It may be called twice, may read the log but not append to it, and when it
        returns None, nothing is appended.
        """

    def history(self, task: int) -> list[StoredEvent]:
        """Returns all events of one task that the log holds, in order. By index."""

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """Returns the same for many tasks in one read, without those that have none. By index."""

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """Returns the tasks that callers' keys belong to, without unknown keys. By index.

        This includes tasks whose events have been archived: a key stays taken for ever.
        """

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """Returns the tasks of which ``cancelled`` events in the log name these as the cause.

        Each once a cause, in any order; without causes that have none. By index.
        """

    def find_stray(self) -> int | None:
        """Returns a position before 1 or behind the end where an event is stored; None if none is.

        No log stores one there. `read` never returns it, but `history` and `find_keys` may.
        """

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """Returns what is kept of these tasks, without those of which nothing is. By index."""

    def keep(self, rows: list[Kept]) -> None:
        """Keeps these rows, each in place of the same task's row; durable when this returns.

        Call it for every task with a key, and for every open one, before a `cut`. A row whose
        position is before that of the row kept already, or before `start`, changes nothing.
        """

    def cut(self, until: Head) -> None:
        """Deletes all events up to ``until``, the end of a commit, for good.

        First the new start is made durable, and then the events are deleted bit by bit, the oldest
        first, while others may append between. Wherever that breaks off, the log is whole, and
        the next call finishes it; a cut at or before `start` does no more than that. Rows kept of
        tasks without a key as of an earlier position are deleted too. Raises LogForeignError when
        no commit ends there with this seal.
        """

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:
        """Runs one read-only SQL statement over the whole database, where the log speaks SQL.

        Raises ArgumentError where it does not, and for a statement that is wrong or would write.
        """

    def namespaces(self) -> list[str]:
        """Returns the namespaces in this log's database, sorted."""

    def watch(self, wake: Callable[[], None]) -> Watch:
        """Calls ``wake`` from another thread soon after any process has appended.

        Wakes may come late by a second, too often, or together: a wake is a hint, never a fact.
        """

    def clock_offset_us(self) -> int:
        """Returns how far the log's own clock is ahead of this host's, in microseconds.

        It is 0 where all nodes share a host. Elsewhere it is measured now and then, so that one
        host's wrong clock does not bend the log's time; never raises.
        """

    def after_fork(self) -> None:
        """Prepares the log for use in a forked child, which must not use the parent's handles."""

    def close(self) -> None:
        """Gives up what the log holds; may be called twice."""


def check_commit(commit: Commit, head: Head) -> None:
    """Raises what `append` must raise for a commit that does not fit the head."""
    count = len(commit.bodies)
    assert len(commit.tasks) == count, "tasks and bodies run in parallel"
    assert 0 < count <= COMMIT_EVENTS, "a commit has 1 to 1,000 events"
    if commit.first != head.seq + 1 or commit.prev != head.seal:
        raise LogConflictError(commit.first)
    if commit.at < head.at:
        raise LogCorruptError(commit.first, "an append would turn time back")


def is_storable(key: str) -> bool:
    """Whether UTF-8 can hold the key: it cannot hold lone surrogates, so no database stores one."""
    if key.isascii():
        return True
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_cut(until: Head, last: int, seal: bytes, url: str) -> None:
    """Raises what `cut` must raise unless a commit ends there, with this seal."""
    if (until.seq, until.seal) != (last, seal):
        raise LogForeignError(f"{url}: no commit ends at position {until.seq} with this seal")
