"""Moving the beginning of a log into an archive: write, read back, keep what is needed, then cut.

Nothing is deleted here that was not read back from the disk and folded a moment before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from eventq import snapshot
from eventq.archive.archived_log import ArchivedLog, check_belongs
from eventq.archive.folder import Archive
from eventq.archive.segments import SEGMENT_EVENTS
from eventq.core.commits import Commit, Event, decode_at
from eventq.core.task import FINAL, Task
from eventq.errors import ArgumentError, LogCorruptError
from eventq.eventlog import EventLog, Head
from eventq.replay.fold import read_sealed, task_of
from eventq.replay.followers import slowest
from eventq.replay.points import Point, find_end
from eventq.replay.tombstones import KeptTask, decode_kept, encode_kept

# How many tasks are looked up at once.
LOOKUP_TASKS = 1_000

Progress = Callable[[int, int], None]


class HeldBack(Struct, frozen=True):
    """Why an archive goes no further: a follower has yet to read what comes next."""

    follower: str
    until: Head
    """The end of the last commit that it has dealt with whole."""


def held_back(log: EventLog, until: Head) -> HeldBack | None:
    """The slowest follower, if it stands before this position; None if all are past it."""
    head = log.head()
    follower = slowest(snapshot.projection_at(log, Point(head.seq, head.at)))
    if follower is None or follower.said.seq >= until.seq:
        return None
    start, position = log.start(), follower.said.seq
    end = start if position <= start.seq else find_end(log, Point(position, until.at))
    return HeldBack(follower.said.follower, end)


class ArchiveReport(Struct, frozen=True):
    """What `archive_events` did."""

    segments: list[Path]
    """The files written, in order."""
    events: int
    """The events in them."""
    text_bytes: int
    """How long they are as text."""
    file_bytes: int
    """How long they are as files."""
    until: Head
    """The end of a segment up to which the log may be cut."""


class CutReport(Struct, frozen=True):
    """What `delete_archived` did."""

    verified: int
    """Events read back from the archive and checked."""
    kept: int
    """Tasks of which the log keeps what it needs: open ones, and those with a caller's key."""
    start: Head
    """Where the log starts now."""


def archive_events(
    log: EventLog,
    folder: str | os.PathLike[str],
    *,
    until: Head,
    progress: Progress | None = None,
) -> ArchiveReport:
    """Writes the segments that the archive lacks up to ``until``; deletes nothing.

    The folder is made if it is missing. What was broken off goes on behind the last whole segment.
    Raises LogForeignError for the archive of another log, LogUnavailableError when another process
    is at it or the disk is full.
    """
    Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    archive = Archive(folder, namespace=log.namespace)
    with archive.locked():
        check_belongs(log, archive)
        done = archive.end.seq
        written: list[Path] = []
        text_bytes = file_bytes = 0
        for commits in _batches(log, archive.end, until):
            segment, size = archive.append(commits)
            written.append(segment.path)
            text_bytes += size
            file_bytes += segment.path.stat().st_size
            if progress is not None:
                progress(segment.last, until.seq)
        events = archive.end.seq - done
        ends = [segment.end for segment in archive.segments if segment.last <= until.seq]
        last = max([log.start(), *ends], key=lambda end: end.seq)
    return ArchiveReport(written, events, text_bytes, file_bytes, last)


def delete_archived(
    log: EventLog,
    folder: str | os.PathLike[str],
    *,
    until: Head,
    now: int,
    progress: Progress | None = None,
) -> CutReport:
    """Cuts from the log what the archive holds up to ``until``, the end of a segment.

    First every event to be cut is read back from the disk, checked and folded; what the log must
    keep and a snapshot are written; only then the log is cut. Broken off anywhere, the log is
    whole, and the same call goes on. ``now`` in microseconds. Raises LogCorruptError, naming the
    file, when the archive is damaged, and ArgumentError where a follower has yet to read what would
    go: then nothing was deleted.
    """
    archive = Archive(folder, namespace=log.namespace)
    with archive.locked():
        check_belongs(log, archive)
        start = log.start()
        if until.seq <= start.seq:
            if start.seq:
                # What an earlier cut, broken off, has left behind.
                log.cut(start)
            return CutReport(0, 0, start)
        if (held := held_back(log, until)) is not None:
            expected = f"no further than {held.until.seq}, where follower {held.follower} is"
            raise ArgumentError("until", until.seq, expected)
        keeper = _Keeper(log, archive, start)
        for commit in archive.verified(after=start.seq, until=until.seq):
            keeper.fold(commit)
            if progress is not None:
                progress(commit.last, until.seq)
        kept = keeper.finish(until, now)
        log.cut(until)
    return CutReport(until.seq - start.seq, kept, until)


