"""Rows 1 to 4: how fast one process creates and drains tasks, against the bare driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench
from tools.bench.reference import RawLoneCommits, raw_table
from tools.bench.report import Floor, Row

BATCH = 1_000
THREADS = 16


def new_many(bench: Bench) -> Iterator[Row]:
    """Batches of 1,000: by a process that only produces, and by one that has read the queue."""
    for loaded in (False, True):
        sample = partial(_fill, bench, loaded=loaded)
        pair = bench.pair(bench.raw_rate, sample, bench.pick(7, 1))
        measure = "new_many, 1,000 a batch" + (", projection loaded" if loaded else "")
        floor = None if loaded else Floor(0.2)
        yield pair.row("new_many", measure, unit="tasks/s", base="R", floor=floor)


def drain(bench: Bench) -> Iterator[Row]:
    """``run(until="idle")`` of no-op ``def`` tasks."""
    pair = bench.pair(bench.raw_rate, lambda: _drain(bench), bench.pick(7, 1))
    yield pair.row("drain", "drain of no-op tasks", unit="tasks/s", base="R", floor=Floor(0.08))


def lone(bench: Bench) -> Iterator[Row]:
    """``new()`` in one thread, against commits of one event row and nothing else."""
    seconds = bench.pick(50, 10) / 100
    with raw_table(bench.path()) as connection, Queue(bench.url()) as queue:
        raw = RawLoneCommits(connection)
        pair = bench.pair(
            lambda: raw.a_second(seconds),
            lambda: _create(queue, threads=1, seconds=seconds),
            bench.pick(11, 2),
        )
    yield pair.row("lone", "lone new()", unit="tasks/s", base="raw", floor=Floor(0.6))


def threads(bench: Bench) -> Iterator[Row]:
    """``new()`` from 16 threads together, against one thread."""
    seconds = bench.pick(50, 10) / 100
    with Queue(bench.url()) as queue:
        pair = bench.pair(
            lambda: _create(queue, threads=1, seconds=seconds),
            lambda: _create(queue, threads=THREADS, seconds=seconds),
            bench.pick(11, 2),
        )
    measure = f"new() from {THREADS} threads"
    yield pair.row("threads", measure, unit="tasks/s", base="lone", floor=Floor(5))


def three_tags(number: int) -> dict[str, str]:
    """Three short tags."""
    return {"path": f"images/{number:05}.png", "width": "640", "user": f"u-{number % 100}"}


def fill(queue: Queue, count: int) -> float:
    """Creates tasks in batches; gives how many a second. Their tags are made before."""
    tags = [three_tags(number) for number in range(count)]
    began_s = time.perf_counter()
    for start in range(0, count, BATCH):
        queue.new_many(tags[start : start + BATCH])
    return count / (time.perf_counter() - began_s)


def no_op(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    """A worker that does nothing."""


def _fill(bench: Bench, *, loaded: bool) -> float:
    path = bench.path()
    with Queue(f"sqlite:///{path}") as queue:
        if loaded:
            queue.stats()
        rate = fill(queue, bench.pick(200_000, 10_000))
    path.unlink()
    return rate


def _drain(bench: Bench) -> float:
    path, count = bench.path(), bench.pick(50_000, 5_000)
    with Queue(f"sqlite:///{path}") as queue:
        fill(queue, count)
        # The fold of what is there is row 7's business.
        queue.stats()
        began_s = time.perf_counter()
        report = queue.run(no_op, until="idle")
        took_s = time.perf_counter() - began_s
    assert report.completed == count, "every task is completed once"
    path.unlink()
    return count / took_s


def _create(queue: Queue, *, threads: int, seconds: float) -> float:
    """Calls `new` from so many threads for about so long; gives tasks a second."""
    counts: list[int] = []
    start = threading.Barrier(threads + 1)

    def produce() -> None:
        tags, count = three_tags(1), 0
        start.wait()
        ends_s = time.perf_counter() + seconds
        while time.perf_counter() < ends_s:
            queue.new(tags)
            count += 1
        counts.append(count)

    producers = [threading.Thread(target=produce) for _ in range(threads)]
    for producer in producers:
        producer.start()
    start.wait()
    began_s = time.perf_counter()
    for producer in producers:
        producer.join()
    assert len(counts) == threads, "no producer failed"
    return sum(counts) / (time.perf_counter() - began_s)
