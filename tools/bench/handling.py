"""What handlers cost: the same tasks made and run by a handler and by a plain worker, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from eventq import Queue, Task, TaskSpec
from tools.bench.bench import Bench, held_against, in_turns
from tools.bench.report import Figure, Floor

BATCH = 1_000


def handlers(bench: Bench) -> Iterator[Figure]:
    """A no-op handler with two typed arguments, against ``run(worker)`` of the same tasks."""
    count, rounds = bench.pick(50_000, 2_000), bench.pick(3, 1)
    plain: list[tuple[float, float]]
    typed: list[tuple[float, float]]
    plain, typed = in_turns(lambda: _plain(bench, count), lambda: _typed(bench, count), rounds)
    for place, measure, floor in ((0, "new_many of specs", 0.7), (1, "drain of a handler", 0.75)):
        bases, ours = ([sample[place] for sample in samples] for samples in (plain, typed))
        yield Figure(measure, median(ours), "tasks/s")
        ratio = held_against(bases, ours)
        yield Figure(f"{measure}, of plain tags and a worker", ratio, "of plain", Floor(floor))


def _plain(bench: Bench, count: int) -> tuple[float, float]:
    def worker(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
        pass

    with Queue(bench.url(), workers=2) as queue:
        return _rates(
            queue,
            count,
            lambda numbers: queue.new_many([{"number": n, "path": "x.png"} for n in numbers]),
            lambda: queue.run(worker, until="idle").completed,
        )


def _typed(bench: Bench, count: int) -> tuple[float, float]:
    with Queue(bench.url(), workers=2) as queue:

        @queue.task
        def no_op(number: int, path: str) -> None:
            pass

        def specs(numbers: range) -> list[TaskSpec]:
            return [no_op.spec(number, path="x.png") for number in numbers]

        return _rates(
            queue,
            count,
            lambda numbers: queue.new_many(specs(numbers)),
            lambda: queue.run(until="idle").completed,
        )


def _rates(
    queue: Queue, count: int, create: Callable[[range], object], drain: Callable[[], int]
) -> tuple[float, float]:
    """Tasks a second: made, and then run."""
    began_s = time.perf_counter()
    for start in range(0, count, BATCH):
        create(range(start, start + BATCH))
    made_s = time.perf_counter()
    # The first fold of what is there is another measure's business.
    queue.stats()
    read_s = time.perf_counter()
    assert drain() == count, "every task is completed once"
    return count / (made_s - began_s), count / (time.perf_counter() - read_s)
