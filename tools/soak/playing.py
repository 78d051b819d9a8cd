"""One round: four processes work through many tasks, and are measured all the while."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw

import eventq
from eventq.archive import archive_events, delete_archived, find_end
from eventq.eventlog import open_log
from eventq.host.clock import SystemClock
from eventq.replay.points import Point, find_point
from eventq.snapshot import projection_at
from eventq.verify import base_at_start, verify
from tools.folders import own_folder
from tools.rounds import MOST
from tools.soak.measuring import KIB, LEAST_SAMPLES, MIB, Sample, grown, judge, sample
from tools.soak.worker import ARCHIVE, MADE, open_queue

TASKS_A_ROUND = 250_000
PROCESSES = 4
LOG = "tasks.db"
WORKER = "tools.soak.worker"
# Between two looks, in seconds; what is done so often, in looks.
LOOK_S = 0.25
RESTART, CUT, READ = 40, 12, 32
# Somebody reads for so many looks, and nothing can be moved from the WAL meanwhile.
STUCK = 6
# So many looks later the WAL has been begun anew.
SETTLED = 8
# Each round has all of that, and enough to measure.
LEAST_LOOKS = 32
# So many events stay in the log.
KEPT_EVENTS = 500
# Without a reader, and a while after one: eventq keeps no more of a WAL. In bytes.
MOST_WAL = 16 * MIB
MOST_LAG_EVENTS = 20_000
# A process that is told to end has ended by then, on a busy machine.
STOP_S = 60.0
PATIENCE_S = 120.0


def play(
    _number: int,
    *,
    tasks: int = TASKS_A_ROUND,
    minutes: float | None = None,
    looks: int = LEAST_LOOKS,
    worker: str = WORKER,
) -> Counter[str]:
    """What came of one round, which ends after so many tasks and ``looks``, or minutes.

    Raises AssertionError where anything grows, is lost, or lags behind.
    """
    with own_folder("eventq-soak") as folder:
        for name in (MADE, ARCHIVE):
            (folder / name).mkdir()
        with Soak(folder, worker) as soak:
            soak.go_on(tasks, looks, None if minutes is None else minutes * 60)
            soak.end()
            findings = soak.findings()
    assert not findings, f"{'; '.join(findings)}; {soak.measured()}"
    return Counter({**soak.outcomes, **soak.measured()})


class Soak:
    """Four processes, all but one of which live as long as the round, and what is known of them."""

    def __init__(self, folder: Path, worker: str) -> None:
        self.outcomes: Counter[str] = Counter()
        self._folder = folder
        self._path = folder / LOG
        self._url = f"sqlite:///{self._path}"
        self._command = [sys.executable, "-m", worker, self._url, str(folder), str(os.getpid())]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._samples: list[list[Sample]] = [[] for _ in range(PROCESSES - 1)]
        self._wal: list[int] = []
        self._wal_beside_reader = 0
        self._lag_events: list[int] = []
        self._reader: apsw.Connection | None = None
        self._found: list[str] = []
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        """Starts all."""
        self._processes = [self._start() for _ in range(PROCESSES)]
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Ends what is left."""
        self._leave()
        for process in self._processes:
            process.kill()
            process.wait()

    def go_on(self, tasks: int, least_looks: int, seconds: float | None) -> None:
        """Looks again and again, until there was all of that or the time is over."""
        looks = 0
        with eventq.Queue(self._url, archive=self._folder / ARCHIVE) as queue:
            while (total := queue.stats().total) < tasks or looks < least_looks:
                passed_s = time.monotonic() - self._started_s
                if seconds is not None and passed_s > seconds:
                    break
                assert total or passed_s < PATIENCE_S, "no process makes a task"
                time.sleep(LOOK_S)
                if total:
                    looks += 1
                    self._look(queue, looks)

    def end(self) -> None:
        """All are told to end, what is left is done, and the log judged."""
        self._leave()
        for process in self._processes:
            self._stop(process)
        self._processes.clear()
        with open_queue(self._url, self._folder) as queue:
            queue.run(until="idle")
            self._cut(queue)
            stats = queue.stats()
            told = sum(int(path.read_text()) for path in (self._folder / MADE).iterdir())
            if told != stats.total:
                self._found.append(f"{told} tasks were told of, {stats.total} are there")
            if stats.open:
                self._found.append(f"{stats.open} tasks do not end")
            verdict = verify(queue.log, base=base_at_start(queue.log))
            self._found += [str(finding) for finding in verdict.findings]
            self.outcomes.update(tasks=stats.total, attempts=stats.attempts, events=stats.seq)
            self.outcomes.update(completed=stats.completed, cancelled=stats.cancelled)
            self.outcomes["given up"] = stats.expired

    def findings(self) -> list[str]:
        """What is wrong."""
        found = self._found.copy()
        for number, samples in enumerate(self._samples):
            found += judge(f"process {number}", samples)
        if max(self._wal, default=0) > MOST_WAL:
            found.append(f"the WAL comes to {max(self._wal) / MIB:.1f} MiB without a reader")
        if max(self._lag_events, default=0) > MOST_LAG_EVENTS:
            found.append(f"a follower is {max(self._lag_events)} events behind")
        return found

    def measured(self) -> Counter[str]:
        """The highest that was measured of any process, the WAL and the followers."""
        lasting = [samples for samples in self._samples if len(samples) >= LEAST_SAMPLES]
        every = [each for samples in lasting for each in samples]
        gained = [int(grown([each.memory_bytes for each in samples])) for samples in lasting]
        highest = {
            "KiB of memory": max((each.memory_bytes for each in every), default=0) // KIB,
            "KiB of memory gained": max(gained, default=0) // KIB,
            "threads": max((each.threads for each in every), default=0),
            "open files": max((each.files for each in every), default=0),
            "KiB of WAL": max(self._wal, default=0) // KIB,
            "KiB of WAL beside a reader": self._wal_beside_reader // KIB,
            "events that a follower was behind": max(self._lag_events, default=0),
        }
        return Counter({f"{MOST}{name}": value for name, value in highest.items()})

    def _look(self, queue: eventq.Queue, looks: int) -> None:
        """Measures, and does what is to be done so often."""
        self._measure(queue, looks)
        if looks % RESTART == RESTART // 2:
            self._stop(self._processes.pop())
            self._processes.append(self._start())
            self.outcomes["restarts"] += 1
        if looks % CUT == 0:
            self._cut(queue)
        if looks % READ == READ // 2:
            self._stick()
        elif looks % READ == READ // 2 + STUCK:
            self._leave()

    def _measure(self, queue: eventq.Queue, looks: int) -> None:
        """Samples the processes that last, the WAL and the followers."""
        for process, samples in zip(self._processes, self._samples, strict=False):
            if process.poll() is not None:
                self._found.append(f"a process ended by itself with {process.returncode}")
            elif (found := sample(process.pid)) is not None:
                samples.append(found)
        size = self._path.with_name(f"{LOG}-wal").stat().st_size
        if READ // 2 < looks % READ <= READ // 2 + STUCK + SETTLED:
            self._wal_beside_reader = max(self._wal_beside_reader, size)
        else:
            self._wal.append(size)
        self._lag_events.append(max((each.lag_events for each in queue.followers()), default=0))

    def _cut(self, queue: eventq.Queue) -> None:
        """Moves all but the newest events into the archive."""
        log, now = queue.log, SystemClock().now_us()
        seq = log.head().seq - KEPT_EVENTS
        if seq <= log.start().seq:
            return
        # What a follower has yet to read stays, and is cut next time.
        with suppress(eventq.ArgumentError):
            until = find_end(log, find_point(log, str(seq), now=now))
            report = archive_events(log, self._folder / ARCHIVE, until=until)
            open_then = projection_at(log, Point(report.until.seq, report.until.at)).tasks
            tasks = {task.key: task.number for task in open_then.values()}
            delete_archived(log, self._folder / ARCHIVE, until=report.until, now=now)
            self.outcomes["archives"] += 1
            self._found += find_forgotten(self._url, tasks)

    def _stick(self) -> None:
        """Begins to read the file, and does not end."""
        self._reader = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        self._reader.execute("BEGIN; SELECT count(*) FROM namespaces").fetchall()
        self.outcomes["stuck readers"] += 1

    def _leave(self) -> None:
        if self._reader is not None:
            with closing(self._reader):
                self._reader.execute("COMMIT")
            self._reader = None

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command)

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        code = process.wait(STOP_S)
        if code:
            self._found.append(f"a process that was told to end ended with {code}")


def find_forgotten(url: str, tasks: dict[str, int]) -> list[str]:
    """The keys of these tasks, open at a cut, that the log does not know without its archive."""
    with closing(open_log(url, create=False)) as log:
        known = log.find_keys(list(tasks))
    lost = [key for key, number in tasks.items() if known.get(key) != number]
    return [f"the task {key} was open, and is cut off" for key in lost]
