"""MongoDB: what happens to the total when producers and working nodes join, on one machine."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from statistics import median

from msgspec import Struct

from eventq import Queue
from tools.bench.bench import Bench, children, used_cpu_s
from tools.bench.listening import Listening
from tools.bench.report import Figure, Floor
from tools.bench.sharing import all_together
from tools.bench.work import fill, no_op, three_tags

PRODUCERS = (1, 2, 4, 8, 16)
NODES = (1, 2, 4, 8)
# What each producer offers, from how many threads, in batches of how many tasks.
OFFERED_A_SECOND = 3_000
THREADS = 4
BATCH = 150


class Worked(Struct, frozen=True):
    """What one node did until all was done."""

    completed: int
    ended_s: float
    cpu_s: float


def producers(bench: Bench) -> Iterator[Figure]:
    """Producers that know nothing of each other, each offering the same."""
    totals, seconds = [], bench.pick(60, 5) / 10
    sizes = PRODUCERS[: bench.pick(len(PRODUCERS), 2)]
    for size in sizes:
        url = bench.url()
        Queue(url).close()
        with children(produce, [(url, seconds)] * size) as started:
            produced: list[dict[str, int]] = all_together(started)
        each = [one["events"] for one in produced]
        totals.append(sum(each) / seconds)
        wanted = Floor(30_000) if size == PRODUCERS[-1] else None
        yield Figure(f"{size} producers: all", totals[-1], "events/s", wanted)
    conflicts, commits = (sum(one[what] for one in produced) for what in ("conflicts", "commits"))
    who = f"{sizes[-1]} producers"
    yield Figure(f"{who}: conflicts", conflicts / commits, "a commit", Floor(3, at_most=True))
    yield Figure(f"{who}: slowest", min(each) / max(each), "of fastest", Floor(0.5))
    growth = min(after / before for before, after in itertools.pairwise(totals))
    yield Figure("total as producers double", growth, "times", Floor(1))


def nodes(bench: Bench) -> Iterator[Figure]:
    """Nodes that drain one queue of no-op tasks together."""
    totals, shares, count = [], [], bench.pick(160_000, 1_000)
    sizes = NODES[: bench.pick(len(NODES), 2)]
    for size in sizes:
        url = bench.url()
        with Queue(url) as queue:
            fill(queue, count)
        with children(work, [(url,)] * size) as started:
            began_s = time.monotonic()
            worked: list[Worked] = all_together(started)
        assert sum(one.completed for one in worked) == count, "every task is completed once"
        totals.append(count / (max(one.ended_s for one in worked) - began_s))
        each = [one.completed for one in worked]
        shares.append(min(each) / max(each))
        # Two events a task; the third, its creation, was folded before.
        cpu_us = median(one.cpu_s for one in worked) / (2 * count) * 1e6
        yield Figure(f"{size} nodes drain: all", totals[-1], "tasks/s")
        yield Figure(f"{size} nodes drain: CPU time a node", cpu_us, "us an event")
    who = f"{sizes[-1]} nodes drain"
    yield Figure(f"{who}: all", totals[-1] / max(totals), "of the best", Floor(0.6))
    yield Figure(f"{who}: slowest node", shares[-1], "of fastest", Floor(0.5))


def produce(connection: Connection, url: str, seconds: float) -> None:
    """A child whose threads offer tasks at a steady rate, and make up for what was held up."""
    listening = Listening()
    with Queue(url) as queue:
        connection.send("ready")
        connection.recv()
        began_s = time.monotonic()
        threads = [
            threading.Thread(target=_offer, args=(queue, began_s, seconds, number))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    connection.send(
        {
            "events": listening.events,
            "commits": listening.commits,
            "conflicts": listening.conflicts,
        }
    )


def work(connection: Connection, url: str) -> None:
    """A child that drains what is there."""
    with Queue(url, workers=4) as queue:
        queue.stats()
        connection.send("ready")
        connection.recv()
        before_s = used_cpu_s()
        report = queue.run(no_op, until="idle")
        worked = Worked(report.completed, time.monotonic(), used_cpu_s() - before_s)
    connection.send(worked)


def _offer(queue: Queue, began_s: float, seconds: float, number: int) -> None:
    batch = [three_tags(index) for index in range(BATCH)]
    every_s = BATCH * THREADS / OFFERED_A_SECOND
    due_s = began_s + every_s * number / THREADS
    while due_s < began_s + seconds:
        time.sleep(max(0.0, due_s - time.monotonic()))
        if time.monotonic() > began_s + seconds:
            return
        queue.new_many(batch)
        due_s += every_s
