"""How isolated attempts end that do not end by themselves, and how processes die under them."""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventq import Context, Handler, Queue, TaskState
from eventq.core.values import ErrorInfo
from eventq.handlers.work import placed_work
from eventq.host.groups import peak_bytes
from eventq.runner.attempt import Attempt, LeaseTime
from eventq.runner.isolation.supervision import Supervision
from eventq.runner.runner import RunReport
from eventq.runner.stuck import StuckWatch
from tests.checker import check_log
from tests.runner import isolated
from tests.runner.test_isolation import done, failure, is_gone
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    Spawned,
    final,
    kinds,
    queue_on,
    runner_of,
    wait_until,
)


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, handlers=[isolated.handlers]) as queue:
        yield queue
        check_log(queue.log)


@pytest.fixture
def run(queue: Queue) -> Iterator[Spawned[RunReport]]:
    """A run of the queue, which ends by force."""
    spawned = Spawned(queue.run, signals=False)
    yield spawned
    queue.stop()
    queue.stop()
    spawned.wait()


def told(path: Path) -> str:
    """What a handler has written into a file, once it has."""
    wait_until(path.exists, str(path))
    return path.read_text()


class TestDeaths:
    """A process that dies takes nothing along but its attempt."""

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
    def test_by_a_signal(self, queue: Queue, number: signal.Signals) -> None:
        """The attempt fails, says by which signal, and is retried in another process."""
        task = done(queue, isolated.kill_itself.new(int(number)))

        body = failure(queue, task)
        assert task.result == 2
        assert body.error.type == "eventq.ProcessDiedError"
        assert body.error.message.startswith(f"its process was killed by {number.name}")
        assert body.error.traceback == ""
        assert body.exit is not None
        assert body.exit.signal == number.name
        assert body.exit.code is None
        assert body.exit.killed_after_us is None

    def test_by_an_exit(self, queue: Queue) -> None:
        """Its exit code is kept; 0 is no better than others."""
        for code in (0, 7):
            body = failure(queue, done(queue, isolated.leave.new(code)))

            assert body.error.message.startswith(f"its process ended with exit code {code}")
            assert body.exit is not None
            assert (body.exit.code, body.exit.signal) == (code, None)

    def test_by_a_rule(self, queue: Queue) -> None:
        """A retry rule may be for what happened to the process."""
        task = done(queue, isolated.leave_for_good.using(max_retries=5).new())

        assert task.final_reason == "fatal"
        assert failure(queue, task).rule == "eventq.ProcessDiedError: fail"

    def test_while_it_is_idle(self, queue: Queue, run: Spawned[RunReport]) -> None:
        """A warm process that somebody killed is replaced, and costs no attempt."""
        first = isolated.pid.new()
        wait_until(lambda: final(queue, first.key).state is TaskState.COMPLETED)
        pid = final(queue, first.key).result
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        second = isolated.pid.new()
        wait_until(lambda: final(queue, second.key).state is TaskState.COMPLETED)

        assert run.running
        assert kinds(queue, second.key) == ["created", "leased", "completed"]

    def test_by_too_much_memory(self, queue: Queue) -> None:
        """The limit gives a MemoryError, which says what the limit is; the process is replaced."""
        before, task, after = isolated.eat.new(1), isolated.eat.new(2**30), isolated.eat.new(1)
        body = failure(queue, done(queue, task))

        assert body.error.type == "MemoryError"
        assert body.error.message == "the limit is 300 MiB"
        assert body.exit is not None
        assert body.exit.memory_bytes == 300 * 2**20
        assert body.exit.signal is None
        assert final(queue, before.key).result == final(queue, after.key).result == 1

    @pytest.mark.skipif(sys.platform != "linux", reason="macOS enforces no such limit")
    def test_peak_memory_is_told(self, queue: Queue) -> None:
        """What died says how much it had."""
        # The system counts what its parent had when it began it: only more than that is told.
        size_bytes = peak_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) + 200 * 2**20
        body = failure(queue, done(queue, isolated.eat_and_die.new(size_bytes)))

        assert body.exit is not None
        assert body.exit.peak_bytes is not None
        assert size_bytes < body.exit.peak_bytes < size_bytes + 400 * 2**20
        assert "MiB" in body.error.message


