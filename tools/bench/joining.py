"""MongoDB: what happens to the total when producers and working nodes join, on one machine."""

from __future__ import annotations

import itertools
import resource
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

from msgspec import Struct
from pymongo.write_concern import WriteConcern

from eventq import Queue
from eventq.core.events import Commit
from eventq.errors import LogConflictError
from eventq.eventlog.mongo import documents
from eventq.eventlog.mongo.log import MongoLog
from tools.bench.bench import Bench, children
from tools.bench.rates import fill, no_op, three_tags
from tools.bench.report import Floor, Row, plain_row
from tools.bench.sharing import all_together

PRODUCERS = (1, 2, 4, 8, 16)
NODES = (1, 2, 4, 8)
# What each producer offers, from how many threads, in batches of how many tasks.
OFFERED_A_SECOND = 3_000
THREADS = 4
BATCH = 150


class Produced(Struct, frozen=True):
    """What one producer did in its seconds."""

    events: int
    commits: int
    conflicts: int


class Worked(Struct, frozen=True):
    """What one node did until all was done."""

    completed: int
    ended_s: float
    cpu_s: float


def drain(bench: Bench) -> Iterator[Row]:
    """One node drains no-op tasks, against bare pymongo inserting the very same documents."""
    rates, bares = [], []
    for _ in range(bench.pick(5, 1)):
        rate, bare = _drain(bench, bench.pick(60_000, 2_000))
        rates.append(rate)
        bares.append(bare)
    ratios = [rate / bare for rate, bare in zip(rates, bares, strict=True)]
    yield Row(
        name="drain",
        measure="drain of no-op tasks, one node",
        measured=median(rates),
        unit="events/s",
        spread=(min(ratios), max(ratios)),
        base="bare",
        ratio=median(ratios),
        floor=Floor(0.4),
    )


def producers(bench: Bench) -> Iterator[Row]:
    """Producers that know nothing of each other, each offering the same."""
    totals, seconds = [], bench.pick(6, 1)
    for count in PRODUCERS[: bench.pick(len(PRODUCERS), 2)]:
        url = bench.url()
        Queue(url).close()
        with children(produce, [(url, seconds)] * count) as started:
            produced: list[Produced] = all_together(started)
        each = [one.events for one in produced]
        totals.append(sum(each) / seconds)
        conflicts = sum(one.conflicts for one in produced) / sum(one.commits for one in produced)
        yield plain_row("producers", f"{count} producers: all", totals[-1:], unit="events/s")
    yield plain_row(
        "producers", f"{count} producers: total", totals[-1:], unit="events/s", floor=Floor(30_000)
    )
    yield plain_row(
        "producers", "conflicts", [conflicts], unit="a commit", floor=Floor(3, at_most=True)
    )
    yield plain_row(
        "producers", "slowest", [min(each) / max(each)], unit="of fastest", floor=Floor(0.5)
    )
    growth = [after / before for before, after in itertools.pairwise(totals)]
    yield plain_row(
        "producers", "total as producers double", [min(growth)], unit="times", floor=Floor(1)
    )


def nodes(bench: Bench) -> Iterator[Row]:
    """Nodes that drain one queue of no-op tasks together."""
    totals, shares, count = [], [], bench.pick(160_000, 1_000)
    for size in NODES[: bench.pick(len(NODES), 2)]:
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
        yield plain_row("nodes", f"{size} nodes drain: all", totals[-1:], unit="tasks/s")
        yield plain_row(
            "nodes", f"{size} nodes drain: CPU time a node", [cpu_us], unit="us an event"
        )
    yield plain_row(
        "nodes", f"{size} nodes", [totals[-1] / max(totals)], unit="of the best", floor=Floor(0.5)
    )
    yield plain_row("nodes", "slowest node", [min(shares)], unit="of fastest", floor=Floor(0.5))


def produce(connection: Connection, url: str, seconds: float) -> None:
    """A child whose threads offer tasks at a steady rate, and make up for what was held up."""
    counted = _count_appends()
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
    connection.send(Produced(counted["events"], counted["commits"], counted["conflicts"]))


def work(connection: Connection, url: str) -> None:
    """A child that drains what is there."""
    with Queue(url, workers=4) as queue:
        queue.stats()
        connection.send("ready")
        connection.recv()
        before_s = _cpu_s()
        report = queue.run(no_op, until="idle")
        worked = Worked(report.completed, time.monotonic(), _cpu_s() - before_s)
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


def _count_appends() -> dict[str, int]:
    """Has all appends of this process counted."""
    counted = {"events": 0, "commits": 0, "conflicts": 0}
    append = MongoLog.append

    def counting(log: MongoLog, commit: Commit, **options: Any) -> None:  # noqa: ANN401
        try:
            append(log, commit, **options)
        except LogConflictError:
            counted["conflicts"] += 1
            raise
        counted["commits"] += 1
        counted["events"] += len(commit.bodies)

    setattr(MongoLog, "append", counting)  # noqa: B010 - a plain assignment fails mypy
    return counted


def _drain(bench: Bench, count: int) -> tuple[float, float]:
    """Events a second of a drain, and of the same documents inserted by the bare driver."""
    assert bench.servers is not None
    url = bench.url()
    with Queue(url) as queue:
        fill(queue, count)
        queue.stats()
        began_s = time.perf_counter()
        report = queue.run(no_op, until="idle")
        took_s = time.perf_counter() - began_s
    assert report.completed == count, "every task is completed once"
    with bench.servers.members[0].client() as client:
        database = client[url.rpartition("/")[2].partition("?")[0]]
        made = list(database[documents.COMMITS].find({"first": {"$gt": count}}))
        concern = WriteConcern("majority", j=True)
        bare = database.get_collection("bare", write_concern=concern)
        bare.create_indexes(documents.INDEXES)
        bare_began_s = time.perf_counter()
        for document in made:
            bare.insert_one(document)
        bare_s = time.perf_counter() - bare_began_s
        client.drop_database(database.name)
    events = sum(document["n"] for document in made)
    return events / took_s, events / bare_s


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
