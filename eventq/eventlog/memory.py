"""The log in memory, for tests and trials; it refuses everything the databases refuse."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from eventq.core.events import Commit
from eventq.core.seal import genesis
from eventq.errors import (
    ArgumentError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    QueueClosedError,
)
from eventq.eventlog.contract import (
    READ_EVENTS,
    Head,
    Kept,
    Rows,
    StoredEvent,
    Watch,
    check_commit,
    check_cut,
)
from eventq.eventlog.memory_snapshots import MemoryShelf, MemorySnapshots
from eventq.host.interrupts import Holding


class MemoryStorage:
    """What the logs of all namespaces of one ``memory://`` URL share. Lost with the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.commits: dict[str, list[Commit]] = {}
        self.positions: dict[str, dict[int, list[int]]] = {}
        self.keys: dict[str, dict[str, int]] = {}
        # Up to which position each namespace's commits stand in the two above.
        self.indexed: dict[str, int] = {}
        self.starts: dict[str, Head] = {}
        self.kept: dict[str, dict[int, Kept]] = {}
        self.snapshots: dict[str, MemoryShelf] = {}
        self.watches: list[_MemoryWatch] = []


class MemoryLog:
    """An EventLog kept in lists."""

    def __init__(self, storage: MemoryStorage, *, url: str, namespace: str) -> None:
        self.url = url
        self.takes_guesses = False
        self.namespace = namespace
        self._storage = storage
        self._closed = False
        self.snapshots = MemorySnapshots(self._shelf)

    def head(self) -> Head:
        """See EventLog.head."""
        commits = self._commits()
        if not commits:
            return self.start()
        return Head(commits[-1].last, commits[-1].at, commits[-1].seal)

    def start(self) -> Head:
        """See EventLog.start."""
        self._commits()
        return self._storage.starts.get(self.namespace, Head(0, 0, genesis(self.namespace)))

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        commits = self._commits()
        with self._storage.lock:
            if max(after, 0) < self.start().seq:
                raise LogArchivedError(max(after, 0) + 1, self.start().seq)
            start = bisect.bisect_right(commits, after, key=lambda commit: commit.last)
            found: list[Commit] = []
            for commit in commits[start : start + limit]:
                found.append(commit)
                limit -= len(commit.bodies)
                if limit <= 0:
                    break
            return found

    def turn(
        self,
        *,
        guess: Head | None = None,  # noqa: ARG002 - certain here
    ) -> AbstractContextManager[Head]:
        """See EventLog.turn; the turn is shared by all logs of one storage."""
        return Holding(self._storage.lock, self.head)

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        storage = self._storage
        with storage.lock:
            check_commit(commit, self.head())
            if commit.keys and not self._index()[1].keys().isdisjoint(commit.keys):
                raise LogConflictError(commit.first)
            # This one step is the append; an interrupt leaves the indexes behind, and no more.
            self._commits().append(commit)
            watches = list(storage.watches)
        try:
            for watch in watches:
                watch.wake()
        except BaseException:
            # Interrupted: the others have no other way to hear of it.
            for watch in watches:
                watch.wake()
            raise

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        commits = self._commits()
        with self._storage.lock:
            positions = self._index()[0].get(task, [])
            base = self.start().seq
            return [self._stored(commits, seq) for seq in positions if seq > base]

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        self._commits()
        with self._storage.lock:
            known = self._index()[1]
            return {key: known[key] for key in keys if key in known}

    def find_stray(self) -> int | None:
        """See EventLog.find_stray: there is no place for any."""
        return None

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        self._commits()
        with self._storage.lock:
            kept = self._storage.kept.get(self.namespace, {})
            return {task: kept[task] for task in tasks if task in kept}

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        self._commits()
        with self._storage.lock:
            kept, start = self._storage.kept.setdefault(self.namespace, {}), self.start().seq
            for row in rows:
                if row.seq >= start and (row.task not in kept or row.seq >= kept[row.task].seq):
                    kept[row.task] = row

    def cut(self, until: Head) -> None:
        """See EventLog.cut; here it is done at once."""
        commits = self._commits()
        with self._storage.lock:
            if until.seq <= self.start().seq:
                return
            end = bisect.bisect_right(commits, until.seq, key=lambda commit: commit.last)
            last = commits[end - 1] if end else None
            check_cut(until, last.last if last else 0, last.seal if last else b"", self.url)
            self._index()
            self._storage.starts[self.namespace] = until
            del commits[:end]
            kept = self._storage.kept.get(self.namespace, {})
            for row in list(kept.values()):
                if row.key is None and row.seq < until.seq:
                    del kept[row.task]

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: there is no SQL in memory."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        self._commits()
        held = {name for name, commits in self._storage.commits.items() if commits}
        return sorted(held | self._storage.starts.keys())

    def watch(self, wake: Callable[[], None], **_: object) -> Watch:
        """See EventLog.watch; here an append calls ``wake`` itself."""
        self._commits()
        watch = _MemoryWatch(self._storage, wake)
        with self._storage.lock:
            self._storage.watches.append(watch)
        return watch

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """A child has its own copy of all memory; it only needs a lock nobody holds."""
        self._storage.lock = threading.RLock()

    def close(self) -> None:
        """See EventLog.close; the storage lives on for other logs of the same URL."""
        self._closed = True

    def _commits(self) -> list[Commit]:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")
        return self._storage.commits.setdefault(self.namespace, [])

    def _index(self) -> tuple[dict[int, list[int]], dict[str, int]]:
        """The positions of each task's events and the tasks of keys, with every commit in them."""
        storage, commits = self._storage, self._commits()
        positions = storage.positions.setdefault(self.namespace, {})
        keys = storage.keys.setdefault(self.namespace, {})
        known = storage.indexed.get(self.namespace, 0)
        new = bisect.bisect_right(commits, known, key=lambda commit: commit.last)
        for commit in commits[new:]:
            keys.update(commit.keys)
            for seq, task in enumerate(commit.tasks, commit.first):
                seqs = positions.setdefault(task, [])
                # Some are there already if an interrupt came between.
                if not seqs or seqs[-1] < seq:
                    seqs.append(seq)
            storage.indexed[self.namespace] = commit.last
        return positions, keys

    def _shelf(self) -> MemoryShelf:
        self._commits()
        return self._storage.snapshots.setdefault(self.namespace, {})

    @staticmethod
    def _stored(commits: list[Commit], seq: int) -> StoredEvent:
        commit = commits[bisect.bisect_left(commits, seq, key=lambda commit: commit.last)]
        index = seq - commit.first
        if not 0 <= index < len(commit.bodies):
            raise LogCorruptError(seq, "no commit holds this position")
        return StoredEvent(seq, commit.at, commit.tasks[index], commit.bodies[index])


class _MemoryWatch:
    def __init__(self, storage: MemoryStorage, wake: Callable[[], None]) -> None:
        self.wake = wake
        self._storage = storage

    def close(self) -> None:
        with self._storage.lock:
            if self in self._storage.watches:
                self._storage.watches.remove(self)
