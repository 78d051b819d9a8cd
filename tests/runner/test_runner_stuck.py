"""Workers that ignore that they should end: what is said of them, and what ends the run."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest

from eventq import ArgumentError, Queue, Task, WorkersStuckError
from eventq.handlers.context import Context
from eventq.handlers.work import work_of_worker
from eventq.host.clock import SystemClock
from eventq.runner.attempt import Attempt, LeaseTime
from eventq.runner.stuck import ALL_STUCK as ALL
from eventq.runner.stuck import ONE_STUCK as ONE
from eventq.runner.stuck import REPEAT_S, StuckWatch
from tests.support import (
    Gate,
    ManualClock,
    ends,
    kinds,
    nudge,
    pass_time,
    runner_of,
    running,
    wait_until,
)

Said = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], Said]:
    """What was said of stuck workers so far; the log is cleared."""
    caplog.set_level(logging.WARNING, logger="eventq.runner")

    def take() -> Said:
        names = ("task", "since_s", "tasks", "workers")
        taken = [
            (str(record.msg), {n: vars(record)[n] for n in names if n in vars(record)})
            for record in caplog.records
            if "stuck" in record.message
        ]
        caplog.clear()
        return taken

    return take


def begun(key: str) -> Attempt:
    """An attempt that a worker is at."""
    with Queue("memory://") as queue:
        task = queue.new(key=key)
    attempt = Attempt(
        task,
        Context(task, SystemClock()),
        work_of_worker(lambda _ctx, _task: None),
        LeaseTime(math.inf),
    )
    attempt.begin(0.0)
    return attempt


def test_a_stuck_worker_is_named_once(said: Callable[[], Said]) -> None:
    """After the moment that a worker needs to look at its context; another one is free."""
    watch, attempt = StuckWatch(workers=2, most_s=None), begun("a")

    assert watch.pause_s(100.0) == float("inf")
    assert not watch.look({attempt}, 100.0)
    assert watch.pause_s(100.0) == 1.0
    assert said() == []
    watch.look({attempt}, 101.0)
    watch.look({attempt}, 500.0)
    assert said() == [(ONE, {"task": "a", "since_s": 1.0})]
    assert watch.pause_s(500.0) == float("inf")


def test_when_all_are_stuck_it_is_said_each_minute(said: Callable[[], Said]) -> None:
    """At once, and again, which tasks and for how long; it ends when one worker comes back."""
    watch, one, other = StuckWatch(workers=2, most_s=None), begun("a"), begun("b")
    watch.look({one}, 100.0)
    watch.look({one, other}, 103.0)
    said()

    watch.look({one, other}, 104.0)
    assert said()[-1] == (ALL, {"workers": 2, "tasks": "a (4.0 s), b (1.0 s)"})
    assert watch.pause_s(104.0) == REPEAT_S
    watch.look({one, other}, 163.9)
    assert said() == []
    watch.look({one, other}, 164.0)
    assert said() == [(ALL, {"workers": 2, "tasks": "a (64.0 s), b (61.0 s)"})]
    watch.look({one}, 300.0)
    watch.look(set(), 301.0)
    assert said() == []
    assert watch.pause_s(301.0) == float("inf")


def test_the_bound_counts_from_the_last_worker(said: Callable[[], Said]) -> None:
    """It is reached only when all have been stuck for so long, without a break."""
    watch, one, other = StuckWatch(workers=2, most_s=10.0), begun("a"), begun("b")
    watch.look({one}, 100.0)
    watch.look({one, other}, 150.0)

    assert not watch.look({one, other}, 151.0)
    assert watch.pause_s(151.0) == 9.0
    assert not watch.look({one, other}, 159.9)
    assert watch.look({one, other}, 160.0)
    said()


def test_who_has_not_begun_or_has_ended_is_not_stuck(said: Callable[[], Said]) -> None:
    """Only a worker that is at it can be."""
    watch, attempt = StuckWatch(workers=1, most_s=1.0), begun("a")
    attempt.begun_s = None
    watch.look({attempt}, 100.0)

    assert not watch.look({attempt}, 200.0)
    assert said() == []


def test_a_run_says_that_it_is_stuck_and_ends_when_told_so(said: Callable[[], Said]) -> None:
    """The lease is over, nothing else was leased, and the error names the number of workers."""
    clock, gate = ManualClock(), Gate()
    with Queue("memory://", workers=1, clock=clock, max_retries=0) as queue:
        queue.new(key="k", deadline="30s")

        def worker(_: Context, task: Task) -> None:
            if task.key == "k":
                gate()

        with running(queue, worker, max_stuck="5m") as run:
            assert gate.reached.wait(60)
            pass_time(queue, clock, 30)
            wait_until(ends(queue, "k"))
            queue.new(key="next")
            waited: Said = []

            def has_said(message: str) -> bool:
                nudge(queue)
                waited.extend(said())
                return any(each == message for each, _ in waited)

            # Moved on only once the run has looked: it counts from there.
            wait_until(lambda: runner_of(queue).lookout.stuck.strays)
            clock.advance(1)
            wait_until(lambda: has_said(ALL))
            assert (ONE, {"task": "k", "since_s": 1.0}) in waited
            waited.clear()
            clock.advance(60)
            wait_until(lambda: has_said(ALL))
            assert run.running
            clock.advance(240)
            nudge(queue)
            wait_until(lambda: not run.running)
            gate.open()

        assert isinstance(run.error, WorkersStuckError)
        assert run.error.workers == 1
        assert kinds(queue, "next") == ["created"]


@pytest.mark.parametrize("value", [0, "x", -1])
def test_max_stuck_is_a_duration(value: object) -> None:
    """Checked before anything runs."""
    with Queue("memory://") as queue, pytest.raises(ArgumentError, match="max_stuck"):
        queue.run(lambda *_: None, max_stuck=value)  # type: ignore[arg-type]
