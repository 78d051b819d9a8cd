"""How fast a log is folded, and what a pending task weighs."""

from __future__ import annotations

import gc
import os
import time
import tracemalloc
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from eventq import Queue, TaskSpec
from eventq.eventlog import open_log
from eventq.replay.fold import replay
from tools.bench.bench import Bench, children, heard, held_against, in_turns
from tools.bench.report import Figure, Floor
from tools.bench.work import BATCH, fill, no_op, three_tags

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


def ruled(bench: Bench) -> Iterator[Figure]:
    """The fold of a log in which all rules of who may run are used, against one without any."""
    plain, rules = bench.url(), bench.url()
    count = bench.pick(20_000, 2_000)
    with Queue(plain) as queue:
        fill(queue, count)
        queue.run(no_op, until="idle")
    _use_all(rules, count)
    bases, ours = in_turns(
        lambda: _replay_rate(plain), lambda: _replay_rate(rules), bench.pick(5, 1)
    )
    what = "replay with limits, rates, turns, flows, pauses and ticks"
    yield Figure(what, median(ours), "events/s", Floor(300_000))
    yield Figure(f"{what}, of one without", held_against(bases, ours), "of plain")


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


def _use_all(url: str, count: int) -> None:
    """Fills a log with tasks of many buckets and shares, in flows, paused and ticked; drains it."""
    with Queue(url, workers=64) as queue:
        queue.limit("host", running=4, rate="1000/1s", per="host")
        queue.limit("all", running=64)
        queue.fair(per="tenant", weights={"t1": 3})

        @queue.task
        def step(number: int) -> None:
            pass

        queue.every("1d", step, 1, schedule="refresh")
        # Limits, turns and the schedule are said when a run begins.
        queue.run(until="idle")
        for start in range(0, count, BATCH):
            queue.new_many([_ruled(number) for number in range(start, start + BATCH)])
            with queue.flow() as flow:
                before = flow.new(step, start)
                for number in range(BATCH // 10):
                    flow.new(step.using(limits=["all"], after=before), number)
                flow.finally_(step, start)
            queue.pause(tags={"tenant": "t3"})
            queue.resume(tags={"tenant": "t3"})
            queue.schedules["refresh"].trigger()
            queue.run(until="idle")
            queue.run(no_op, until="idle")


def _ruled(number: int) -> TaskSpec:
    tags = {"host": f"h{number % 1_000}", "tenant": f"t{number % 50}", "path": f"{number:05}.png"}
    exclusive = [f"repo:{number % 700}"] if number % 5 == 0 else []
    return TaskSpec(tags, limits=["host", "all"], exclusive=exclusive)


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
