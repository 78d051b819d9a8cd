"""Whether processes on one file get their share, and no errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard
from tools.bench.report import Figure, Floor
from tools.bench.work import fill, three_tags

DRAINERS = 4
WORKERS = 4
NAP_S = 0.020
PRODUCERS = 8


def fair_drain(bench: Bench) -> Iterator[Figure]:
    """Four processes drain tasks of 20 ms: how far each is from the mean, at worst."""
    url = bench.url()
    with Queue(url) as queue:
        fill(queue, bench.pick(2_000, 160))
    with children(drain_naps, [(url,)] * DRAINERS) as drainers:
        counts = all_together(drainers)
    mean = sum(counts) / DRAINERS
    off = max(abs(count - mean) for count in counts) / mean * 100
    what = f"{DRAINERS} processes drain 20 ms tasks: furthest"
    yield Figure(what, off, "% off the mean", Floor(20, at_most=True))


def fair_new(bench: Bench) -> Iterator[Figure]:
    """Eight processes call ``new()``: the slowest one's rate against the fastest one's."""
    url, seconds = bench.url(), bench.pick(40, 5) / 10
    Queue(url).close()
    with children(create_for, [(url, seconds)] * PRODUCERS) as producers:
        counts = all_together(producers)
    what = f"{PRODUCERS} processes call new()"
    yield Figure(f"{what}: slowest", min(counts) / max(counts), "of fastest", Floor(0.5))
    yield Figure(f"{what}: all", sum(counts) / seconds, "tasks/s")


def drain_naps(connection: Connection, url: str) -> None:
    """A child that drains tasks of 20 ms and sends how many it completed."""
    with Queue(url, workers=WORKERS) as queue:
        connection.send("ready")
        connection.recv()
        report = queue.run(_nap, until="idle")
    connection.send(report.completed)


def create_for(connection: Connection, url: str, seconds: float) -> None:
    """A child that calls ``new()`` for so long and sends how often; any error ends it."""
    count = 0
    with Queue(url) as queue:
        connection.send("ready")
        connection.recv()
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            queue.new(three_tags(count))
            count += 1
    connection.send(count)


def _nap(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    time.sleep(NAP_S)


def all_together(ready: list[Connection]) -> list[Any]:
    """Lets all children begin at once; returns what each sends at its end."""
    for child in ready:
        child.send("go")
    return [heard(child) for child in ready]
