"""Rows 5 and 6: how soon an idle worker begins, and what being idle costs."""

from __future__ import annotations

import random
import resource
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard
from tools.bench.rates import no_op
from tools.bench.reference import RawLoneCommits, raw_table
from tools.bench.report import Floor, Row, plain_row

WORKERS = 4
# Samples that are thrown away: processes begin, caches warm up.
WARM_UP = 20
# The idle time before each task: drawn anew each time, so that no timer falls into step with it.
GAP_S = (0.005, 0.040)
# How long an idle process is left alone before its CPU time counts.
SETTLE_S = 1.5
# The median of parts, so that it can be seen whether they agree.
PARTS = 5


def wake(bench: Bench) -> Iterator[Row]:
    """From right before ``new()`` to the worker's first line, the worker having been idle.

    Both read CLOCK_MONOTONIC, which is one clock for all processes. Two commits lie in between,
    the task's and its lease's, so what one costs on an idle disk is shown too.
    """
    count = WARM_UP + bench.pick(300, 20)
    yield _wake_row("one raw commit after a pause", _raw_delays_ms(bench, count), None)
    with Queue(bench.url(), workers=WORKERS) as queue:
        listener = Listener(queue, count)
        producer = threading.Thread(target=_produce, args=(queue, count), daemon=True)
        producer.start()
        queue.run(listener)
        producer.join()
    yield _wake_row("enqueue to start, same process", listener.delays_ms, 2)
    yield from wake_other(bench, bound_ms=5)


def wake_other(bench: Bench, *, bound_ms: float = 10) -> Iterator[Row]:
    """The same to a worker in another process."""
    count = WARM_UP + bench.pick(300, 20)
    url = bench.url()
    with Queue(url) as queue, children(listen, [(url, count)]) as (child,):
        _produce(queue, count)
        delays_ms = heard(child)
    yield _wake_row("enqueue to start, other process", delays_ms, bound_ms)


def idle(bench: Bench) -> Iterator[Row]:
    """CPU time of processes whose `run` has nothing to do: one alone, then three on one file."""
    seconds = bench.pick(8, 1)
    for count in (1, 3):
        url = bench.url()
        with Queue(url) as queue, children(rest, [(url, seconds)] * count) as resting:
            queue.new()
            shares = [heard(child) for child in resting]
        who = "idle run(), 4 workers" + (f", {count} processes" if count > 1 else "")
        yield plain_row("idle", who, shares, unit="% of a core", floor=Floor(0.5, at_most=True))


class Listener:
    """A worker that notes how long each task was on its way, and stops after the last."""

    def __init__(self, queue: Queue, count: int) -> None:
        self.delays_ms: list[float] = []
        self._queue = queue
        self._count = count

    def __call__(self, _ctx: Any, task: Task) -> None:  # noqa: ANN401 - a worker's first argument
        """Works on one task."""
        now_ns = time.monotonic_ns()
        self.delays_ms.append((now_ns - task.tags["sent_ns"]) / 1e6)
        if len(self.delays_ms) == self._count:
            self._queue.stop()


def listen(connection: Connection, url: str, count: int) -> None:
    """A child that runs tasks and sends how long each was on its way."""
    with Queue(url, workers=WORKERS) as queue:
        listener = Listener(queue, count)
        connection.send("ready")
        queue.run(listener)
    connection.send(listener.delays_ms)


def rest(connection: Connection, url: str, seconds: float) -> None:
    """A child that idles, and sends the share of a core it used, in percent."""
    with Queue(url, workers=WORKERS) as queue:
        watcher = threading.Thread(target=_watch_cpu, args=(connection, queue, seconds))
        watcher.start()
        queue.run(no_op)
        watcher.join()


def _watch_cpu(connection: Connection, queue: Queue, seconds: float) -> None:
    connection.send("ready")
    time.sleep(SETTLE_S)
    before_s, began_s = _cpu_s(), time.monotonic()
    time.sleep(seconds)
    share = (_cpu_s() - before_s) / (time.monotonic() - began_s)
    connection.send(100 * share)
    queue.stop()


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _produce(queue: Queue, count: int) -> None:
    draw = random.Random(7)
    for _ in range(count):
        time.sleep(draw.uniform(*GAP_S))
        queue.new({"sent_ns": time.monotonic_ns()})


def _raw_delays_ms(bench: Bench, count: int) -> list[float]:
    """How long each commit of one row takes, the disk having been left alone before."""
    draw, delays_ms = random.Random(7), []
    with raw_table(bench.path()) as connection:
        raw = RawLoneCommits(connection)
        for _ in range(count):
            time.sleep(draw.uniform(*GAP_S))
            began_s = time.perf_counter()
            raw.commit()
            delays_ms.append(1e3 * (time.perf_counter() - began_s))
    return delays_ms


def _wake_row(measure: str, delays_ms: list[float], bound_ms: float | None) -> Row:
    steady = delays_ms[WARM_UP:]
    medians = [median(steady[part::PARTS]) for part in range(PARTS)]
    row_floor = None if bound_ms is None else Floor(bound_ms, at_most=True)
    return plain_row("wake", measure, medians, unit="ms", floor=row_floor)
