"""The catalog of one log: opened, proved to belong to it, and brought up to date.

It is made of the log alone, so that it may be deleted at any time. Nothing here changes the log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from eventq.catalog.belonging import check_own, open_own
from eventq.catalog.counting import Counting
from eventq.catalog.counts import (
    AskedChange,
    EndedAttempt,
    ErrorGroup,
    Span,
    SpanCounts,
    WholeMinutes,
)
from eventq.catalog.filling import Filling, Progress
from eventq.catalog.orders import GroupBy, Order
from eventq.catalog.place import catalog_path, prepare_folder
from eventq.catalog.queries import TaskQueries
from eventq.catalog.record import TaskRecord
from eventq.catalog.selector import Selector
from eventq.catalog.store import StaleError, Store, delete, discard, translated
from eventq.core.task import TaskState, instant
from eventq.errors import CatalogError, LogArchivedError, LogUnavailableError
from eventq.eventlog import EventLog
from eventq.eventlog.file_lock import FileLock
from eventq.host.logger import SafeLogger
from eventq.replay.points import Point

# Behind all instants and positions.
LAST_US = LAST_SEQ = 2**62
# How many events are folded before they are written: while a new one is filled, and later.
FILLING_BLOCK, FOLLOWING_BLOCK = 200_000, 20_000

T = TypeVar("T")

logger = SafeLogger("eventq.catalog")


class CatalogInfo(Struct, frozen=True):
    """A catalog in numbers."""

    path: str
    seq: int
    """It holds all up to this position."""
    at: datetime | None
    """The instant of the last event that it holds; None without any."""
    behind: int
    """How many events the log has beyond that."""
    begins: int
    """The log held nothing up to this position when the catalog was made; 0: it held all."""
    tasks: int
    size_bytes: int


class Catalog:
    """A log's catalog. One thread at a time; close it before the process forks."""

    def __init__(self, log: EventLog, path: str, store: Store | None, rebuilt: str | None) -> None:
        self.log = log
        self.path = path
        self.rebuilt = rebuilt
        """Why an earlier file is to be made anew; None where it is not."""
        self._store = store
        self._filling: Filling | None = None
        self._queries: tuple[Store, TaskQueries, int] | None = None

    @classmethod
    def open(cls, log: EventLog, path: str | os.PathLike[str] | None = None) -> Catalog:
        """The catalog of the log, at its usual place or at ``path``; `catch_up` fills it.

        A file that is damaged, of an older eventq, or of another log is to be made anew, and
        ``rebuilt`` says why. Raises CatalogTooNewError, CatalogError, ArgumentError and LogError.
        """
        found = catalog_path(log, path)
        if not os.path.lexists(found):
            return cls(log, found, None, None)
        try:
            return cls(log, found, open_own(log, found), None)
        except StaleError as reason:
            return cls(log, found, None, reason.problem)

    @property
    def store(self) -> Store:
        """The file. Raises CatalogError where there is none yet."""
        if self._store is None:
            raise CatalogError(self.path, "it has not been built")
        return self._store

    @property
    def is_there(self) -> bool:
        """Whether there is a file that can be asked."""
        return self._store is not None

    @property
    def seq(self) -> int:
        """The position up to which it holds everything; 0 before it is built."""
        return 0 if self._store is None else int(self._store.about["seq"])

    @property
    def at(self) -> int:
        """The instant of that position, in microseconds."""
        return int(self.store.about["at"])

    @property
    def base(self) -> int:
        """The instant that those in the file count from."""
        return int(self.store.about["base"])

    @property
    def begins(self) -> int:
        """The log held nothing up to this position when the catalog was made."""
        return int(self.store.about["begins"])

    def catch_up(self, progress: Progress | None = None, *, waits: bool = True) -> bool:
        """Brings it up to the log's present end; makes it, if need be.

        Where another process does so already, it is waited for, or else, unless it ``waits``, the
        answer is False. Raises CatalogError, as where the disk is full, and LogError.
        """
        busy = None if waits else "another process fills this catalog"
        try:
            prepare_folder(self.path)
            with FileLock(f"{self.path}-lock", lambda: None, busy=busy):
                self._look_again()
                if self._store is None:
                    self._fill(progress)
                else:
                    self._follow(self._store, progress)
        except LogUnavailableError as error:
            if not waits and str(error) == busy:
                return False
            raise
        except OSError as error:
            raise CatalogError(self.path, error.strerror or str(error)) from error
        return True

    def find(
        self,
        selector: Selector,
        at: Point | None = None,
        *,
        order: Order = "number",
        limit: int | None = None,
        after: int | None = None,
    ) -> list[TaskRecord]:
        """The tasks that are meant, as they were at a point; None: where the catalog ends.

        ``after`` is the number (or, ordered by the last event, its position) to go on behind.
        Raises CatalogError for a point behind the catalog, LogArchivedError for one before it.
        """
        return self._answer(
            lambda queries, point: queries.find(
                selector, point, order=order, limit=limit, after=after
            ),
            at,
        )

    def numbers(self, selector: Selector, at: Point | None = None) -> list[tuple[int, int]]:
        """The tasks that are meant, with the position of the last event of each; see `find`."""
        return self._answer(lambda queries, point: queries.numbers(selector, point), at)

    def count(self, selector: Selector, at: Point | None = None) -> int:
        """How many tasks are meant; see `find`."""
        return self._answer(lambda queries, point: queries.count(selector, point), at)

    def tasks_once(self, selector: Selector, at: Point | None = None) -> set[int]:
        """The tasks that at some position were as a selector has it; see `TaskQueries`."""
        return self._answer(lambda queries, point: queries.tasks_once(selector, point), at)

    def secret_names(self) -> frozenset[str]:
        """Names of tags that are secret of any task."""
        return self._answer(lambda queries, _: queries.secret_names(), None)

    def grouped(
        self, selector: Selector, by: GroupBy, at: Point | None = None
    ) -> dict[str | int, int]:
        """How many tasks are meant, by what they share; see `TaskQueries.grouped`."""
        return self._answer(lambda queries, point: queries.grouped(selector, point, by), at)

    def minutes(
        self, since: int, until: int, *, by: Span = "minute", name: str | None = None
    ) -> list[SpanCounts]:
        """Counts and times of each minute or hour between two instants, in microseconds.

        Those in which something happened, with a ``name`` or with any; oldest first.
        """
        return self._counted(lambda counting, _: counting.minutes(since, until, by, name), None)

    def passed(self, at: Point, since: int, *, by: Span = "minute") -> WholeMinutes:
        """Counts and times of the minutes that had passed at a point, from an instant on."""
        return self._counted(lambda counting, point: counting.passed(point, since, by), at)

    def oldest_ready(self, at: Point) -> int | None:
        """For how long, in microseconds, the oldest ready task had been ready at a point."""
        return self._counted(lambda counting, point: counting.oldest_ready(point), at)

    def last_before(self, instant_us: int) -> int:
        """The last position in the minutes before an instant; 0 without one."""
        return self._counted(lambda counting, _: counting.last_before(instant_us), None)

    def errors(
        self,
        at: Point | None = None,
        *,
        since: int = 0,
        until: int = LAST_US,
        limit: int = 100,
        lanes: Collection[str] | None = None,
    ) -> list[ErrorGroup]:
        """Failures up to a point by type and place in the traceback, the most frequent first.

        Of tasks of some ``lanes`` alone, or of all.
        """
        return self._counted(
            lambda counting, point: counting.errors(point, since, until, limit, lanes), at
        )

    def attempts(
        self,
        at: Point | None = None,
        *,
        node: str | None = None,
        became: TaskState | None = None,
        limit: int = 100,
    ) -> list[EndedAttempt]:
        """Attempts that were over at a point, the last that ended first.

        Only those of a ``node``, or after which the task ``became`` this: completed, failed,
        cancelled, or scheduled where it was given back.
        """
        return self._counted(
            lambda counting, point: counting.attempts(point, node=node, became=became, limit=limit),
            at,
        )

    def changes(
        self,
        *,
        by: str | None = None,
        bulk: int | None = None,
        task: int | None = None,
        ways: Iterable[str] | None = None,
        parts: bool = True,
        before: int = LAST_SEQ,
        limit: int = 100,
    ) -> list[AskedChange]:
        """What people and programs have asked for before a position, the last first.

        By some ``ways`` (`Via`), or by any; without ``parts``, a change to many is one change.
        """
        return self._counted(
            lambda counting, _: counting.changes(
                by=by, bulk=bulk, task=task, ways=ways, parts=parts, before=before, limit=limit
            ),
            None,
        )

    def undone(self, seqs: Iterable[int], until: int) -> dict[int, int]:
        """Which of these changes were taken back up to a position, and by which event."""
        return self._counted(lambda counting, _: counting.undone(seqs, until), None)

    def parts(self, bulk: int, until: int) -> int:
        """How many tasks a change to many had changed up to a position."""
        return self._counted(lambda counting, _: counting.parts(bulk, until), None)

    def refresh(self) -> None:
        """Sees what another process has added to the file since."""
        self.store.refresh()

    def info(self) -> CatalogInfo:
        """What the catalog holds. Raises CatalogError where there is none."""
        store, seq = self.store, self.seq
        [(tasks,)] = store.rows("SELECT count(*) FROM tasks")
        files = [Path(f"{self.path}{end}") for end in ("", "-wal")]
        size_bytes = sum(file.stat().st_size for file in files if file.exists())
        return CatalogInfo(
            self.path,
            seq,
            instant(self.at) if seq else None,
            max(0, self.log.head().seq - seq),
            self.begins,
            tasks,
            size_bytes,
        )

    def drop(self) -> bool:
        """Deletes it; returns whether there was one."""
        self.close()
        self._store = None
        return delete(self.path)

    def drop_useless(self) -> None:
        """Deletes a file that would have to be made anew, unless another process does that."""
        with suppress(OSError, LogUnavailableError):
            busy = "another process fills this catalog"
            with FileLock(f"{self.path}-lock", lambda: None, busy=busy):
                self._look_again()
                if self._store is None and self.rebuilt is not None:
                    said = {"path": self.path, "reason": self.rebuilt}
                    logger.warning("a catalog is dropped: build it anew", extra=said)
                    discard(self.path)

    def close(self) -> None:
        """Gives up what it holds; may be called twice."""
        if self._store is not None:
            self._store.close()

    def _answer(self, question: Callable[[TaskQueries, Point], T], at: Point | None) -> T:
        """The answer; where the file turns out to be damaged, that of one made anew."""
        try:
            with translated(self.path):
                return question(*self._queries_at(at))
        except StaleError as reason:
            self._restart(reason.problem)
            self.catch_up()
            return question(*self._queries_at(at))

    def _counted(self, question: Callable[[Counting, Point], T], at: Point | None) -> T:
        """The answer to a question for numbers; see `_answer`."""
        return self._answer(
            lambda queries, point: question(Counting(self.store, queries, base=self.base), point),
            at,
        )

    def _queries_at(self, at: Point | None) -> tuple[TaskQueries, Point]:
        """Who is to be asked, and at which point."""
        store = self.store
        point = Point(self.seq, self.at) if at is None else at
        if point.seq > self.seq:
            raise CatalogError(self.path, f"it ends at {self.seq}, before position {point.seq}")
        if point.seq < self.begins:
            raise LogArchivedError(point.seq, self.begins)
        kept = self._queries
        if kept is None or kept[0] is not store or kept[2] != self.seq:
            queries = TaskQueries(store, base=self.base, end=self.seq)
            self._queries = kept = store, queries, self.seq
        return kept[1], point

    def _look_again(self) -> None:
        """Takes over what another process has done since this one looked."""
        if self._store is None:
            with suppress(StaleError):
                if os.path.lexists(self.path):
                    self._store, self._filling = open_own(self.log, self.path), None
            return
        try:
            before = self.seq
            self._store.refresh()
            if self.seq == before:
                return
            self._filling = None
        except StaleError as reason:
            self._restart(reason.problem)

    def _restart(self, reason: str) -> None:
        """This file is to be made anew."""
        self.close()
        self._store, self._filling, self.rebuilt = None, None, reason
        # Or it would be taken for one that another process has made meanwhile.
        discard(self.path)

    def _fill(self, progress: Progress | None) -> None:
        """Makes a new catalog, in a file that gets its name when it is whole."""
        if self.rebuilt is not None:
            said = {"path": self.path, "reason": self.rebuilt}
            logger.warning("a catalog is made anew", extra=said)
        begin = self.log.start()
        about = {
            "namespace": self.log.namespace,
            "base": begin.at,
            "begins": begin.seq,
            "seq": begin.seq,
            "at": begin.at,
            "seal": begin.seal,
        }
        store = Store.make(self.path, about)
        try:
            Filling.begin(self.log, store, begin).go_on(progress, FILLING_BLOCK)
            store.finish(self.path)
        except BaseException:
            store.discard()
            raise
        store.refresh()
        self._store, self._filling = store, None

    def _follow(self, store: Store, progress: Progress | None) -> None:
        """Goes on from where the catalog has come to, if the log still is what it was."""
        try:
            head = self.log.head()
            if (head.seq, head.seal) == (self.seq, bytes(store.about["seal"])):
                return
            check_own(self.log, store)
            if self._filling is None or not self._filling.has_base:
                self._filling = Filling.resume(self.log, store)
            self._filling.go_on(progress, FOLLOWING_BLOCK)
        except StaleError as reason:
            self._restart(reason.problem)
            self._fill(progress)
        except LogArchivedError:
            self._restart("the log has been cut behind it")
            self._fill(progress)
        except BaseException:
            # What it has folded and not written is lost with it.
            self._filling = None
            raise
