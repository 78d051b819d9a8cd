"""How fast one process creates and drains tasks on SQLite, against the bare driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median

from eventq import Queue
from tools.bench.bare import RawCommitter, bare_table
from tools.bench.bench import Bench, held_against, in_turns, paced
from tools.bench.report import Figure, Floor
from tools.bench.work import async_no_op, fill, no_op, three_tags

THREADS = 16


def new_many(bench: Bench) -> Iterator[Figure]:
    """Batches of 1,000: by a process that only produces, and by one that has read the queue."""
    for loaded in (False, True):
        rate = partial(_fill, bench, loaded=loaded)
        measure = "new_many, 1,000 a batch" + (", projection loaded" if loaded else "")
        yield from bench.against_raw(measure, rate, None if loaded else Floor(0.5))


def drain(bench: Bench) -> Iterator[Figure]:
    """``run(until="idle")`` of no-op ``def`` tasks by two workers."""
    rate = partial(_drain, bench, no_op, workers=2)
    yield from bench.against_raw("drain of no-op def tasks", rate, Floor(0.2))


def drain_async(bench: Bench) -> Iterator[Figure]:
    """The same, ``async def``, 64 at a time."""
    rate = partial(_drain, bench, async_no_op, workers=64)
    yield from bench.against_raw("drain of no-op async def tasks, 64 at a time", rate, Floor(0.15))


def lone(bench: Bench) -> Iterator[Figure]:
    """``new()`` in one thread, against the bare loop: BEGIN IMMEDIATE, the same insert, COMMIT."""
    seconds, tags = bench.pick(20, 5) / 100, three_tags(1)
    with bare_table(bench) as table, Queue(bench.url()) as queue:
        bare, ours = in_turns(
            lambda: paced(table.commit, seconds),
            lambda: paced(lambda: queue.new(tags), seconds),
            bench.pick(15, 1),
        )
    rates = [pace.a_second for pace in ours]
    cpu_us = [pace.cpu_us for pace in ours]
    yield Figure("lone new()", median(rates), "tasks/s")
    ratio = held_against([pace.a_second for pace in bare], rates)
    yield Figure("lone new(), rate", ratio, "of bare", Floor(0.85))
    yield Figure("lone new(), CPU", median(cpu_us), "us")
    ratio = held_against([pace.cpu_us for pace in bare], cpu_us)
    yield Figure("lone new(), CPU", ratio, "of bare", Floor(1.5, at_most=True))


def threads(bench: Bench) -> Iterator[Figure]:
    """``new()`` from 16 threads, against 16 that hand a request to one bare committer and wait."""
    seconds, tags = bench.pick(20, 10) / 100, three_tags(1)
    with bare_table(bench) as table, RawCommitter(table) as committer, Queue(bench.url()) as queue:
        bare, ours = in_turns(
            lambda: _together(committer.request, seconds),
            lambda: _together(lambda: queue.new(tags), seconds),
            bench.pick(15, 1),
        )
    measure = f"new() from {THREADS} threads"
    yield Figure(measure, median(ours), "tasks/s")
    yield Figure(measure, held_against(bare, ours), "of bare", Floor(0.8))


def _fill(bench: Bench, *, loaded: bool) -> float:
    path = bench.path()
    with Queue(f"sqlite:///{path}") as queue:
        if loaded:
            queue.stats()
        rate = fill(queue, bench.pick(200_000, 10_000))
    path.unlink()
    return rate


def _drain(bench: Bench, worker: Callable[..., object], *, workers: int) -> float:
    path, count = bench.path(), bench.pick(200_000, 5_000)
    with Queue(f"sqlite:///{path}", workers=workers) as queue:
        fill(queue, count)
        # The first fold of what is there is another measure's business.
        queue.stats()
        began_s = time.perf_counter()
        report = queue.run(worker, until="idle")
        took_s = time.perf_counter() - began_s
    assert report.completed == count, "every task is completed once"
    path.unlink()
    return count / took_s


def _together(call: Callable[[], object], seconds: float) -> float:
    """Calls from 16 threads for about so long; returns calls a second."""
    counts: list[int] = []
    start = threading.Barrier(THREADS + 1)

    def produce() -> None:
        count = 0
        start.wait()
        ends_s = time.perf_counter() + seconds
        while time.perf_counter() < ends_s:
            call()
            count += 1
        counts.append(count)

    producers = [threading.Thread(target=produce) for _ in range(THREADS)]
    for producer in producers:
        producer.start()
    start.wait()
    began_s = time.perf_counter()
    for producer in producers:
        producer.join()
    assert len(counts) == THREADS, "no producer failed"
    return sum(counts) / (time.perf_counter() - began_s)
