"""Isolated handlers: attempts in processes of their own, and what is refused for them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from eventq import ArgumentError, AsyncQueue, Context, Handler, Queue, Task, TaskState
from eventq.core.events import Completed, Failed
from eventq.runner import lookout
from eventq.runner.isolation.process import WorkerProcess
from tests.checker import check_log
from tests.runner import isolated
from tests.support import Gate, Spawned, ends, final, kinds, running, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, handlers=[isolated.handlers]) as queue:
        yield queue
        check_log(queue.log)


def done(queue: Queue, task: Task) -> Task:
    """The task, once all has been done."""
    queue.run(until="idle", signals=False)
    return final(queue, task.key)


def failure(queue: Queue, task: Task) -> Failed:
    """How the task's last failed attempt ended."""
    return [e.body for e in queue.history(task.key) if isinstance(e.body, Failed)][-1]


def is_gone(pid: int) -> bool:
    """Whether a process has ended, also one that nobody reaps."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestCalls:
    """What comes back."""

    @pytest.mark.parametrize(
        "handler", [isolated.double, isolated.double_async, isolated.plain_coroutine]
    )
    def test_returns_results(self, queue: Queue, handler: Handler[[int], int, Any]) -> None:
        """A def, an async def, and a def that hands out a coroutine."""
        task = done(queue, handler.new(21))

        assert handler.result_of(task) == 42

    def test_kinds_share_slots(self) -> None:
        """Isolated handlers and others run in one worker, one at a time."""
        with Queue("memory://", workers=1, handlers=[isolated.handlers]) as queue:

            @queue.task
            def here() -> int:
                return os.getpid()

            @queue.task
            async def here_async() -> int:
                return os.getpid()

            tasks = [each.new() for each in (here, isolated.pid, here_async, isolated.pid)]
            queue.run(until="idle", signals=False)
            found = [final(queue, task.key).result for task in tasks]

        assert found[0] == found[2] == os.getpid()
        assert found[1] == found[3] != os.getpid()

    def test_runs_beside_an_event_loop(self) -> None:
        """A run in the application's loop has processes as well."""

        async def run() -> tuple[Task | None, Task | None]:
            async with AsyncQueue("memory://", workers=2, handlers=[isolated.handlers]) as queue:
                tasks = [await queue.new(isolated.double, 4), await queue.new(isolated.pid)]
                await queue.run(until="idle")
                doubled, pid = [await queue.get(task.key) for task in tasks]
                return doubled, pid

        doubled, pid = asyncio.run(run())
        assert doubled is not None
        assert pid is not None
        assert doubled.result == 8
        assert pid.result != os.getpid()

    def test_a_lane_has_slots_of_its_own(self) -> None:
        """Each lane's pool has processes."""
        with Queue("memory://", handlers=[isolated.handlers]) as queue:
            tasks = [isolated.pid.using(lane=lane).new() for lane in ("a", "b")]
            queue.run(lanes={"a": 1, "b": 1}, until="idle", signals=False)
            found = {final(queue, task.key).result for task in tasks}

        assert len(found - {os.getpid()}) == 2

    def test_context_says_what_it_says_elsewhere(self, queue: Queue) -> None:
        """Task, attempt, fence, deadline, and `current()`."""
        task = isolated.facts.using(key="k", deadline="10m").new()
        found = done(queue, task).result

        leased = next(e for e in queue.history("k") if e.kind == "leased")
        assert found["key"] == "k"
        assert found["attempt"] == 1
        assert found["fence"] == leased.seq
        assert not found["cancelled"]
        assert found["is_current"]
        assert 500 < found["remaining"] <= 600
        left = datetime.fromisoformat(found["deadline"]) - datetime.now(UTC)
        assert 400 < left.total_seconds() <= 600

    def test_is_a_group_and_no_fork(self, queue: Queue) -> None:
        """The process leads a group of its own, which the terminal's signals do not reach."""
        found = done(queue, isolated.facts.new()).result

        assert found["pid"] == found["group"] != os.getpid()

    def test_extends_its_deadline(self, queue: Queue) -> None:
        """The parent moves the deadline, and tells the new one."""
        before, after = done(queue, isolated.extend.new("1h")).result

        assert before <= 300
        assert 3_500 < after <= 3_600

    def test_refuses_a_wrong_extension(self, queue: Queue) -> None:
        """A wrong argument is refused as it is elsewhere."""
        task = done(queue, isolated.extend.using(max_retries=0).new("soon"))

        assert task.last_error is not None
        assert task.last_error.type == "eventq.ArgumentError"

    def test_arounds_run_in_the_process(self) -> None:
        """Those of the queue outside, those of the collection inside, all beside the handler."""
        with Queue("memory://", workers=1, handlers=[isolated.wrapped]) as queue:
            queue.around(isolated.note_outer)
            found = done(queue, isolated.show_arounds.new()).result

        words, pids = zip(*(line.split(" in ") for line in found), strict=True)
        assert words == ("outer", "inner", "handler")
        assert len(set(pids)) == 1
        assert pids[0] != str(os.getpid())

    def test_logs_come_out_here(self, queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
        """Records of the context and of any logger reach the loggers of the run's process."""
        caplog.set_level(logging.INFO, "tests.own")
        task = done(queue, isolated.log.new())

        own = [r for r in caplog.records if r.name in {"eventq.worker", "tests.own"}]
        assert [r.getMessage() for r in own] == ["half done", "met an error"]
        assert own[0].__dict__["task"] == task.key
        assert own[0].__dict__["share"] == 0.5
        assert own[0].__dict__["path"] == "a"
        assert own[0].funcName == "log"
        assert own[1].exc_text is not None
        assert own[1].exc_text.endswith("WrongError: met")

    def test_prints_where_the_run_prints(
        self, queue: Queue, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """However much: standard output is the run's own, and records hold up nothing."""
        count = 20_000
        logging.getLogger("tests.flood").setLevel(logging.INFO)
        task = done(queue, isolated.flood.new(count))

        assert task.result == count
        assert capfd.readouterr().out.count("\n") == count


class TestProcesses:
    """How long they live."""

    def test_one_is_kept_warm(self, queue: Queue) -> None:
        """The next attempt finds the process of the one before, whatever its handler."""
        tasks = [isolated.pid.new(), isolated.facts.new(), isolated.pid.new()]
        queue.run(until="idle", signals=False)

        results: list[Any] = [final(queue, task.key).result for task in tasks]
        first, facts, last = results
        assert first == facts["pid"] == last

    def test_recycle_replaces_it(self, queue: Queue) -> None:
        """After so many attempts another process takes its place."""
        tasks = [isolated.pid_recycled.new() for _ in range(5)]
        queue.run(until="idle", signals=False)
        pids = [final(queue, task.key).result for task in tasks]

        assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]

    def test_an_outcome_does_not_wait_for_the_end_of_its_process(
        self, queue: Queue, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that another one replaces may take its time."""
        gate, retire = Gate(), WorkerProcess.retire

        def retire_late(process: WorkerProcess) -> None:
            gate()
            retire(process)

        monkeypatch.setattr(WorkerProcess, "retire", retire_late)
        # Only a ring of the bell makes the run look.
        for name in ("GLANCE_S", "LINGER_S", "LOOK_EVERY_S", "STUCK_S"):
            monkeypatch.setattr(lookout, name, 3_600.0)
        tasks = [isolated.pid_recycled.new() for _ in range(2)]

        with running(queue, None, lease_ttl="3h"):
            wait_until(gate.reached.is_set)
            wait_until(ends(queue, tasks[-1].key))
            gate.open()

        assert [final(queue, task.key).state for task in tasks] == ["completed"] * 2

    def test_another_limit_needs_another_process(self, queue: Queue) -> None:
        """What may have less memory never runs in a process that has had more."""
        tasks = [isolated.pid.new(), isolated.pid_limited.new()]
        queue.run(until="idle", signals=False)
        pids = {final(queue, task.key).result for task in tasks}

        assert len(pids) == 2

    def test_all_end_with_the_run(self, queue: Queue) -> None:
        """None is left once `run` has returned."""
        pid = done(queue, isolated.pid.new()).result

        assert is_gone(pid)

    def test_what_it_began_goes_with_it(self, queue: Queue, tmp_path: Path) -> None:
        """Processes that an attempt left behind are of its group, and end with the run."""
        done(queue, isolated.leave_one_behind.new(str(tmp_path / "pid")))
        pid = int((tmp_path / "pid").read_text())

        wait_until(lambda: is_gone(pid), "the grandchild's end")
        assert is_gone(pid)

    def test_nothing_begins_unasked(self) -> None:
        """A run whose isolated handlers have no task has no process, and no guard."""
        with Queue("memory://", handlers=[isolated.handlers]) as other:
            before = children()
            run = Spawned(other.run, signals=False)
            wait_until(lambda: any(e.kind == "joined" for e in other.events()))
            assert children() == before
            other.stop()
            run.wait()

    def test_a_fork_of_the_handler_ends(self, queue: Queue) -> None:
        """A forked child that comes back does not answer in the place of its parent."""
        assert done(queue, isolated.fork_away.new()).result == 1


def children() -> set[str]:
    """The processes that this one has begun."""
    return {
        pid
        for thread in Path("/proc/self/task").iterdir()
        for pid in (thread / "children").read_text().split()
    }


class TestErrors:
    """What a handler raises or returns is told as everywhere else."""

    def test_an_error_keeps_all_it_has(self, queue: Queue) -> None:
        """Type, message, and a traceback from the handler's own frames on, with the cause."""
        task = done(queue, isolated.fail_chained.new())

        error = task.last_error
        assert error is not None
        assert error.type == "tests.runner.isolated.WrongError"
        assert error.message == "no such thing"
        assert "KeyError: 'missing'" in error.traceback
        assert "in fail_chained" in error.traceback
        assert "child.py" not in error.traceback
        assert failure(queue, task).exit is None

    def test_rules_decide(self, queue: Queue) -> None:
        """The handler's rules know the error's class, and the log says which it was."""
        task = done(queue, isolated.fail_by_rule.new())

        assert task.state is TaskState.EXPIRED
        assert task.final_reason == "fatal"
        assert failure(queue, task).rule == "tests.runner.isolated.WrongError: fail"

    @pytest.mark.parametrize(
        "what, expected",
        [
            ("retry", ["failed", "retried", "leased", "completed"]),
            ("snooze", ["released", "leased", "completed"]),
            ("fail", ["failed", "expired"]),
            ("cancel", ["failed", "cancelled"]),
        ],
    )
    def test_it_may_ask_for_other_ends(self, queue: Queue, what: str, expected: list[str]) -> None:
        """Retry, Snooze, Fail and Cancel mean what they mean elsewhere, and keep what they met."""
        task = done(queue, isolated.ask_for.new(what))

        assert kinds(queue, task.key)[2:] == expected
        if what != "snooze":
            assert failure(queue, task).error.type == "tests.runner.isolated.WrongError"

    def test_an_exit_ends_the_attempt_alone(self, queue: Queue) -> None:
        """SystemExit is an error like others; the process goes on."""
        pid, task, again = isolated.pid.new(), isolated.exit_politely.new(), isolated.pid.new()
        error = done(queue, task).last_error

        assert error is not None
        assert error.type == "SystemExit"
        assert final(queue, pid.key).result == final(queue, again.key).result

    def test_a_result_that_json_cannot_hold(self, queue: Queue) -> None:
        """The task completes without it, and says why."""
        task = done(queue, isolated.return_object.new())

        assert task.state is TaskState.COMPLETED
        assert task.result_missing is not None

    def test_a_result_that_is_too_long(self, queue: Queue) -> None:
        """It does not even cross; a strict handler fails."""
        task = done(queue, isolated.return_much.new())

        assert task.last_error is not None
        assert "result" in task.last_error.message
        assert not any(isinstance(e.body, Completed) for e in queue.history(task.key))


class TestRefused:
    """What no other process could find is refused by name, before anything runs."""

    def test_a_lambda(self) -> None:
        """At decoration."""
        with (
            Queue("memory://") as queue,
            pytest.raises(ArgumentError, match=r"handler: .*no lambda.*<lambda>"),
        ):
            queue.task("x", isolate=True)(lambda: None)

    def test_a_local_function(self) -> None:
        """At decoration."""
        with Queue("memory://") as queue:

            def local() -> None:
                """Stands in no module."""

            with pytest.raises(ArgumentError, match=r"test_a_local_function.<locals>.local"):
                queue.task("x", isolate=True)(local)

    def test_a_handler_without_a_name_in_its_module(self) -> None:
        """At `run`: only then is the module complete."""
        with Queue("memory://") as queue:
            queue.task("x", isolate=True)(children)

            with pytest.raises(ArgumentError, match=f"handler x: .*{__name__}"):
                queue.run(until="idle", signals=False)

    def test_an_around_that_is_local(self) -> None:
        """At `run`, naming the handler that it would wrap."""
        with Queue("memory://", handlers=[isolated.wrapped]) as queue:

            @queue.around
            def local(_: Context) -> Iterator[None]:
                yield

            with pytest.raises(ArgumentError, match="an around of show_arounds"):
                queue.run(until="idle", signals=False)

    @pytest.mark.parametrize(
        "options, argument",
        [
            ({"isolate": True, "memory": "lots"}, "memory"),
            ({"isolate": True, "memory": "1MiB"}, "memory"),
            ({"isolate": True, "memory": 2.5}, "memory"),
            ({"isolate": True, "kill_after": -1}, "kill_after"),
            ({"isolate": True, "recycle": 0}, "recycle"),
            ({"isolate": "yes"}, "isolate"),
            ({"memory": "2GiB"}, "memory"),
            ({"recycle": 3}, "recycle"),
            ({"isolate": False, "kill_after": "1s"}, "kill_after"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], argument: str) -> None:
        """Each names itself; those of isolation make no sense without it."""
        with Queue("memory://") as queue, pytest.raises(ArgumentError, match=f"^{argument}: "):
            queue.task("x", **options)(children)
