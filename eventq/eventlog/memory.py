"""The log in memory, for tests and trials; it refuses everything the databases refuse."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from eventq.core.commits import Commit
from eventq.core.seal import genesis
from eventq.errors import (
    ArgumentError,
    LogArchivedError,
    LogConflictError,
    LogCorruptError,
    QueueClosedError,
)
from eventq.eventlog.causes import causes_of
from eventq.eventlog.contract import (
    READ_EVENTS,
    Decide,
    Head,
    Hosting,
    Kept,
    Remote,
    Rows,
    SnapshotEntry,
    StoredEvent,
    Watch,
    check_commit,
    check_cut,
)

MemoryShelf = dict[int, tuple[SnapshotEntry, bytes]]

# In C, since each look for a position asks it of several commits.
_first_of = attrgetter("first")


class MemoryStorage:
    """Shared by the logs of all namespaces of one ``memory://`` URL. Lost with the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.commits: dict[str, list[Commit]] = {}
        self.positions: dict[str, dict[int, list[int]]] = {}
        self.keys: dict[str, dict[str, int]] = {}
        # By cause, the events that name it.
        self.caused: dict[str, dict[int, list[int]]] = {}
        # Up to which position `positions`, `keys` and `caused` hold each namespace's commits.
        self.indexed: dict[str, int] = {}
        self.starts: dict[str, Head] = {}
        self.kept: dict[str, dict[int, Kept]] = {}
        self.snapshots: dict[str, MemoryShelf] = {}
        self.watches: list[_MemoryWatch] = []