class TestDeadline:
    """Past its deadline an attempt is told, then signalled, then killed."""

    def test_runaway_is_killed(self, queue: Queue, tmp_path: Path, run: Spawned[RunReport]) -> None:
        """Its whole group is gone before its task is leased again, within a second more."""
        task = isolated.run_away.using(deadline="1s").new(str(tmp_path / "pids"))
        pids = [int(pid) for pid in told(tmp_path / "pids").split()]
        wait_until(lambda: kinds(queue, task.key).count("leased") == 2, "the second lease")
        assert all(map(is_gone, pids))
        wait_until(lambda: final(queue, task.key).state is TaskState.COMPLETED)

        body = failure(queue, task)
        assert run.running
        assert body.error.type == "eventq.DeadlineExceededError"
        assert body.exit is not None
        assert body.exit.signal == "SIGKILL"
        assert body.exit.peak_bytes is not None
        assert body.exit.killed_after_us is not None
        assert 500_000 <= body.exit.killed_after_us < 1_500_000

    @pytest.mark.parametrize("handler", [isolated.wait, isolated.wait_async])
    def test_the_context_is_told_first(
        self, queue: Queue, tmp_path: Path, handler: Handler[[str], None, Any]
    ) -> None:
        """Whoever listens to it ends in its own way, and its process goes on."""
        task = handler.using(deadline="1s").new(str(tmp_path / "pid"))
        after = isolated.pid.using(priority=-1).new()
        body = failure(queue, done(queue, task))

        assert told(tmp_path / "pid.ended") == "True"
        assert body.error == ErrorInfo(LATE, "the attempt ran past its deadline")
        assert body.exit is None
        assert final(queue, after.key).result == int(told(tmp_path / "pid"))

    def test_then_comes_sigterm(self, queue: Queue, tmp_path: Path) -> None:
        """It raises in the handler, which may clean up; the process takes no other attempt."""
        task = isolated.block.using(deadline="1s").new(str(tmp_path / "pid"))
        after = isolated.pid.using(priority=-1).new()
        body = failure(queue, done(queue, task))

        assert told(tmp_path / "pid.ended") == "cleaned up"
        assert body.error.type == LATE
        assert body.exit is None
        assert final(queue, after.key).result != int(told(tmp_path / "pid"))

    def test_what_returns_late_has_failed(self, queue: Queue, tmp_path: Path) -> None:
        """As it has in a thread: the deadline was the deadline."""
        task = done(queue, isolated.return_late.using(deadline="1s").new(str(tmp_path / "pid")))

        assert task.state is TaskState.EXPIRED
        assert failure(queue, task).error.type == LATE

    def test_goes_by_the_clock_of_the_run(self, tmp_path: Path) -> None:
        """The deadline passes when the run's clock says so."""
        clock = ManualClock()
        with queue_on(HookedLog(), clock=clock, workers=1, handlers=[isolated.handlers]) as queue:
            task = isolated.wait.using(deadline="1h").new(str(tmp_path / "pid"))
            spawned = Spawned(queue.run, until="idle", signals=False)
            told(tmp_path / "pid")
            clock.advance(3_601)
            runner_of(queue).bell.ring()
            spawned.wait()

            assert failure(queue, task).error.type == LATE


