"""The past of a log: one fold at a time, in one thread; others wait, and who has gone is dropped.

Pages of the past never change, so the last ones are kept. Nothing here touches the present.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from msgspec import Struct

from eventq.audit.stepper.cursor import Cursor
from eventq.core.projection import Projection
from eventq.eventlog.contract import EventLog, SnapshotEntry, Snapshots
from eventq.replay.fold import catch_up
from eventq.replay.points import Point, find_end
from eventq.snapshot import projection_at, take
from eventq.snapshot.codec import encode
from eventq.web.cache import read_log
from eventq.web.kept_catalog import KeptCatalog
from eventq.web.sight import Memory, Sight

# Where no snapshot is nearer, one is made on the way.
STRETCH_EVENTS = 100_000
# A page that is not asked for again for so long is folded for nobody.
PATIENCE_S = 5.0
PAGES_KEPT = 200
MOST_WAITING = 50


class AbandonedError(Exception):
    """Nobody waits for this fold any more."""


class BusyError(Exception):
    """So many wait for the past that one more would wait too long."""


class FoldProgress(Struct, frozen=True):
    """How far a fold has come: the position reached, and where it is to end; or that it waits."""

    seq: int
    until: int
    waits: bool

    @property
    def share(self) -> int:
        """In per cent."""
        return 0 if self.waits or not self.until else min(99, 100 * self.seq // self.until)


class Job:
    """One page of the past in the making."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.until = point.seq
        self.seq = 0
        self.asked_s = time.monotonic()
        self.has_begun = False
        self.future: Future[Any] = Future()

    @property
    def progress(self) -> FoldProgress:
        """How far it has come."""
        return FoldProgress(self.seq, self.until, not self.has_begun)


class PastFolds:
    """A log's past, for any number of askers. All methods may be called from any thread."""

    def __init__(
        self,
        log: EventLog,
        snapshots: Snapshots,
        *,
        now: Callable[[], int],
        catalog: KeptCatalog | None = None,
    ) -> None:
        self._now = now
        self._catalog = catalog
        self._snapshots = snapshots
        self.log = read_log(log, snapshots, self._told)
        self._memory = Memory()
        self._cursor: Cursor | None = None
        self._current: Job | None = None
        self._lock = threading.Lock()
        self._jobs: dict[Hashable, Job] = {}
        self._kept: OrderedDict[Hashable, tuple[Any, float | None]] = OrderedDict()
        self._worker = ThreadPoolExecutor(1, "eventq-console-past")

    def ask(self, key: Hashable, point: Point, tell: Callable[[Sight], Any], *, keeps: bool) -> Job:
        """What ``tell`` says of a point: known already, begun, or in line.

        Ask again, with an equal key, before `PATIENCE_S` has passed: else it is given up. With
        ``keeps`` the key stands for the point as well, and what was said once is said again.
        Raises BusyError.
        """
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and not job.future.cancelled():
                job.asked_s = time.monotonic()
                return job
            job = Job(point)
            known = self._known(key)
            if known is not None:
                job.future.set_result(known[0])
                return job
            if len(self._jobs) >= MOST_WAITING:
                raise BusyError
            self._jobs[key] = job
            job.future = self._worker.submit(partial(self._make, key, job, tell, keeps=keeps))
        return job

    def _known(self, key: Hashable) -> tuple[Any] | None:
        """What was said before, if it still holds."""
        found = self._kept.get(key)
        if found is None:
            return None
        value, until_s = found
        if until_s is None:
            self._kept.move_to_end(key)
            return (value,)
        # Said of the present, for who has waited for it; once.
        del self._kept[key]
        return (value,) if time.monotonic() < until_s else None

    def taken(self, key: Hashable) -> None:
        """Who asked for the present has been answered: who asks next wants it anew."""
        with self._lock:
            self._kept.pop(key, None)

    def stay(self, key: Hashable) -> None:
        """Who asked still waits."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None:
                job.asked_s = time.monotonic()

    def leave(self, key: Hashable) -> None:
        """Who asked has gone."""
        with self._lock:
            job = self._jobs.get(key)
            if job is not None:
                job.asked_s = -PATIENCE_S

    def close(self) -> None:
        """Gives up what is in the making, and waits until it is."""
        with self._lock:
            for job in self._jobs.values():
                job.asked_s = -PATIENCE_S
        self._worker.shutdown(cancel_futures=True)

    def _make(self, key: Hashable, job: Job, tell: Callable[[Sight], Any], *, keeps: bool) -> Any:  # noqa: ANN401 - what it tells
        self._current, job.has_begun = job, True
        try:
            self._check_wanted(job)
            found = tell(self._sight(job.point))
            with self._lock:
                until_s = None if keeps else time.monotonic() + PATIENCE_S
                self._kept[key] = found, until_s
                while len(self._kept) > PAGES_KEPT:
                    self._kept.popitem(last=False)
            return found
        finally:
            self._current = None
            with self._lock:
                self._jobs.pop(key, None)

    def _sight(self, point: Point) -> Sight:
        """The queue at a point; the fold comes with the first look."""

        @contextmanager
        def look() -> Iterator[tuple[Projection, int]]:
            projection = self._fold(point.seq)
            # A page may have looked at it as of another instant.
            projection.advance_to(point.at)
            yield projection, point.at

        return Sight(self.log, look, point=point, memory=self._memory, catalog=self._catalog)

    def _fold(self, seq: int) -> Projection:
        """The projection at a position, by the one cursor that there is."""
        cursor = self._cursor
        if cursor is None:
            cursor = self._cursor = Cursor(self.log, now=self._now())
        cursor.now = self._now()
        if cursor.seq != seq:
            try:
                if not cursor.is_near(seq - cursor.seq):
                    self._lay_snapshots(seq)
                cursor.jump(seq)
            except BaseException:
                # Where it stands now, nobody needs to know.
                self._cursor = None
                raise
        return cursor.projection

    def _lay_snapshots(self, seq: int) -> None:
        """Makes snapshots on the way to a position that is far from any."""
        known = [entry.seq for entry in self._snapshots.entries() if entry.seq <= seq]
        begin = max([*known, self.log.start().seq])
        projection: Projection | None = None
        for wanted in range(begin + STRETCH_EVENTS, seq + 1, STRETCH_EVENTS):
            end = find_end(self.log, Point(wanted, 0)).seq
            if projection is None:
                projection = projection_at(self.log, Point(end, 0))
            elif end > projection.seq:
                catch_up(projection, self.log, until=end)
            data = encode(take(projection))
            entry = SnapshotEntry(
                projection.seq, projection.at, projection.seal, self._now(), len(data)
            )
            self._snapshots.put(entry, data)

    def _told(self, after: int) -> None:
        """The log is read from a position on, by whoever."""
        job = self._current
        if job is not None:
            job.seq = min(after, job.until)
            self._check_wanted(job)

    def _check_wanted(self, job: Job) -> None:
        if time.monotonic() - job.asked_s > PATIENCE_S:
            # What cleans up behind this may read.
            self._current = None
            raise AbandonedError
