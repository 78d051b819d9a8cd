"""What flows cost: the same tasks made and run with and without one; and a long chain's end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

from eventq import Fail, Queue
from tools.bench.bench import Bench, held_against, in_turns
from tools.bench.report import Figure, Floor

MEMBERS = 900


def flows(bench: Bench) -> Iterator[Figure]:
    """Flows of 900 members and two finalisers, against the same tasks made by `new_many`."""
    count, rounds = bench.pick(10, 1), bench.pick(3, 1)
    plain: list[tuple[float, float]]
    flowed: list[tuple[float, float]]
    plain, flowed = in_turns(
        lambda: _rates(bench, count, in_flows=False),
        lambda: _rates(bench, count, in_flows=True),
        rounds,
    )
    for place, measure in ((0, "flow made"), (1, "flow drained")):
        bases, ours = ([sample[place] for sample in samples] for samples in (plain, flowed))
        yield Figure(measure, median(ours), "tasks/s")
        ratio = held_against(bases, ours)
        yield Figure(f"{measure}, of the same tasks without", ratio, "of plain", Floor(0.5))


def chains(bench: Bench) -> Iterator[Figure]:
    """A chain of tasks, each after the one before, cancelled by the failure of the first."""
    count = bench.pick(10_000, 500)
    with Queue(bench.url(), workers=2) as queue:

        @queue.task
        def end() -> None:
            raise Fail("no")

        last = end.using(delay="1d").new()
        first = last
        for _ in range(count):
            last = queue.new({}, after=last)
        queue.retry(first.key)
        began_s = time.perf_counter()
        queue.run(until="idle", signals=False)
        took_s = time.perf_counter() - began_s
        assert queue.stats().cancelled == count, "the whole chain is cancelled"
    yield Figure(f"chain of {count:,} cancelled", took_s, "s")


def _rates(bench: Bench, count: int, *, in_flows: bool) -> tuple[float, float]:
    """Tasks a second: made, and then run."""
    with Queue(bench.url(), workers=2) as queue:

        @queue.task
        def no_op(number: int) -> None:
            pass

        began_s = time.perf_counter()
        for _ in range(count):
            if not in_flows:
                queue.new_many([no_op.spec(number) for number in range(MEMBERS + 2)])
                continue
            with queue.flow() as flow:
                for number in range(MEMBERS):
                    flow.new(no_op, number)
                flow.finally_(no_op, 1)
                flow.finally_(no_op, 2)
        made_s = time.perf_counter()
        queue.stats()
        read_s = time.perf_counter()
        queue.run(until="idle", signals=False)
        total = count * (MEMBERS + 2)
        return total / (made_s - began_s), total / (time.perf_counter() - read_s)
