"""What following tasks with spans costs: ``python -m tools.bench.tracing``.

Drains of tasks of 1 ms, in pairs: one without, one with an SDK whose spans go to nobody. The
medians of the pairs' differences are told, by the wall clock and in CPU time of the whole process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

import eventq
from eventq.contrib.otel import instrument

TASKS = 2_000
PAIRS = 15
WORKERS = 4
SAMPLERS: dict[str, Sampler] = {"all": ALWAYS_ON, "none": ALWAYS_OFF}


class Nowhere(SpanExporter):
    """Takes all spans, and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002
        """See SpanExporter."""
        return SpanExportResult.SUCCESS


class Cost(NamedTuple):
    """Seconds of one drain."""

    wall_s: float
    cpu_s: float


def main() -> None:
    """Prints a line for each way of sampling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="1 ms of work, instead of waiting")
    parser.add_argument("--empty", action="store_true", help="tasks that do nothing")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    given = parser.parse_args()
    work = _work if given.busy else (_nothing if given.empty else _wait)
    for name, sampler in SAMPLERS.items():
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(BatchSpanProcessor(Nowhere()))
        drain(work, None)
        drain(work, provider)
        pairs = []
        for turn in range(given.pairs):
            ways = [None, provider] if turn % 2 else [provider, None]
            costs = [drain(work, way) for way in ways]
            pairs.append(costs if turn % 2 else costs[::-1])
        print(f"{name} sampled: {shown(pairs)}")
        provider.shutdown()


def shown(pairs: list[list[Cost]]) -> str:
    """The medians of pairs without and with spans."""
    wall = statistics.median(much.wall_s / little.wall_s - 1 for little, much in pairs)
    cpu = statistics.median(much.cpu_s / little.cpu_s - 1 for little, much in pairs)
    each_us = statistics.median((much.cpu_s - little.cpu_s) for little, much in pairs) / TASKS * 1e6
    base_us = statistics.median(little.cpu_s for little, _ in pairs) / TASKS * 1e6
    return f"wall {wall:+.1%}, CPU {cpu:+.1%} ({base_us:.0f} us a task, {each_us:+.0f} us)"


def drain(work: Callable[[], None], provider: TracerProvider | None) -> Cost:
    """What one drain takes: by the clock the run, in CPU time also the last span handed on."""
    with (
        tempfile.TemporaryDirectory(prefix="eventq-tracing-") as folder,
        eventq.Queue(f"sqlite:///{folder}/tasks.db", workers=WORKERS) as queue,
    ):
        handler = queue.task("work")(work)
        traced = None if provider is None else instrument(queue, tracer_provider=provider)
        queue.new_many([handler.spec() for _ in range(TASKS)])
        wall_s, cpu_s = time.monotonic(), time.process_time()
        queue.run(until="idle", signals=False)
        wall_s = time.monotonic() - wall_s
        if traced is not None:
            # Its spans are ended a little later, which is a cost, too.
            traced.close()
        return Cost(wall_s, time.process_time() - cpu_s)


def _wait() -> None:
    time.sleep(0.001)


def _nothing() -> None:
    pass


def _work() -> None:
    ends_s = time.thread_time() + 0.001
    while time.thread_time() < ends_s:
        pass


if __name__ == "__main__":
    main()
