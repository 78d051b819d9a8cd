"""How long changes to many tasks take, and to take one of them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

from eventq import Queue
from eventq.catalog.catalog import Catalog
from tools.bench.bench import Bench, used_cpu_s
from tools.bench.report import Figure, Floor
from tools.bench.work import fill

T = TypeVar("T")

# What 100,000 tasks may take.
BOUND = Floor(20, at_most=True)


def bulk(bench: Bench) -> Iterator[Figure]:
    """Tasks are cancelled, retried, and the retry is taken back; previewed by a pass, or not."""
    count = bench.pick(100_000, 1_000)
    path = bench.directory / "many.catalog"
    with Queue(bench.url(), catalog=path) as queue:
        fill(queue, count)
        cancel, *figures = timed(f"{count:,} tasks are found", queue.select(state="ready").cancel)
        yield from figures
        _, *figures = timed("they are cancelled", cancel.apply, BOUND)
        yield from figures
        with closing(Catalog.open(queue.log, path)) as catalog:
            catalog.catch_up()
        preview = queue.select(state="cancelled").retry
        retry, *figures = timed("they are found by the catalog", preview, Floor(1, at_most=True))
        yield from figures
        retried, *figures = timed("they are retried", retry.apply, BOUND)
        yield from figures
        undo, *figures = timed("what an undo is about is found", lambda: queue.undo(retried.id))
        yield from figures
        undone, *figures = timed("the retry is taken back", undo.apply, BOUND)
        yield from figures
        assert undone.changed == count, "all are as they were"


def timed(what: str, call: Callable[[], T], floor: Floor | None = None) -> tuple[T, Figure, Figure]:
    """What it returns, how long it took, and what of that was CPU time of this process."""
    began_s, cpu_s = time.perf_counter(), used_cpu_s()
    found = call()
    took_s, cpu_s = time.perf_counter() - began_s, used_cpu_s() - cpu_s
    return found, Figure(what, took_s, "s", floor), Figure(f"{what}: CPU", cpu_s, "s")