class TestCancel:
    """An attempt whose task is cancelled, or whose run is stopped."""

    def test_by_hand(self, queue: Queue, tmp_path: Path, run: Spawned[RunReport]) -> None:
        """The task is final at once; the handler is told, and its slot is free again."""
        task = isolated.wait.new(str(tmp_path / "pid"))
        told(tmp_path / "pid")
        queue.cancel(task.key, reason="enough")
        after = isolated.double.new(2)

        assert told(tmp_path / "pid.ended") == "True"
        wait_until(lambda: final(queue, after.key).state is TaskState.COMPLETED)
        assert run.running
        assert kinds(queue, task.key) == ["created", "leased", "cancelled"]

    def test_by_hand_of_a_runaway(
        self, queue: Queue, tmp_path: Path, run: Spawned[RunReport]
    ) -> None:
        """It is killed all the same, and its slot is free again."""
        task = isolated.run_away.new(str(tmp_path / "pids"))
        pids = [int(pid) for pid in told(tmp_path / "pids").split()]
        queue.cancel(task.key)
        after = isolated.double.new(2)
        wait_until(lambda: final(queue, after.key).state is TaskState.COMPLETED)

        assert all(map(is_gone, pids))
        assert run.running
        assert kinds(queue, task.key) == ["created", "leased", "cancelled"]

    def test_one_on_its_way_out_is_not_stuck(self, queue: Queue) -> None:
        """Its slot is kept for ``kill_after`` at most, which is no reason for a warning."""
        task = queue.new(isolated.double, 1)
        attempt = Attempt(
            task, Context(task, ManualClock()), placed_work(isolated.double), LeaseTime(math.inf)
        )
        attempt.begun_s = 0.0
        watch = StuckWatch(workers=1, most_s=1.0)

        assert not any(watch.look([attempt], now_s) for now_s in (10.0, 100.0))
        assert watch.strays == []

    def test_while_its_process_is_begun(
        self, queue: Queue, run: Spawned[RunReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It does not begin: the process, which does not know it yet, takes no word of it."""
        gate, load = Gate(), Supervision.load

        def load_late(supervision: Supervision) -> bool:
            gate()
            return load(supervision)

        monkeypatch.setattr(Supervision, "load", load_late)
        task = isolated.double.new(21)
        wait_until(gate.reached.is_set)
        queue.cancel(task.key)
        attempts = runner_of(queue).attempts
        wait_until(lambda: attempts.strays)
        gate.open()
        wait_until(lambda: not attempts.strays)
        queue.stop()
        run.wait()

        assert kinds(queue, task.key) == ["created", "leased", "cancelled"]

    def test_by_a_forced_stop(self, queue: Queue, tmp_path: Path) -> None:
        """The lease is given back once the process has ended."""
        task = isolated.wait.new(str(tmp_path / "pid"))
        spawned = Spawned(queue.run, signals=False)
        told(tmp_path / "pid")
        queue.stop()
        queue.stop()
        spawned.wait()

        assert told(tmp_path / "pid.ended") == "True"
        assert kinds(queue, task.key) == ["created", "leased", "released"]

    def test_a_stop_does_not_wait_for_a_runaway(self, queue: Queue, tmp_path: Path) -> None:
        """It is killed within seconds, whatever its ``kill_after``, and then given back."""
        task = isolated.run_away_long.new(str(tmp_path / "pids"))
        spawned = Spawned(queue.run, signals=False)
        pids = [int(pid) for pid in told(tmp_path / "pids").split()]
        queue.stop()
        queue.stop()
        spawned.wait()

        assert all(map(is_gone, pids))
        assert kinds(queue, task.key) == ["created", "leased", "released"]

    def test_the_end_of_the_grace_period_is_waited_out(
        self, queue: Queue, tmp_path: Path, pauses: list[float | None]
    ) -> None:
        """The run rests until the process is gone, and does not look again and again."""
        isolated.run_away_long.new(str(tmp_path / "pids"))
        spawned = Spawned(queue.run, signals=False, grace=0)
        told(tmp_path / "pids")
        pauses.clear()
        queue.stop()
        spawned.wait()

        rests = [pause_s for pause_s in pauses if pause_s]
        assert rests
        assert min(rests) > 0.001

    def test_a_stop_lets_it_finish(self, queue: Queue, tmp_path: Path) -> None:
        """Asked once, the run waits for it, and signals of others do not end it."""
        task = isolated.finish_when.new(str(tmp_path / "pid"))
        spawned = Spawned(queue.run, signals=False)
        pid = int(told(tmp_path / "pid"))
        queue.stop()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        (tmp_path / "pid.go").touch()
        spawned.wait()

        assert final(queue, task.key).result == "finished"

    def test_nothing_is_left_when_a_run_breaks_off(self, tmp_path: Path) -> None:
        """A run that ends by an error takes its processes along."""
        log = HookedLog()
        with queue_on(log, workers=1, handlers=[isolated.handlers]) as queue:
            isolated.run_away_long.new(str(tmp_path / "pids"))
            spawned = Spawned(queue.run, signals=False)
            pids = [int(pid) for pid in told(tmp_path / "pids").split()]
            log.close()
            queue.stop()
            with contextlib.suppress(Exception):
                spawned.result()

        assert all(map(is_gone, pids))


LATE = "eventq.DeadlineExceededError"