class _Keeper:
    """Folds what is to be cut, and has the log keep what it will need of it."""

    def __init__(self, log: EventLog, archive: Archive, start: Head) -> None:
        self._log = log
        self._ends = {segment.last for segment in archive.segments}
        at_start = Point(start.seq, start.at)
        self._whole = ArchivedLog(log, archive)
        self._projection = snapshot.projection_at(self._whole, at_start)
        self._projection.suspend_indexes()
        # The created events of tasks with a key, while these are open.
        self._created: dict[int, Event] = {}
        # Tasks with a key that came to their end since the last segment's end.
        self._final: dict[int, Task] = {}
        self._kept = 0

    def fold(self, commit: Commit) -> None:
        """Takes one more commit; at the end of a segment, what is final is written down."""
        after = self._projection.apply(commit)
        for seq in commit.keys.values():
            [body] = decode_at(seq, [commit.bodies[seq - commit.first]])
            self._created[seq] = Event(seq, commit.at, seq, body)
        for task in after:
            if task is not None and _may_have_key(task):
                if task.recorded_state in FINAL:
                    self._final[task.number] = task
                else:
                    self._final.pop(task.number, None)
        if commit.last in self._ends:
            self._keep(list(self._final.values()), commit.last)
            for number in self._final:
                self._created.pop(number, None)
            self._final.clear()

    def finish(self, until: Head, now: int) -> int:
        """Writes the open tasks and the snapshot; returns how many tasks are kept."""
        projection = self._projection
        if (projection.seq, projection.seal) != (until.seq, until.seal):
            raise LogCorruptError(projection.seq + 1, "the archive does not end where it must")
        self._keep([*projection.tasks.values(), *self._needed()], until.seq)
        projection.rebuild_indexes()
        taken = snapshot.take(projection)
        snapshot.put(self._log, taken, now=now)
        if snapshot.get(self._log, until.seq) != taken:
            raise LogCorruptError(until.seq, "its snapshot is not what was written")
        return self._kept

    def _needed(self) -> list[Task]:
        """The final tasks whose end, or result, an open one needs that comes after them."""
        tasks = self._projection.tasks
        numbers = {each.task for task in tasks.values() for each in task.after} - tasks.keys()
        found = (
            task_of(self._whole, number, until=self._projection.seq) for number in sorted(numbers)
        )
        return [task for task in found if task is not None]

    def _keep(self, tasks: list[Task], seq: int) -> None:
        for start in range(0, len(tasks), LOOKUP_TASKS):
            some = tasks[start : start + LOOKUP_TASKS]
            created = self._created_of(some)
            self._log.keep(
                [encode_kept(KeptTask(seq, task, created.get(task.number))) for task in some]
            )
            self._kept += len(some)

    def _created_of(self, tasks: list[Task]) -> dict[int, Event]:
        """Their created events: folded a moment ago, or kept by an earlier cut or segment."""
        keyed = [task.number for task in tasks if _may_have_key(task)]
        missing = [number for number in keyed if number not in self._created]
        kept = {number: decode_kept(row) for number, row in self._log.find_kept(missing).items()}
        found = {number: row.created for number, row in kept.items() if row.created is not None}
        # A flow need not have a key.
        made = {n: self._created[n] for n in keyed if n not in found and n in self._created}
        return found | made


def _may_have_key(task: Task) -> bool:
    """Whether a key may lead to it: its caller's, or that of the flow which begins with it."""
    return task.caller_key is not None or task.flow == task.number


def _batches(log: EventLog, after: Head, until: Head) -> Iterator[list[Commit]]:
    """The commits between the two, in batches of a segment each, with their seals checked."""
    batch: list[Commit] = []
    seq = after.seq
    for commit in read_sealed(log, after=after, until=until.seq):
        batch.append(commit)
        seq = commit.last
        if seq - batch[0].first + 1 >= SEGMENT_EVENTS:
            yield batch
            batch = []
    if seq < until.seq:
        raise LogCorruptError(until.seq, "no commit ends there any more")
    if batch:
        yield batch
