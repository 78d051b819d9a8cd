"""How long a scrape of `/metrics` takes with many open tasks: ``python -m tools.bench.scraping``.

The first one reads the whole log, and is told by itself.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from prometheus_client import CollectorRegistry, generate_latest

import eventq
from eventq.contrib.prometheus import registry_of

TASKS = 1_000_000
NAMES = 300
BLOCK = 1_000
SCRAPES = 20


def main() -> None:
    """Prints the first scrape, and the median of later ones, each after one more task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--waiting", type=int, default=0, help="So many more come after the first.")
    given = parser.parse_args()
    count, waiting = given.tasks, given.waiting
    with (
        tempfile.TemporaryDirectory(prefix="eventq-scraping-") as folder,
        eventq.Queue(f"sqlite:///{folder}/tasks.db") as queue,
    ):
        for block in range(0, count, BLOCK):
            numbers = range(block, min(count, block + BLOCK))
            queue.new_many([eventq.TaskSpec(name=f"name{n % NAMES}") for n in numbers])
        for block in range(0, waiting, BLOCK):
            numbers = range(block, min(waiting, block + BLOCK))
            queue.new_many([eventq.TaskSpec(name=f"name{n % NAMES}", after=["1"]) for n in numbers])
        registry = registry_of(queue)
        first_s, text = timed(registry)
        later = []
        for _ in range(SCRAPES):
            queue.new(name="name0")
            later.append(timed(registry)[0])
    lines = len(text.splitlines())
    cpu_ms = statistics.median(later) * 1e3
    print(f"{count} ready and {waiting} waiting tasks, {NAMES} names, {lines} lines:")
    print(f"first {first_s:.1f} s of CPU, then {cpu_ms:.1f} ms, at most {max(later) * 1e3:.1f} ms")


def timed(registry: CollectorRegistry) -> tuple[float, bytes]:
    """Seconds of CPU of one scrape, and what it says."""
    begun_s = time.thread_time()
    text = generate_latest(registry)
    return time.thread_time() - begun_s, text


if __name__ == "__main__":
    main()
