"""Running a recorded attempt again: what it is given, and how outcomes compare."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import Any

import pytest

from eventq import Cancel, Queue, Retry, Task
from eventq.sandbox import rerun
from eventq.sandbox.rerun import compare
from tests.core.bench import ERROR, Bench, order
from tests.deciding import cancel
from tests.driver import record
from tests.sandbox.trying import (
    Worker,
    again,
    end,
    fall_silent,
    new_memory_url,
    raising,
    read_only,
    recorded,
    returning,
    work,
)
from tests.support import ManualClock


def label(value: object) -> str | None:
    """A name for a worker in a test's id."""
    return f"worker-{next(_labels)}" if callable(value) else None


_labels = itertools.count()


# -- the verdict -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_the_same_worker_gives_the_same(n: int) -> None:
    """Failed, Retry, Cancel, nothing, a result that cannot be kept, and a result."""
    log = recorded(work, tags={"n": n}, max_retries=0)

    found = again(log)

    assert (found.verdict, found.differs) == ("same", None)
    assert found.here.kind == found.recorded.ended.kind


@pytest.mark.parametrize(
    "n, worker, verdict, differs",
    [
        (6, returning({"b": 6, "a": [1, None]}), "same", None),
        (6, returning({"b": 6, "a": [1, 0]}), "other result", "result"),
        (6, returning(None), "other result", "result"),
        (6, returning(object()), "other result", "whether a result is kept"),
        (5, returning(5), "other result", "whether a result is kept"),
        (4, returning(0), "other result", "result"),
        (1, raising(ValueError("other input")), "other error", "error message"),
        (1, raising(TypeError("bad input")), "other error", "error type"),
        (1, raising(Retry("bad input")), "other error", "error type"),
        (1, raising(SystemExit(3)), "other error", "error type"),
        (3, raising(Cancel("other")), "other error", "error message"),
        (1, returning(1), "other outcome", "outcome"),
        (1, raising(Cancel("bad input")), "other outcome", "outcome"),
        (6, raising(ValueError()), "other outcome", "outcome"),
        (3, raising(ValueError("pointless")), "other outcome", "outcome"),
    ],
    ids=label,
)
def test_what_differs_is_named(n: int, worker: Worker, verdict: str, differs: str | None) -> None:
    """Results are compared as JSON, errors by type and then message."""
    log = recorded(work, tags={"n": n}, max_retries=0)

    found = again(log, worker)

    assert (found.verdict, found.differs) == (verdict, differs)


def test_a_fixed_worker_shows_both_outcomes() -> None:
    """The recorded error with its traceback, and the new result."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    found = again(log, returning("fine"))

    assert found.recorded.ended.error is not None
    assert found.recorded.ended.error.message == "bad input"
    assert "in work" in found.recorded.ended.error.traceback
    assert found.here.result_json == b'"fine"'


def test_the_traceback_begins_in_the_worker() -> None:
    """As in the log, no frame of ours stands in it."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    found = again(log)

    assert found.here.error is not None
    assert found.recorded.ended.error is not None
    assert found.here.error == found.recorded.ended.error


def test_the_wait_a_retry_asks_for_is_told() -> None:
    """A Retry's own delay stands beside its error."""
    log = recorded(work, tags={"n": 2}, max_retries=0)

    found = again(log)

    assert found.here.delay_us == 3_600_000_000


# -- what the worker is given ----------------------------------------------------------------------


def test_the_task_is_as_it_was_leased() -> None:
    """Each attempt has its own tags, priority, number and fence, whatever came later."""
    seen: list[tuple[Task, int]] = []
    given: list[tuple[Task, int]] = []

    def first(ctx: Any, task: Task) -> None:  # noqa: ANN401
        seen.append((task, ctx.fence))
        if task.attempt == 1:
            raise Retry(delay=0)

    log = recorded(first, tags={"n": [1, {"x": "y"}]})
    for number in (1, 2, None):
        again(log, lambda ctx, task: given.append((task, ctx.fence)), attempt=number)

    assert given == [*seen, seen[-1]]
    assert [task.attempt for task, _ in given] == [1, 2, 2]


def test_an_update_after_the_attempt_is_not_seen() -> None:
    """Tags and priority are those of the lease."""
    with Queue(new_memory_url(), max_retries=0) as queue:
        queue.new({"n": 1}, key="task", priority=7)
        queue.run(work, until="idle")
        queue.retry("task")
        queue.update("task", priority=9, tags={"n": 6})
        log = read_only(queue.url)
    given: list[Task] = []

    found = again(log, lambda _ctx, task: given.append(task))

    assert (given[0].tags, given[0].priority) == ({"n": 1}, 7)
    assert found.recorded.ended.kind == "failed"


def test_the_deadline_is_as_far_away_as_it_was() -> None:
    """The context's time goes on from the lease; what is left counts from now."""
    log = recorded(work, tags={"n": 4}, deadline="20s")
    seen: list[Any] = []
    clock = ManualClock()

    def look(ctx: Any, task: Task) -> None:  # noqa: ANN401
        clock.advance(5)
        seen.extend([ctx.remaining(), ctx.deadline, ctx.cancelled, task.seen_at_us])

    found = again(log, look, clock=clock)

    assert seen[0] == 15
    assert (seen[1].timestamp() * 1e6 - seen[3]) == pytest.approx(20e6, abs=1)
    assert seen[2] is False
    assert found.here_us == 5_000_000


