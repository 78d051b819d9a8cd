"""What every measure is given: a directory, its sizes, and ways to take and compare samples."""

from __future__ import annotations

import gc
import itertools
import math
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from msgspec import Struct

from tools.bench.reference import raw_rows_a_second
from tools.bench.report import Figure, Floor

# A child that says nothing for so long has failed.
CHILD_PATIENCE_S = 300.0

# A child's side: it gets a connection, and then what it was given.
Role = Callable[..., None]
T = TypeVar("T")


class Skipped(Exception):  # noqa: N818 - it is no error
    """The measure cannot be taken on this machine; the message says what it needs."""


class Pace(Struct, frozen=True):
    """How many calls a second, and what each cost all threads of the process."""

    a_second: float
    cpu_us: float


class Bench:
    """One sample: where its files lie, on which servers if any, and how long it may take.

    ``servers`` is the URL of a MongoDB replica set, with ``{}`` in place of the database.
    """

    def __init__(self, directory: Path, *, quick: bool, servers: str | None = None) -> None:
        self.directory = directory
        self.servers = servers
        self.quick = quick
        self._numbers = itertools.count(1)

    def pick(self, full: int, quick: int) -> int:
        """A size or a number of rounds."""
        return quick if self.quick else full

    def path(self) -> Path:
        """A path that no file has yet."""
        return self.directory / f"{next(self._numbers)}.db"

    def url(self) -> str:
        """The URL of a log that does not exist yet."""
        if self.servers is not None:
            return self.servers.format(f"bench{next(self._numbers)}")
        return f"sqlite:///{self.path()}"

    def raw_rate(self) -> float:
        """One sample of R."""
        path = self.path()
        rate = raw_rows_a_second(path, self.pick(200_000, 20_000))
        path.unlink()
        return rate

    def against_raw(
        self, measure: str, rate: Callable[[], float], floor: Floor | None
    ) -> Iterator[Figure]:
        """A rate, and the same in R, which is measured before and after it."""
        bases, others = in_turns(self.raw_rate, rate, 1)
        yield Figure(measure, others[0], "tasks/s")
        yield Figure(measure, held_against(bases, others), "R", floor)


def in_turns(base: Callable[[], T], other: Callable[[], T], rounds: int) -> tuple[list[T], list[T]]:
    """Samples in turns, the base first and last: a slow moment of the machine hits both."""
    bases, others = [_sample(base)], []
    for _ in range(rounds):
        others.append(_sample(other))
        bases.append(_sample(base))
    return bases, others


def held_against(bases: Sequence[float], others: Sequence[float]) -> float:
    """The median ratio, each sample being held against the base right before and after."""
    pairs = zip(others, itertools.pairwise(bases), strict=True)
    return median(other / ((before + after) / 2) for other, (before, after) in pairs)


def paced(call: Callable[[], object], seconds: float) -> Pace:
    """Calls for about so long."""
    count, cpu_s = 0, used_cpu_s()
    began_s = now_s = time.perf_counter()
    while now_s - began_s < seconds:
        call()
        count += 1
        now_s = time.perf_counter()
    return Pace(count / (now_s - began_s), 1e6 * (used_cpu_s() - cpu_s) / count)


def used_cpu_s() -> float:
    """CPU time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values does not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


@contextmanager
def children(role: Role, arguments: list[tuple[Any, ...]]) -> Iterator[list[Connection]]:
    """Processes in this role, one for each tuple of arguments, all ready; ended with the block."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in arguments]
    processes = [
        context.Process(target=role, args=(theirs, *given), daemon=True)
        for (_, theirs), given in zip(pipes, arguments, strict=True)
    ]
    for process in processes:
        process.start()
    ours = [mine for mine, _ in pipes]
    try:
        for connection in ours:
            assert heard(connection) == "ready", "a child first says that it is ready"
        yield ours
        for process in processes:
            process.join(CHILD_PATIENCE_S)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def heard(connection: Connection) -> Any:  # noqa: ANN401 - what the child's role sends
    """The next thing a child says. Raises RuntimeError when it stays silent or has died."""
    try:
        if connection.poll(CHILD_PATIENCE_S):
            return connection.recv()
    except EOFError:
        pass
    raise RuntimeError("a child process died or hung; its own error stands above")


def _sample(take: Callable[[], T]) -> T:
    # What earlier samples left behind is not this one's to clear away.
    gc.collect()
    return take()
