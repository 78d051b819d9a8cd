"""Rows 9 and 10: whether processes on one file get their share, and no errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard
from tools.bench.rates import fill, three_tags
from tools.bench.report import Floor, Row, plain_row

DRAINERS = 4
WORKERS = 4
NAP_S = 0.020
PRODUCERS = 8


def fair_drain(bench: Bench) -> Iterator[Row]:
    """Four processes drain tasks of 20 ms: how far each is from the mean, at worst."""
    samples = []
    for _ in range(bench.pick(3, 1)):
        url = bench.url()
        with Queue(url) as queue:
            fill(queue, bench.pick(2_000, 160))
        with children(drain_naps, [(url,)] * DRAINERS) as drainers:
            counts = all_together(drainers)
        mean = sum(counts) / DRAINERS
        samples.append(max(abs(count - mean) for count in counts) / mean * 100)
    what = f"{DRAINERS} processes drain 20 ms tasks"
    row_floor = Floor(20, at_most=True)
    yield plain_row("fair_drain", what, samples, unit="% off the mean", floor=row_floor)


def fair_new(bench: Bench) -> Iterator[Row]:
    """Eight processes call ``new()``: the slowest one's rate against the fastest one's."""
    samples, totals, errors = [], [], []
    seconds = bench.pick(4, 1)
    for _ in range(bench.pick(3, 1)):
        url = bench.url()
        Queue(url).close()
        with children(create_for, [(url, seconds)] * PRODUCERS) as producers:
            results = all_together(producers)
        counts = [count for count, _ in results]
        errors += [error for _, error in results if error is not None]
        samples.append(min(counts) / max(counts))
        totals.append(sum(counts) / seconds)
    what = f"{PRODUCERS} processes call new(): slowest"
    row_floor = Floor(0.5)
    yield plain_row("fair_new", what, samples, unit="of fastest", floor=row_floor, failures=errors)
    yield plain_row("fair_new", f"{PRODUCERS} processes call new(): all", totals, unit="tasks/s")


def drain_naps(connection: Connection, url: str) -> None:
    """A child that drains tasks of 20 ms and sends how many it completed."""
    with Queue(url, workers=WORKERS) as queue:
        connection.send("ready")
        connection.recv()
        report = queue.run(_nap, until="idle")
    connection.send(report.completed)


def create_for(connection: Connection, url: str, seconds: float) -> None:
    """A child that calls ``new()`` for so long and sends how often, and any error."""
    count, error = 0, None
    with Queue(url) as queue:
        connection.send("ready")
        connection.recv()
        ends_s = time.monotonic() + seconds
        try:
            while time.monotonic() < ends_s:
                queue.new(three_tags(count))
                count += 1
        except Exception as caught:  # noqa: BLE001 - any error at all makes the row short
            error = repr(caught)
    connection.send((count, error))


def _nap(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    time.sleep(NAP_S)


def all_together(ready: list[Connection]) -> list[Any]:
    """Lets all children begin at once; gives what each sends at its end."""
    for child in ready:
        child.send("go")
    return [heard(child) for child in ready]
