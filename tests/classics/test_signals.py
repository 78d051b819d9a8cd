"""Signals and deaths: what a run leaves behind that is told to end, or that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from eventq import Handlers, Queue
from eventq.core.commits import Commit
from eventq.testing import harness
from tests.classics.nodes import Slow
from tests.runner import isolated
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    Spawned,
    final,
    kinds,
    look,
    nudge,
    runner_of,
    running,
    wait_until,
)


@contextmanager
def ending(queue: Queue, gate: Gate) -> Iterator[None]:
    """Has the run of the main thread end, whatever happens in the block."""
    try:
        yield
    finally:
        gate.open()
        queue.stop()
        queue.stop()


def test_renewal_goes_on_while_a_run_drains_on_sigterm(
    queue: Queue, clock: ManualClock, judge: Queue, judges_clock: ManualClock
) -> None:
    """Elsewhere SIGTERM stopped the heartbeat first, and what was finishing was run twice.

    Here leases are renewed until the last task has ended, for many times their length.
    """
    queue.new(key="k")
    gate = Gate()

    def drive() -> None:
        with ending(queue, gate):
            wait_until(gate.reached.is_set)
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: runner_of(queue).stopping.asked_count == 1)
            with running(judge, lambda _ctx, _task: "stolen", signals=False, lease_ttl="3s"):
                for _ in range(10):
                    seq = queue.log.head().seq
                    clock.advance(1)
                    nudge(queue)
                    wait_until(lambda seq=seq: queue.log.head().seq > seq, "a renewal")  # type: ignore[misc]
                    judges_clock.advance(1)
                    look(judge)
            gate.open()
            wait_until(lambda: final(judge, "k").state == "completed")

    driver = Spawned(drive)
    report = queue.run(lambda _ctx, _task: gate(), lease_ttl="3s", grace="1h")
    driver.result()

    assert (report.completed, report.released) == (1, 0)
    assert kinds(queue, "k") == ["created", "leased", "completed"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_sigterm_between_lease_and_start_costs_nothing(
    queue: Queue, log: HookedLog, moment: str
) -> None:
    """Elsewhere a task taken from the queue in this very moment was neither run nor given back.

    Here it is given back, or finished, before the run returns, and no attempt is lost.
    """
    queue.new(key="k", max_retries=0)
    sent: list[str] = []

    def terminate(commit: Commit) -> None:
        if '"leased"' in commit.bodies[0] and not sent:
            sent.append(moment)
            os.kill(os.getpid(), signal.SIGTERM)

    setattr(log, f"{moment}_append", terminate)
    report = queue.run(lambda _ctx, _task: "first")

    assert sent == [moment]
    assert (queue.stats().leased, report.completed + report.left) == (0, 1)
    queue.run(lambda _ctx, _task: "second", until="idle")
    found = [kind for kind in kinds(queue, "k") if kind not in {"leased", "released"}]
    assert found == ["created", "completed"]
    assert final(queue, "k").attempt == 1


def test_a_worker_that_takes_its_process_along_does_so_only_so_often() -> None:
    """Elsewhere a task that killed its worker was given to the next one, for ever.

    Here each death is an attempt that is seen; after `max_lapses` the task ends, and the others
    are run in between.
    """
    handlers, ran = Handlers(), list[int]()

    @handlers.task(max_lapses=2, max_retries=50, backoff=0)
    def poison() -> None:
        raise AssertionError("it never returns")

    @handlers.task
    def plain(number: int) -> None:
        ran.append(number)

    with harness(handlers=[handlers]) as t:
        task = poison.using(priority=9).new()
        for number in range(3):
            t.crash_node(poison)
            plain.new(number)
        t.forward("10m")

        found = t.queue.get(task.key)
        assert found is not None
        assert (found.state, found.final_reason) == ("expired", "max_lapses")
        assert [each.outcome for each in t.queue.attempts(task.key)] == ["lapsed"] * 3
        assert sorted(ran) == [0, 1, 2]


def test_an_isolated_worker_takes_nothing_along() -> None:
    """Elsewhere one crash of native code ended whatever else its worker had begun.

    Here an isolated task that dies by a signal loses its own process alone: the run goes on, and
    the attempt says which signal it was.
    """
    with Queue("memory://", workers=2, handlers=[isolated.handlers]) as queue:
        bad = isolated.kill_itself.using(max_retries=0).new(int(signal.SIGSEGV))
        good = [isolated.double.new(number) for number in range(3)]
        report = queue.run(until="idle", signals=False)

        assert (report.completed, report.expired) == (3, 1)
        assert [final(queue, task.key).result for task in good] == [0, 2, 4]
        error = final(queue, bad.key).last_error
        assert error is not None
        assert "SIGSEGV" in error.message


def test_a_run_that_is_told_to_end_begins_nothing_more(queue: Queue) -> None:
    """Elsewhere a worker that was shutting down took yet another task, and was killed in it.

    Here what it has leased ahead is given back at once, with no attempt counted.
    """
    slow = Slow(queue, "next-0", "next-1")

    def drive() -> None:
        with ending(queue, slow.gate):
            wait_until(slow.gate.reached.is_set)
            wait_until(lambda: queue.stats().leased == 3, "tasks to be leased ahead")
            os.kill(os.getpid(), signal.SIGTERM)
            wait_until(lambda: queue.stats().leased == 1, "the others to be given back")
            slow.gate.open()
            wait_until(lambda: final(queue, "slow").state == "completed")

    driver = Spawned(drive)
    queue.run(slow)
    driver.result()

    assert slow.begun == ["slow"]
    assert kinds(queue, "next-0") == ["created", "leased", "released"]
    assert [task.attempt for task in queue.tasks()] == [0, 0]
