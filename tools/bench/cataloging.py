"""How long a catalog takes to be built, how large it is, how soon it answers and is up to date."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from eventq import Queue
from eventq.catalog.catalog import Catalog
from eventq.catalog.selector import Selector
from eventq.eventlog import open_log
from eventq.replay.points import Point
from tools.bench.bench import Bench
from tools.bench.report import Figure, Floor
from tools.bench.work import fill, no_op
from tools.generate.bulk import make_bulk

LIMIT = 100
# A second's events of a busy log, and how many seconds of them.
BUSY_EVENTS, BUSY_ROUNDS = 5_000, 5
FILTERS = (
    Selector(states=("expired",)),
    Selector(states=("leased",)),
    Selector(states=("ready",), names=("mail.send",)),
    Selector(names=("docs.*",)),
    Selector(lanes=("heavy",)),
    Selector(error="ConnectionError"),
    Selector(message="10.0.0.17"),
    Selector(place="ocr.py"),
    Selector(tags={"tenant": "t17"}),
    Selector(tags={"tenant": "t17"}, states=("expired",)),
    Selector(text="scan 0001234"),
    Selector(names=("mail.send",), states=("expired",), error="OSError"),
    Selector(ran_us=120_000_000),
    Selector(min_attempts=3),
    Selector(by="ada"),
    Selector(node="host3-*"),
    Selector(keys=("doc-5000",)),
    Selector(lapsed=True),
)


def catalog(bench: Bench) -> Iterator[Figure]:
    """A log of a million tasks: built, asked at its end and in its past, and followed."""
    log = open_log(bench.url())
    make_bulk(log, tasks=bench.pick(1_000_000, 2_000))
    found = Catalog.open(log)
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    found.catch_up()
    cpu_s = time.process_time() - begun_cpu_s
    yield Figure("built", time.perf_counter() - begun_s, "s", Floor(60, at_most=True))
    yield Figure("built, CPU", cpu_s, "s")
    path = log.url.removeprefix("sqlite:///")
    log_bytes = sum(file.stat().st_size for file in (Path(path), Path(f"{path}-wal")))
    size = Floor(0.6, at_most=True)
    yield Figure("size", found.info().size_bytes / log_bytes, "of the log", size)
    for where in ("the end", "the past"):
        times, cpu_times = _asked(found, is_past=where == "the past")
        bound = Floor(100, at_most=True)
        yield Figure(f"a filter with a limit of 100 at {where}, p95", times, "ms", bound)
        yield Figure(f"a filter with a limit of 100 at {where}, p95, CPU", cpu_times, "ms")
    found.close()
    log.close()
    yield from _behind(bench)


def _asked(found: Catalog, *, is_past: bool) -> tuple[float, float]:
    chance = Random(1)
    times, cpu_times = [], []
    end = Point(found.seq, found.at)
    for selector in FILTERS:
        for _ in range(3):
            seq = chance.randrange(found.seq // 10, found.seq)
            begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
            found.find(selector, Point(seq, found.at) if is_past else end, limit=LIMIT)
            cpu_times.append(1_000 * (time.process_time() - begun_cpu_s))
            times.append(1_000 * (time.perf_counter() - begun_s))
    place = int(0.95 * len(times))
    return sorted(times)[place], sorted(cpu_times)[place]


def _behind(bench: Bench) -> Iterator[Figure]:
    """How long it takes to take in what a log of 5,000 events a second has in a second."""
    url = bench.url()
    worst_s = 0.0
    with Queue(url, workers=2) as queue:
        fill(queue, 1_000)
        found = Catalog.open(queue.log)
        found.catch_up()
        for _ in range(bench.pick(BUSY_ROUNDS, 1)):
            fill(queue, BUSY_EVENTS // 3)
            queue.run(no_op, until="idle")
            begun_s = time.perf_counter()
            found.catch_up()
            worst_s = max(worst_s, time.perf_counter() - begun_s)
        found.close()
    yield Figure("5,000 events taken in, the slowest", worst_s, "s", Floor(1, at_most=True))
