"""How fast a log is folded, and what a pending task weighs."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from eventq import Queue
from eventq.eventlog import open_log
from eventq.replay.fold import replay
from tools.bench.bench import Bench, children, heard
from tools.bench.report import Figure, Floor
from tools.bench.work import fill, no_op, three_tags

NAMESPACE = "default"


def replaying(bench: Bench) -> Iterator[Figure]:
    """The fold with all its checks: of a drained log, and of a log of commits of one event."""
    drained, lone = bench.url(), bench.url()
    with Queue(drained) as queue:
        fill(queue, bench.pick(50_000, 5_000))
        queue.run(no_op, until="idle")
    with Queue(lone) as queue:
        for number in range(bench.pick(5_000, 500)):
            queue.new(three_tags(number))
    for url, what, floor in (
        (drained, "replay of a drained log", Floor(300_000)),
        (lone, "replay of commits of one event", None),
    ):
        yield Figure(what, _replay_rate(url), "events/s", floor)


def memory(bench: Bench) -> Iterator[Figure]:
    """Bytes a pending task, in a process of its own that has just replayed them all."""
    url, count = bench.url(), bench.pick(200_000, 20_000)
    with Queue(url) as queue:
        fill(queue, count)
    for traced, how in ((False, "resident"), (True, "traced")):
        with children(weigh, [(url, traced)]) as (child,):
            weight_bytes = heard(child) / count
        what = f"memory a pending task, {how}"
        yield Figure(what, weight_bytes, "bytes", Floor(700, at_most=True))


def weigh(connection: Connection, url: str, traced: bool) -> None:  # noqa: FBT001 - by position
    """A child that sends by how many bytes a replay has made it grow."""
    connection.send("ready")
    log = open_log(url, namespace=NAMESPACE, create=False)
    # Code and caches are there before the first look.
    replay(log, until=2_000)
    gc.collect()
    if traced:
        tracemalloc.start()
        projection = replay(log)
        gc.collect()
        grown_bytes = tracemalloc.get_traced_memory()[0]
    else:
        before_bytes = _resident_bytes()
        projection = replay(log)
        gc.collect()
        grown_bytes = _resident_bytes() - before_bytes
    assert projection.pending_count > 0, "the projection is still there to be weighed"
    connection.send(grown_bytes)
    log.close()


def _replay_rate(url: str) -> float:
    log = open_log(url, namespace=NAMESPACE, create=False)
    gc.collect()
    began_s = time.perf_counter()
    projection = replay(log)
    rate = projection.seq / (time.perf_counter() - began_s)
    log.close()
    return rate


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
