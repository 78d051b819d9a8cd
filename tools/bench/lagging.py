"""How far a follower is behind while many events come in, all in one process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from statistics import median

from eventq import Event, Queue
from tools.bench.bench import CHILD_PATIENCE_S, Bench
from tools.bench.report import Figure, Floor

RATE = 10_000
BATCH = 100
BOUND_MS = 200
# Time for a run to begin.
PATIENCE_S = 0.01


def lag(bench: Bench) -> Iterator[Figure]:
    """From an event's instant to the call for it, at 10,000 events a second."""
    count = RATE * bench.pick(10, 1)
    lags_us: list[int] = []
    with Queue(bench.url(), workers=1) as queue:

        @queue.follow("lag", kinds=["created"], since=0)
        def _note(event: Event) -> None:
            lags_us.append(time.time_ns() // 1_000 - event.at)

        run = threading.Thread(
            target=lambda: queue.run(lambda _ctx, _task: None, lanes=["none"], signals=False)
        )
        run.start()
        while not queue.followers():
            time.sleep(PATIENCE_S)
        took_s = _create(queue, count)
        ends_s = time.monotonic() + CHILD_PATIENCE_S
        while len(lags_us) < count:
            if time.monotonic() > ends_s:
                raise RuntimeError(f"of {count} events {len(lags_us)} were followed")
            time.sleep(PATIENCE_S)
        queue.stop()
        run.join()
    lags_us.sort()
    floor = Floor(BOUND_MS, at_most=True)
    yield Figure("events that came in", count / took_s, "events/s")
    yield Figure("half", median(lags_us) / 1_000, "ms", floor)
    yield Figure(f"the slowest of {count}", lags_us[-1] / 1_000, "ms", floor)


def _create(queue: Queue, count: int) -> float:
    """Makes tasks that nobody runs, at an even rate; returns how long that took."""
    begun_s = time.monotonic()
    for made in range(0, count, BATCH):
        queue.new_many([{} for _ in range(BATCH)], lane="elsewhere")
        time.sleep(max(0.0, begun_s + (made + BATCH) / RATE - time.monotonic()))
    return time.monotonic() - begun_s