class MemoryLog:
    """An EventLog kept in lists."""

    remote: Remote | None = None
    hosting: Hosting | None = None

    def __init__(self, storage: MemoryStorage, *, url: str, namespace: str) -> None:
        self.url = url
        self.namespace = namespace
        self.storage = storage
        self._closed = False
        self._begin = Head(0, 0, genesis(namespace))
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
        return self.storage.starts.get(self.namespace, self._begin)

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        commits = self._commits()
        with self.storage.lock:
            after, start = max(after, 0), self.start().seq
            if after < start:
                raise LogArchivedError(after + 1, start)
            if not commits or commits[-1].last <= after:
                return []
            index = bisect.bisect_right(commits, after + 1, key=_first_of) - 1
            if commits[-1].last - commits[index].first < limit:
                return commits[index:]
            found: list[Commit] = []
            for commit in commits[index : index + limit]:
                found.append(commit)
                limit -= len(commit.bodies)
                if limit <= 0:
                    break
            return found

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next; all logs of one storage share the slot."""
        # No function of ours gives the lock back.
        with self.storage.lock:
            commit = decide(self.head())
            if commit is not None:
                self.append(commit)
            return commit

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        storage = self.storage
        with storage.lock:
            check_commit(commit, self.head())
            if commit.keys and not self._index()[1].keys().isdisjoint(commit.keys):
                raise LogConflictError(commit.first)
            # This one step is the append; an interrupt leaves the indexes behind, and no more.
            self._commits().append(commit)
            self._index()
            watches = list(storage.watches)
        try:
            for watch in watches:
                watch.wake()
        except BaseException:
            # An interrupt: the other watches have no other way to hear of the append.
            for watch in watches:
                watch.wake()
            raise

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        commits = self._commits()
        with self.storage.lock:
            positions = self._index()[0].get(task, [])
            start = self.start().seq
            return [self._stored(commits, seq) for seq in positions if seq > start]

    def histories(self, tasks: list[int]) -> dict[int, list[StoredEvent]]:
        """See EventLog.histories."""
        return {task: found for task in tasks if (found := self.history(task))}

    def find_keys(self, keys: list[str]) -> dict[str, int]:
        """See EventLog.find_keys."""
        self._commits()
        with self.storage.lock:
            known = self._index()[1]
            return {key: known[key] for key in keys if key in known}

    def caused_by(self, tasks: list[int]) -> dict[int, list[int]]:
        """See EventLog.caused_by."""
        commits = self._commits()
        found: dict[int, list[int]] = {}
        with self.storage.lock:
            self._index()
            start = self.start().seq
            caused = self.storage.caused.get(self.namespace, {})
            for task in tasks:
                seqs = [seq for seq in caused.get(task, ()) if seq > start]
                if seqs:
                    found[task] = list({self._stored(commits, seq).task: None for seq in seqs})
        return found

    def find_stray(self) -> int | None:
        """See EventLog.find_stray: there is no place for any."""
        return None

    def find_kept(self, tasks: list[int]) -> dict[int, Kept]:
        """See EventLog.find_kept."""
        self._commits()
        with self.storage.lock:
            kept = self.storage.kept.get(self.namespace, {})
            return {task: kept[task] for task in tasks if task in kept}

    def keep(self, rows: list[Kept]) -> None:
        """See EventLog.keep."""
        self._commits()
        with self.storage.lock:
            kept, start = self.storage.kept.setdefault(self.namespace, {}), self.start().seq
            for row in rows:
                if row.seq >= start and (row.task not in kept or row.seq >= kept[row.task].seq):
                    kept[row.task] = row

    def cut(self, until: Head) -> None:
        """See EventLog.cut; here it is done at once."""
        commits = self._commits()
        with self.storage.lock:
            if until.seq <= self.start().seq:
                return
            end = bisect.bisect_right(commits, until.seq, key=lambda commit: commit.last)
            last = commits[end - 1] if end else None
            check_cut(until, last.last if last else 0, last.seal if last else b"", self.url)
            self._index()
            self.storage.starts[self.namespace] = until
            del commits[:end]
            kept = self.storage.kept.get(self.namespace, {})
            for row in list(kept.values()):
                if row.key is None and row.seq < until.seq:
                    del kept[row.task]

    def query(self, text: str, values: Sequence[Any] = ()) -> Rows:  # noqa: ARG002
        """See EventLog.query: there is no SQL in memory."""
        raise ArgumentError("query", text, f"a log that speaks SQL, which {self.url} does not")

    def namespaces(self) -> list[str]:
        """See EventLog.namespaces."""
        self._commits()
        held = {name for name, commits in self.storage.commits.items() if commits}
        return sorted(held | self.storage.starts.keys())

    def watch(self, wake: Callable[[], None]) -> Watch:
        """See EventLog.watch; here an append calls ``wake`` itself."""
        self._commits()
        watch = _MemoryWatch(self.storage, wake)
        with self.storage.lock:
            self.storage.watches.append(watch)
        return watch

    def clock_offset_us(self) -> int:
        """See EventLog.clock_offset_us."""
        return 0

    def after_fork(self) -> None:
        """See EventLog.after_fork: a child has a copy of all memory, and needs a free lock."""
        self.storage.lock = threading.RLock()

    def close(self) -> None:
        """See EventLog.close; the storage lives on for other logs of the same URL."""
        self._closed = True

    def _commits(self) -> list[Commit]:
        if self._closed:
            raise QueueClosedError(f"the log {self.url} is closed")
        return self.storage.commits.setdefault(self.namespace, [])

    def _index(self) -> tuple[dict[int, list[int]], dict[str, int]]:
        """The positions of each task's events and the tasks of keys, up to the last commit."""
        storage, commits = self.storage, self._commits()
        positions = storage.positions.setdefault(self.namespace, {})
        keys = storage.keys.setdefault(self.namespace, {})
        caused = storage.caused.setdefault(self.namespace, {})
        known = storage.indexed.get(self.namespace, 0)
        if not commits or commits[-1].last <= known:
            return positions, keys
        new = bisect.bisect_right(commits, known, key=_first_of)
        for commit in commits[new:]:
            keys.update(commit.keys)
            for seq, task in enumerate(commit.tasks, commit.first):
                seqs = positions.setdefault(task, [])
                # After an interrupt, some are there already.
                if not seqs or seqs[-1] < seq:
                    seqs.append(seq)
            for index, cause in causes_of(commit.bodies).items():
                # Twice does no harm: each task is told once.
                caused.setdefault(cause, []).append(commit.first + index)
            storage.indexed[self.namespace] = commit.last
        return positions, keys

    def _shelf(self) -> MemoryShelf:
        self._commits()
        return self.storage.snapshots.setdefault(self.namespace, {})

    @staticmethod
    def _stored(commits: list[Commit], seq: int) -> StoredEvent:
        commit = commits[bisect.bisect_right(commits, seq, key=_first_of) - 1]
        index = seq - commit.first
        if not 0 <= index < len(commit.bodies):
            raise LogCorruptError(seq, "no commit holds this position")
        return StoredEvent(seq, commit.at, commit.tasks[index], commit.bodies[index])


class MemorySnapshots:
    """The Snapshots of one namespace. All its logs share a shelf, which ``shelf`` returns."""

    def __init__(self, shelf: Callable[[], MemoryShelf]) -> None:
        self._shelf = shelf

    def entries(self) -> list[SnapshotEntry]:
        """See Snapshots.entries."""
        return [entry for _, (entry, _) in sorted(dict(self._shelf()).items())]

    def get(self, seq: int) -> bytes | None:
        """See Snapshots.get."""
        found = self._shelf().get(seq)
        return None if found is None else found[1]

    def put(self, entry: SnapshotEntry, data: bytes) -> None:
        """See Snapshots.put."""
        self._shelf()[entry.seq] = (entry, bytes(data))

    def delete(self, seq: int) -> bool:
        """See Snapshots.delete."""
        return self._shelf().pop(seq, None) is not None


class _MemoryWatch:
    def __init__(self, storage: MemoryStorage, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.storage = storage

    def close(self) -> None:
        with self.storage.lock:
            if self in self.storage.watches:
                self.storage.watches.remove(self)
