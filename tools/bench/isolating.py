"""What a process for an attempt costs: how many a second, to begin one, and to kill a runaway."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from eventq import Context, Handlers, Queue
from tools.bench.bench import Bench
from tools.bench.report import Figure, Floor

handlers = Handlers()

# What a runaway may take beyond its deadline and `kill_after`.
DEADLINE_S = 0.3
KILL_AFTER_S = 0.2
MARGIN_S = 1.0


@handlers.task(isolate=True)
def nothing(number: int) -> None:
    """Does nothing, elsewhere."""


@handlers.task(isolate=True, deadline=DEADLINE_S, kill_after=KILL_AFTER_S, backoff=0)
def run_away(ctx: Context, path: str) -> None:
    """Computes without end, and ignores SIGTERM; but not the second time."""
    if ctx.task.attempt > 1:
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert ctx.deadline is not None, "it has one"
    Path(path).write_text(ctx.deadline.isoformat())
    while True:
        pass


def isolated(bench: Bench) -> Iterator[Figure]:
    """Attempts that do nothing in one slot, the first of a process, and one that is killed."""
    with Queue(bench.url(), workers=1, handlers=[handlers]) as queue:
        queue.new(nothing, 0)
        began_s = time.perf_counter()
        queue.run(until="idle", signals=False)
        first_s = time.perf_counter() - began_s
        yield Figure("first attempt of a process", 1_000 * first_s, "ms")
        count = bench.pick(2_000, 20)
        queue.new_many(nothing.spec(number) for number in range(count))
        queue.run(until="idle", signals=False)
        # Its process is another one, which had to begin: so from the first commit of outcomes on.
        ends = [event.at for event in queue.events() if event.kind == "completed"][1:]
        late = sum(at > ends[0] for at in ends)
        rate = 1e6 * late / max(1, ends[-1] - ends[0])
        yield Figure("isolated attempts, one slot, warm", rate, "attempts/s", Floor(300))
        yield _killed(queue, bench.path())


def _killed(queue: Queue, path: Path) -> Figure:
    """From the deadline to the next lease of what was killed."""
    task = queue.new(run_away, str(path))
    queue.run(until="idle", signals=False)
    *_, again = (event for event in queue.history(task.key) if event.kind == "leased")
    deadline = datetime.fromisoformat(path.read_text())
    return Figure(
        "deadline to next lease of a runaway",
        again.at / 1_000 - 1_000 * deadline.timestamp(),
        "ms",
        Floor(1_000 * (KILL_AFTER_S + MARGIN_S), at_most=True),
    )
