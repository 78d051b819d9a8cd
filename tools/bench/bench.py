"""What every measure is given: a directory, its sizes, and ways to take and compare samples."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import Struct

from tools.bench.reference import raw_rows_a_second
from tools.bench.report import Floor, Row
from tools.mongod import ReplicaSet

# A child that says nothing for so long has failed.
CHILD_PATIENCE_S = 120.0

# A child's side: it gets a connection, and then what it was given.
Role = Callable[..., None]


class Paired(Struct, frozen=True):
    """Samples of a base and of what is compared with it, taken in turns."""

    bases: list[float]
    others: list[float]

    def row(self, name: str, measure: str, *, unit: str, base: str, floor: Floor | None) -> Row:
        """The row for the ratio; each sample is held against the base right before and after."""
        ratios = [
            other / ((before + after) / 2)
            for other, (before, after) in zip(
                self.others, itertools.pairwise(self.bases), strict=True
            )
        ]
        return Row(
            name=name,
            measure=measure,
            measured=median(self.others),
            unit=unit,
            spread=(min(ratios), max(ratios)),
            base=base,
            ratio=median(ratios),
            floor=floor,
        )


class Bench:
    """One run: where its files lie, on which servers if any, and how long its measures may take."""

    def __init__(self, directory: Path, *, quick: bool, servers: ReplicaSet | None = None) -> None:
        self.directory = directory
        self.servers = servers
        self.quick = quick
        self._numbers = itertools.count(1)
        self._raw_rates: list[float] = []

    def pick(self, full: int, quick: int) -> int:
        """A size or a number of rounds."""
        return quick if self.quick else full

    def path(self) -> Path:
        """A path that no file has yet."""
        return self.directory / f"{next(self._numbers)}.db"

    def url(self) -> str:
        """The URL of a log that does not exist yet."""
        if self.servers is not None:
            return self.servers.url(f"bench{next(self._numbers)}")
        return f"sqlite:///{self.path()}"

    def raw_rate(self) -> float:
        """One sample of R."""
        path = self.path()
        rate = raw_rows_a_second(path, self.pick(200_000, 20_000))
        path.unlink()
        self._raw_rates.append(rate)
        return rate

    @property
    def raw_rate_seen(self) -> float | None:
        """The median of all samples of R; None before the first."""
        return median(self._raw_rates) if self._raw_rates else None

    def pair(self, base: Callable[[], float], other: Callable[[], float], rounds: int) -> Paired:
        """Samples in turns, the base first and last: a slow moment of the machine hits both."""
        bases, others = [_sample(base)], []
        for _ in range(rounds):
            others.append(_sample(other))
            bases.append(_sample(base))
        return Paired(bases, others)


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


def _sample(take: Callable[[], float]) -> float:
    # What earlier samples left behind is not this one's to clear away.
    gc.collect()
    return take()
