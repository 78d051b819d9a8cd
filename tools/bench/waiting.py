"""How soon a worker begins, idle or next to busy ones, and what being idle costs."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard, percentile, used_cpu_s
from tools.bench.reference import RawLoneCommits, raw_table
from tools.bench.report import Figure, Floor
from tools.bench.work import no_op

WORKERS = 4
# Samples that are thrown away: processes begin, caches warm up.
WARM_UP = 20
# The idle time before each task: drawn anew each time, so that no timer falls into step with it.
GAP_S = (0.005, 0.040)
# How long an idle process is left alone before its CPU time counts.
SETTLE_S = 1.5
# Tasks that keep a worker busy without end, next to which another is to start.
BUSY = 2


def wake(bench: Bench) -> Iterator[Figure]:
    """From right before ``new()`` to the worker's first line, the worker having been idle.

    Both read CLOCK_MONOTONIC, which is one clock for all processes. Two commits lie in between,
    the task's and its lease's, so what one costs on an idle disk is shown too.
    """
    count = _count(bench)
    yield from _percentiles("one raw commit after a pause", _raw_delays_ms(bench, count))
    delays_ms = _delays_here_ms(bench, count, busy=0)
    yield from _percentiles("enqueue to start, same process", delays_ms, (0.7, 2))
    yield from wake_other(bench)


def wake_other(bench: Bench) -> Iterator[Figure]:
    """The same to a worker in another process."""
    delays_ms = _delays_there_ms(bench, _count(bench), busy=0)
    # A commit takes longer on a server; how long is not for these to say.
    bounds = (1.5, 4) if bench.servers is None else None
    yield from _percentiles("enqueue to start, other process", delays_ms, bounds)


def busy(bench: Bench) -> Iterator[Figure]:
    """The same, while two CPU-bound ``def`` tasks never let go of the worker's process."""
    count = WARM_UP + bench.pick(200, 5)
    for what, take in (("other", _delays_there_ms), ("same", _delays_here_ms)):
        delays_ms = take(bench, count, busy=BUSY)
        measure = f"next to {BUSY} busy tasks, {what} process"
        yield from _percentiles(measure, delays_ms, (None, 60))


def idle(bench: Bench) -> Iterator[Figure]:
    """CPU time of processes whose `run` has nothing to do: one alone, then three on one file."""
    settle_s, seconds = (SETTLE_S, 8.0) if not bench.quick else (0.2, 0.3)
    for count in (1, 3):
        url = bench.url()
        with Queue(url) as queue, children(rest, [(url, settle_s, seconds)] * count) as resting:
            queue.new()
            share = max(heard(child) for child in resting)
        who = "idle run(), 4 workers" + (f", the busiest of {count} processes" if count > 1 else "")
        yield Figure(who, share, "% of a core", Floor(0.5, at_most=True))


class Listener:
    """A worker that notes how long each task was on its way, and stops after the last.

    A task without an instant keeps its worker busy until then.
    """

    def __init__(self, queue: Queue, count: int, *, busy: int) -> None:
        self.delays_ms: list[float] = []
        self.all_busy = threading.Event()
        self._queue = queue
        self._count = count
        self._starting = threading.Barrier(busy, self.all_busy.set) if busy else None
        self._done = False
        if not busy:
            self.all_busy.set()

    def __call__(self, _ctx: Any, task: Task) -> None:  # noqa: ANN401 - a worker's first argument
        """Works on one task."""
        now_ns = time.monotonic_ns()
        if "sent_ns" not in task.tags:
            self._spin()
            return
        self.delays_ms.append((now_ns - task.tags["sent_ns"]) / 1e6)
        if len(self.delays_ms) == self._count:
            self._done = True
            self._queue.stop()

    def _spin(self) -> None:
        assert self._starting is not None, "there are tasks that keep busy"
        self._starting.wait()
        number = 0
        while not self._done:
            number = (number * 31 + 7) % 1_000_003


def listen(connection: Connection, url: str, count: int, busy: int) -> None:
    """A child that runs tasks and sends how long each was on its way."""
    with Queue(url, workers=WORKERS) as queue:
        listener = Listener(queue, count, busy=busy)
        queue.new_many([{}] * busy)
        threading.Thread(target=_say_ready, args=(connection, listener), daemon=True).start()
        queue.run(listener)
    connection.send(listener.delays_ms)


def rest(connection: Connection, url: str, settle_s: float, seconds: float) -> None:
    """A child that idles, and sends the share of a core it used, in percent."""
    ended = threading.Event()
    with Queue(url, workers=WORKERS) as queue:
        watcher = threading.Thread(
            target=_watch_cpu, args=(connection, queue, settle_s, seconds, ended)
        )
        watcher.start()
        queue.run(no_op)
        ended.set()
        watcher.join()


def _say_ready(connection: Connection, listener: Listener) -> None:
    listener.all_busy.wait()
    connection.send("ready")


def _watch_cpu(
    connection: Connection, queue: Queue, settle_s: float, seconds: float, ended: threading.Event
) -> None:
    connection.send("ready")
    time.sleep(settle_s)
    before_s, began_s = used_cpu_s(), time.monotonic()
    time.sleep(seconds)
    share = (used_cpu_s() - before_s) / (time.monotonic() - began_s)
    connection.send(100 * share)
    # On a busy machine the run may not have begun by now, and would not hear of it.
    while not ended.wait(0.05):
        queue.stop()


def _count(bench: Bench) -> int:
    return WARM_UP + bench.pick(300, 10)


def _delays_here_ms(bench: Bench, count: int, *, busy: int) -> list[float]:
    """How long each task is on its way to a worker in this process."""
    with Queue(bench.url(), workers=WORKERS) as queue:
        listener = Listener(queue, count, busy=busy)
        queue.new_many([{}] * busy)
        producer = threading.Thread(target=_produce, args=(queue, count, listener), daemon=True)
        producer.start()
        queue.run(listener)
        producer.join()
    return listener.delays_ms


def _delays_there_ms(bench: Bench, count: int, *, busy: int) -> list[float]:
    """How long each is to one in another process."""
    url = bench.url()
    with Queue(url) as queue, children(listen, [(url, count, busy)]) as (child,):
        _produce(queue, count)
        delays_ms: list[float] = heard(child)
    return delays_ms


def _produce(queue: Queue, count: int, listener: Listener | None = None) -> None:
    draw = random.Random(7)
    if listener is not None:
        listener.all_busy.wait()
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


def _percentiles(
    measure: str, delays_ms: list[float], bounds: tuple[float | None, float] | None = None
) -> Iterator[Figure]:
    """The middle delay and that of which one in a hundred is longer, each with its bound."""
    steady = delays_ms[WARM_UP:]
    for share, bound in zip((0.5, 0.99), bounds or (None, None), strict=True):
        floor = None if bound is None else Floor(bound, at_most=True)
        figure = f"{measure}, p{share * 100:.0f}"
        yield Figure(figure, percentile(steady, share), "ms", floor)