def test_past_the_deadline_the_attempt_has_failed() -> None:
    """ctx.check raises, and what the worker returns all the same is of no use, as in a run."""
    log = recorded(work, tags={"n": 4}, deadline="20s")
    clock = ManualClock()
    told: list[bool] = []

    def late(ctx: Any, _task: Task) -> str:  # noqa: ANN401
        clock.advance(21)
        told.append(ctx.cancelled)
        return "done"

    found = again(log, late, clock=clock)

    assert told == [True]
    assert found.here.error is not None
    assert found.here.error.type == "eventq.DeadlineExceededError"
    assert found.verdict == "other outcome"


def test_a_sleep_ends_at_the_deadline() -> None:
    """A def worker's ctx.sleep wakes, and an async one is cancelled."""
    log = recorded(work, tags={"n": 4}, deadline="30ms")
    cleaned: list[str] = []

    def sleeps(ctx: Any, _task: Task) -> None:  # noqa: ANN401
        ctx.sleep("1h")

    async def awaits(_ctx: object, _task: Task) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("cleaned up")

    for worker in (sleeps, awaits):
        found = again(log, worker)
        assert found.here.error is not None
        assert found.here.error.type == "eventq.DeadlineExceededError"
        assert found.here_us >= 30_000

    assert cleaned == ["cleaned up"]


def test_extend_moves_the_deadline_here_only() -> None:
    """It does no harm: the worker goes on, and nothing is recorded."""
    log = recorded(work, tags={"n": 4}, deadline="20s")
    clock = ManualClock()

    async def extends(ctx: Any, _task: Task) -> None:  # noqa: ANN401
        clock.advance(15)
        ctx.extend()
        clock.advance(15)
        ctx.check()

    found = again(log, extends, clock=clock)

    assert found.verdict == "same"


def test_an_expiry_long_past_leaves_the_time_there_was() -> None:
    """A task that has expired since runs as long as it might have then."""
    log = recorded(work, tags={"n": 4}, max_age="1h", clock=ManualClock())
    left: list[float] = []

    again(log, lambda ctx, _task: left.append(ctx.remaining()))

    assert 3_500 < left[0] <= 3_600


# -- async -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_async_workers_end_as_others_do(n: int) -> None:
    """Each outcome of an async def, also of an object or a partial that makes a coroutine."""

    async def worker(_extra: object, ctx: Any, task: Task) -> object:  # noqa: ANN401
        await ctx.sleep(0)
        return work(ctx, task)

    log = recorded(partial(worker, None), tags={"n": n}, max_retries=0)

    found = again(log, partial(worker, None))

    assert (found.verdict, found.differs) == ("same", None)


# -- attempts without an outcome of the worker -----------------------------------------------------


def test_a_lapsed_attempt_has_nothing_to_compare() -> None:
    """The node fell silent: what the worker did is not known, unless it came too late."""
    bench = Bench()
    [number] = bench.have(order())
    [fence] = bench.lease("dead")
    fall_silent(bench, "dead", fence, 200)
    end(bench, number, fence, "completed", 300, worker="dead")

    found = rerun(bench.log, str(number), returning(None))

    assert found.verdict == "nothing to compare"
    assert found.recorded.ended.kind == "lapsed"
    assert found.recorded.ended.late == "completed"
    assert found.here.kind == "completed"
    assert found.recorded_us == 100


def test_what_came_too_late_is_told_of_its_own_attempt() -> None:
    """Not of the one that runs meanwhile."""
    bench = Bench()
    bench.have(order())
    [fence] = bench.lease("dead")
    fall_silent(bench, "dead", fence, 200)
    [second] = bench.lease("node", now=210)
    end(bench, 1, fence, "failed", 300, worker="dead", error=ERROR)
    fall_silent(bench, "node", second, 400)

    found = [rerun(bench.log, "1", returning(None), attempt=n).recorded.ended for n in (1, 2)]

    assert [(ended.kind, ended.late) for ended in found] == [
        ("lapsed", "failed"),
        ("lapsed", None),
    ]


@pytest.mark.parametrize("kind", ["released", "called off", "running"])
def test_other_attempts_without_an_outcome(kind: str) -> None:
    """Given back, called off, or still running: run here all the same, and told as such."""
    bench = Bench()
    [number] = bench.have(order())
    [fence] = bench.lease("node")
    projection = bench.projection
    if kind == "released":
        end(bench, number, fence, "released", 200)
    elif kind == "called off":
        drafts = cancel(projection.tasks[number], reason="no", by=None)
        record(bench.log, projection, drafts, now=200)

    found = rerun(bench.log, str(number), returning(None))

    assert (found.recorded.ended.kind, found.verdict) == (kind, "nothing to compare")
    assert (found.recorded_us is None) == (kind == "running")
    assert compare(found.recorded.ended, found.here) == ("nothing to compare", None)
