"""Whether a log that holds a million events, or pending tasks, is as fast as an empty one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard, held_against, in_turns, paced
from tools.bench.report import Figure, Floor
from tools.bench.work import fill, no_op, three_tags

# A task that is created, leased and completed has so many.
EVENTS_A_TASK = 3


def full(bench: Bench) -> Iterator[Figure]:
    """Each rate on a full log over that on an empty one; either process has read its log."""
    million = bench.pick(1_000_000, 3_000)
    for what, drained, pending, bound in (
        ("1 million events", million // EVENTS_A_TASK, 0, 0.95),
        ("1 million pending", 0, million, 0.85),
    ):
        logs = [(bench.url(), drained, pending, bench.quick), (bench.url(), 0, 0, bench.quick)]
        with children(serve, logs) as (loaded, empty):
            for rate in RATES:
                bases, others = in_turns(
                    partial(_ask, empty, rate), partial(_ask, loaded, rate), bench.pick(3, 1)
                )
                ratio = held_against(bases, others)
                yield Figure(f"{rate}, {what}", ratio, "of empty", Floor(bound))
            for child in (loaded, empty):
                child.send(None)


def serve(connection: Connection, url: str, drained: int, pending: int, quick: bool) -> None:  # noqa: FBT001
    """A child with a log of so many tasks, that sends its rates when asked for them."""
    with Queue(url, workers=2) as queue:
        fill(queue, drained)
        queue.run(no_op, until="idle")
        fill(queue, pending)
        queue.stats()
        # What the filling has made due, such as a snapshot, is written in this one.
        _drain(queue, quick)
        connection.send("ready")
        while (rate := connection.recv()) is not None:
            taken = RATES[rate](queue, quick)
            if not pending:
                # What one sample leaves behind would count in the next. And not after the answer:
                # then the other log's sample begins, which this would slow down.
                queue.run(no_op, until="idle")
            connection.send(taken)


def _ask(child: Connection, rate: str) -> float:
    child.send(rate)
    answer: float = heard(child)
    return answer


def _lone(queue: Queue, quick: bool) -> float:  # noqa: FBT001 - as all rates have it
    tags = three_tags(1)
    return paced(lambda: queue.new(tags), 0.05 if quick else 0.5).a_second


def _new_many(queue: Queue, quick: bool) -> float:  # noqa: FBT001 - as all rates have it
    return fill(queue, 1_000 if quick else 50_000)


def _drain(queue: Queue, quick: bool) -> float:  # noqa: FBT001 - as all rates have it
    """Tasks that come before all others are drained, and then the run is stopped."""
    count = 500 if quick else 50_000
    fill(queue, count, priority=1)
    numbers, ended_s = itertools.count(1), 0.0

    def counting(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
        nonlocal ended_s
        if next(numbers) == count:
            ended_s = time.perf_counter()
            queue.stop()

    began_s = time.perf_counter()
    queue.run(counting)
    return count / (ended_s - began_s)


RATES: dict[str, Callable[[Queue, bool], float]] = {
    "lone new()": _lone,
    "new_many": _new_many,
    "drain": _drain,
}
