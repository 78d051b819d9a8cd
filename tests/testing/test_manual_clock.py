"""The clock for tests: moving it wakes a run, and a run until idle moves it to a retry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from eventq import ArgumentError, Queue, Task, WaitTimeoutError
from eventq.handlers.context import Context
from eventq.host.clock import MovedClock
from eventq.testing import START, ManualClock
from tests.checker import check_log
from tests.support import (
    Gate,
    Spawned,
    final,
    kinds,
    lease,
    look,
    node_of,
    running,
    wait_until,
)


@pytest.fixture
def clock() -> ManualClock:
    """The clock under test."""
    return ManualClock()


@pytest.fixture
def queue(clock: ManualClock) -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, backoff="10m", clock=clock) as queue:
        yield queue
        check_log(queue.log)


def test_it_stands_still_until_it_is_moved() -> None:
    """Both senses of time move together, on only, by what a duration can be."""
    clock = ManualClock(datetime(2031, 2, 3, tzinfo=UTC))
    before = clock.now_us(), clock.monotonic()
    clock.forward("90s")
    clock.forward(timedelta(milliseconds=500))

    after = clock.now_us(), clock.monotonic()

    assert isinstance(clock, MovedClock)
    assert before == (1_927_843_200_000_000, 0.0)
    assert after == (before[0] + 90_500_000, 90.5)
    for wrong in (-1, "soon", None):
        with pytest.raises(ArgumentError, match="expected"):
            clock.forward(wrong)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="start"):
        ManualClock(datetime(2031, 2, 3))  # noqa: DTZ001 - what is wrong with it


def test_a_run_until_idle_moves_it_to_a_retry(queue: Queue, clock: ManualClock) -> None:
    """Exactly there, with nobody else to move it."""
    queue.new(key="k")
    began: list[float] = []

    def fails_twice(_ctx: Context, task: Task) -> None:
        began.append(clock.monotonic())
        assert task.attempt == 3

    report = queue.run(fails_twice, until="idle")

    assert (report.completed, report.failed) == (1, 2)
    assert began == [0.0, 600.0, 1_800.0]


def test_a_run_until_idle_moves_it_for_nothing_else(queue: Queue, clock: ManualClock) -> None:
    """Tasks for later are left, and a running attempt keeps its deadline."""
    queue.new(key="later", delay="1h")
    queue.new(key="now", deadline="5s")
    gate = Gate()

    with running(queue, lambda _ctx, _task: gate(), until="idle") as run:
        wait_until(gate.reached.is_set)
        gate.open()
        run.result()

    assert clock.monotonic() == 0.0
    assert final(queue, "later").state == "scheduled"
    assert kinds(queue, "now") == ["created", "leased", "completed"]


def test_moving_it_wakes_a_run(queue: Queue, clock: ManualClock) -> None:
    """What is due by then begins at once, and what is late by then is told."""
    queue.new(key="k", delay="1h", deadline="1m", max_retries=0)
    began = Gate()

    def sleeps(ctx: Context, _task: Task) -> None:
        began.reached.set()
        ctx.sleep("1d")

    with running(queue, sleeps):
        look(queue)
        clock.forward("1h")
        wait_until(began.reached.is_set)
        look(queue)
        clock.forward("1m")
        wait_until(lambda: not queue.tasks())

    error = final(queue, "k").last_error
    assert error is not None
    assert error.type == "eventq.DeadlineExceededError"
    assert clock.now_us() == (START.timestamp() + 3_660) * 1_000_000
    assert clock._wakes == []


def test_a_dead_nodes_lease_does_not_hang_a_run_until_idle(
    queue: Queue, clock: ManualClock
) -> None:
    """The clock goes on until the lease has lapsed, since nobody else would move it."""
    queue.new(key="k")
    queue.new(key="later", delay="1h")
    lease(queue, ttl_us=30_000_000)
    node_of(queue).after_fork()

    report = queue.run(lambda _ctx, _task: None, until="idle")

    assert report.completed == 1
    assert kinds(queue, "k") == ["created", "leased", "failed", "retried", "leased", "completed"]
    assert 30.0 <= clock.monotonic() < 30.5


def test_a_clock_that_two_runs_share_goes_on_when_both_rest(clock: ManualClock) -> None:
    """To the first of their instants, once; while one of them works, it stands."""
    gate = Gate()
    began: list[float] = []

    def works(_ctx: Context, task: Task) -> None:
        if task.key == "slow":
            gate()
        else:
            began.append(clock.monotonic())
            assert task.attempt == 3

    with (
        Queue("memory://shared-clock", workers=1, backoff="10m", clock=clock) as one,
        Queue("memory://shared-clock", workers=1, backoff="10m", clock=clock) as two,
    ):
        one.new(key="slow", priority=1)
        with running(one, works, until="idle") as first:
            wait_until(gate.reached.is_set)
            one.new(key="retried")
            with running(two, works, until="idle") as second:
                wait_until(lambda: began)
                look(two)
                stood_at = clock.monotonic()
                gate.open()
                first.result()
                second.result()
        check_log(one.log)

    assert stood_at == 0.0
    assert began == [0.0, 600.0, 1_800.0]


def test_moving_it_wakes_whoever_waits_for_a_task(queue: Queue, clock: ManualClock) -> None:
    """A timeout goes by this clock, and does not keep a run from moving it."""
    key = queue.new().key
    waiting = Spawned(queue.wait, key, timeout="1h")
    wait_until(lambda: clock._wakes)

    clock.forward("59m")
    assert waiting.running
    clock.forward("1m")

    with pytest.raises(WaitTimeoutError, match="it is ready"):
        waiting.result()
