"""Whether processes that share a rate keep to it, and use it up."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.connection import Connection

from eventq import Queue
from tools.bench.bench import Bench, children
from tools.bench.report import Figure, Floor
from tools.bench.sharing import all_together
from tools.bench.work import no_op

RATE, PER_US = 100, 1_000_000
NODES = 4
WORKERS = 4
LIMIT = "api"


def rate(bench: Bench) -> Iterator[Figure]:
    """Four processes lease no-op tasks as fast as 100 in any second lets them, for 20 s."""
    url, seconds = bench.url(), bench.pick(20, 3)
    with Queue(url) as queue:
        queue.limit(LIMIT, rate=f"{RATE}/1s")
        for _ in range(seconds + 2):
            queue.new_many([{}] * RATE, limits=[LIMIT])
    with children(drain_all, [(url,)] * NODES) as nodes:
        all_together(nodes)
    with Queue(url) as queue:
        leased = [event.decided_at for event in queue.events() if event.kind == "leased"]
    end = leased[0] + seconds * PER_US
    what = f"{NODES} processes, {RATE} a second for {seconds} s"
    share = 100 * sum(at < end for at in leased) / (RATE * seconds)
    yield Figure(f"{what}: leased", share, "% of the bound", Floor(95))
    # Of each lease, since the one that has made room for it. That they come in bursts, which a
    # period cuts or does not, changes nothing here.
    waits = [at - before - PER_US for before, at in zip(leased, leased[RATE:], strict=False)]
    late_us = sum(waits) / len(waits)
    pace = 100 * PER_US / (PER_US + late_us)
    yield Figure(f"{what}: pace", pace, "% of the bound", Floor(95))
    yield Figure(f"{what}: late", late_us / 1_000, "ms")
    most = _most_in_a_window(leased)
    yield Figure(f"{what}: most in a second", most, "leases", Floor(RATE, at_most=True))


def drain_all(connection: Connection, url: str) -> None:
    """A child that runs tasks until none is left, and sends how many it completed."""
    with Queue(url, workers=WORKERS) as queue:
        queue.limit(LIMIT, rate=f"{RATE}/1s")
        queue.stats()
        connection.send("ready")
        connection.recv()
        report = queue.run(no_op, until="idle")
    connection.send(report.completed)


def _most_in_a_window(leased: list[int]) -> int:
    most = first = 0
    for last, at in enumerate(leased):
        while leased[first] <= at - PER_US:
            first += 1
        most = max(most, last + 1 - first)
    return most
