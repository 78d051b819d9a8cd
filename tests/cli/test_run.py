"""run: a worker by its name, signals, and child processes under a supervisor."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import cast

import pytest

from eventq import Queue
from eventq.cli.supervise.background import BackgroundRun
from eventq.cli.supervise.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, pause_s
from eventq.runner.runner import RunReport
from tests.cli.harness import ended, finished, started, until

# A worker as a user writes it. It tells through files what happens, and waits for one.
JOBS = """
import os, pathlib, time
from concurrent import futures

pathlib.Path(f"pid-{os.getpid()}").touch()

def work(ctx, task):
    return {"pid": os.getpid()}

async def work_async(ctx, task):
    await ctx.sleep("1ms")

def fail(ctx, task):
    raise OSError(5, "disk")

def wait(ctx, task):
    pathlib.Path(f"begun-{task.key}").touch()
    while not pathlib.Path("go").exists():
        ctx.sleep("10ms")

def log(ctx, task):
    ctx.log.warning("odd \\x1b[31m thing")
    ctx.log.info("fine")

def mend(ctx, task):
    if task.attempt == 1:
        raise ValueError("once")

pool = futures.ThreadPoolExecutor()

def stick(ctx, task):
    if "stick" in task.tags:
        pool.submit(time.sleep, 600).result()

def crash(ctx, task):
    os._exit(7)

class Jobs:
    @staticmethod
    def work(ctx, task):
        return None
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with jobs.py and a queue of ten tasks in the default database."""
    (tmp_path / "jobs.py").write_text(JOBS)
    with Queue(f"sqlite:///{tmp_path}/eventq.db", max_retries=1, backoff="1ms") as queue:
        queue.new_many([{"n": n} for n in range(10)])
    return tmp_path


def kinds(folder: Path) -> list[str]:
    """The kinds of all events in the log."""
    with Queue(f"sqlite:///{folder}/eventq.db", create=False) as queue:
        return [event.kind for event in queue.events()]


def pids(folder: Path) -> set[int]:
    """The processes that have imported jobs.py."""
    return {int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")}


def test_a_worker_in_the_current_directory_is_found(folder: Path) -> None:
    """MODULE:FUNCTION needs no installation, and --until-idle ends with a report."""
    done = finished("run", "jobs:work", "--until-idle", "--json", folder=folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "completed": 10,
        "failed": 0,
        "cancelled": 0,
        "released": 0,
        "refused": 0,
        "expired": 0,
        "left": 0,
    }


@pytest.mark.parametrize("target", ["jobs:work_async", "jobs:Jobs.work"])
def test_other_kinds_of_workers_run(folder: Path, target: str) -> None:
    """Coroutine functions, and names with dots."""
    done = finished("run", target, "--until-idle", "--workers", "3", folder=folder)

    assert done.returncode == 0
    numbers = "completed 10, failed 0, cancelled 0, released 0, refused 0, expired 0, left 0"
    assert done.stdout == f"{numbers}\n"


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "children"])
def test_failures_are_shown_and_what_expired_is_a_finding(
    folder: Path, processes: list[str]
) -> None:
    """Each attempt that fails is a line as it does; tasks that expired make the exit code 1."""
    done = finished("run", "jobs:fail", "--until-idle", "--json", *processes, folder=folder)

    report = json.loads(done.stdout)
    lines = done.stderr.splitlines()
    assert (done.returncode, report["failed"], report["expired"]) == (1, 20, 10)
    assert kinds(folder).count("expired") == 10
    assert len(lines) == 20
    error = "OSError: [Errno 5] disk"
    assert f"eventq: info: attempt 1 of task 1 failed, to be retried: {error}" in lines
    last = f"attempt 2 of task 1 failed for good (max_retries): {error}"
    assert f"eventq: warning: {last}" in lines


def test_failures_that_a_retry_mends_are_no_finding(folder: Path) -> None:
    """They are shown, and the exit code is 0."""
    done = finished("run", "jobs:mend", "--until-idle", folder=folder)

    assert (done.returncode, len(done.stderr.splitlines())) == (0, 10)
    assert done.stdout.startswith("completed 10, failed 10, ")


def test_a_process_whose_workers_are_all_stuck_is_replaced(folder: Path) -> None:
    """Though a thread pool holds up its end. Its leases are over before, so nothing lapses."""
    with Queue(f"sqlite:///{folder}/eventq.db", max_retries=0) as queue:
        for number in range(2):
            queue.new({"stick": number}, priority=1, deadline="100ms")
    words = ["run", "jobs:stick", "--processes", "1", "--workers", "2", "--max-stuck", "500ms"]
    with started(*words, "--until-idle", "--json", folder=folder) as process:
        code, output, errors = ended(process)

    assert len(pids(folder)) == 2
    assert json.loads(output)["restarts"] == 1
    assert json.loads(output)["completed"] == 10
    assert "all 2 workers are stuck, so no task can be run: " in errors
    assert "eventq: all workers are stuck (2): they ignore that they should end" in errors
    assert "ended with exit code 1; starting it again" in errors
    assert "LeaseLapsed" not in errors
    assert kinds(folder).count("completed") == 10
    # What the first process gave up is not in its report: it had to be ended by force.
    assert code == 0


def test_a_namespace_that_holds_nothing_is_said_to(folder: Path) -> None:
    """By a run, alone or with children, once; mistyped names look like idle queues otherwise."""
    words = ["run", "jobs:work", "--until-idle", "--namespace", "defualt"]
    said = "namespace 'defualt' holds nothing yet (there: default)"

    for more in ([], ["--processes", "2"]):
        done = finished(*words, *more, folder=folder)
        assert done.returncode == 0
        [line] = done.stderr.splitlines()
        assert line.endswith(said)


def test_the_log_of_a_worker_is_shown_safely(folder: Path) -> None:
    """Warnings always, the rest with --verbose; each on one line with task and attempt."""
    quiet = finished("run", "jobs:log", "--until-idle", folder=folder).stderr
    with Queue(f"sqlite:///{folder}/eventq.db") as queue:
        queue.new(key="last")
    loud = finished("run", "jobs:log", "--until-idle", "--verbose", folder=folder).stderr

    assert len(quiet.splitlines()) == 10
    assert "eventq: warning: odd \\x1b[31m thing task=1 attempt=1 fence=" in quiet
    assert "eventq: info: fine task=last attempt=1" in loud


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_lets_running_tasks_finish(folder: Path, number: int) -> None:
    """What runs is completed, nothing else is begun, and the exit code is 0."""
    with started("run", "jobs:wait", "--workers", "2", "--json", folder=folder) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 2, "two tasks run")
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.readline()
        (folder / "go").touch()
        code, output, _ = ended(process)

    assert said.startswith(b"eventq: stopping when what runs is done")
    assert code == 0
    assert json.loads(output)["completed"] == 2
    assert kinds(folder).count("leased") == 2 + kinds(folder).count("released")


def test_the_second_signal_gives_running_tasks_back(folder: Path) -> None:
    """No attempt is burned, and nobody waits for the grace period."""
    words = ["run", "jobs:wait", "--workers", "2", "--json", "--grace", "1h"]
    with started(*words, folder=folder) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 2, "two tasks run")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        code, output, _ = ended(process)

    assert code == 0
    assert json.loads(output)["released"] >= 2
    assert "completed" not in kinds(folder)
    assert "failed" not in kinds(folder)


def test_several_processes_share_the_work(folder: Path) -> None:
    """With --until-idle all end by themselves, and their reports are summed."""
    done = finished("run", "jobs:work", "--processes", "3", "--until-idle", "--json", folder=folder)

    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert (report["completed"], report["processes"], report["restarts"]) == (10, 3, 0)
    assert len(pids(folder)) == 3


def test_a_killed_process_is_started_again(folder: Path) -> None:
    """The death is told, another child takes the place, and SIGTERM still ends all."""
    with started("run", "jobs:work", "--processes", "2", "--json", folder=folder) as process:
        until(lambda: len(pids(folder)) == 2, "two children run")
        victim = min(pids(folder))
        os.kill(victim, signal.SIGKILL)
        assert process.stderr is not None
        said = process.stderr.readline().decode()
        until(lambda: len(pids(folder)) == 3, "a third child runs")
        process.send_signal(signal.SIGTERM)
        code, output, _ = ended(process)

    assert f"(pid {victim}) was killed by signal 9; starting it again in 0.5 s" in said
    assert code == 0
    assert json.loads(output)["restarts"] == 1


def test_a_crash_loop_does_not_spin(folder: Path) -> None:
    """A worker that ends its process is told each time, with a pause that grows."""
    with started("run", "jobs:crash", "--processes", "1", folder=folder) as process:
        assert process.stderr is not None
        said = [process.stderr.readline().decode() for _ in range(2)]

    assert said[0].endswith("ended with exit code 7; starting it again in 0.5 s\n")
    assert said[1].endswith("ended with exit code 7; starting it again in 1 s\n")


def test_pauses_grow_to_a_bound() -> None:
    """Each short life doubles the pause; a long one begins anew."""
    pauses = [pause_s(count) for count in range(1, 2_000)]

    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE_S, LONGEST_PAUSE_S)
    assert pause_s(0) == FIRST_PAUSE_S


def test_what_is_wrong_for_all_is_told_once(folder: Path) -> None:
    """When the first child cannot begin, no other is tried and nothing is started again."""
    done = finished("run", "jobs:nobody", "--processes", "3", folder=folder)

    assert done.returncode == 2
    assert done.stderr.startswith("eventq: module jobs has no nobody")
    assert len(done.stderr.splitlines()) == 1
    assert len(pids(folder)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_counts_once(folder: Path, number: int) -> None:
    """Ctrl-C reaches supervisor and children alike, and still lets running tasks finish."""
    with started(
        "run", "jobs:wait", "--processes", "2", "--workers", "1", "--json", folder=folder
    ) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 2, "two tasks run")
        os.killpg(process.pid, number)
        assert process.stderr is not None
        said = process.stderr.readline()
        (folder / "go").touch()
        code, output, errors = ended(process)

    assert said.startswith(b"eventq: stopping when what runs is done")
    assert (code, errors) == (0, "")
    # A child that hears of it late may run another task; counted twice, it would give back.
    report = json.loads(output)
    assert (report["completed"] >= 2, report["released"]) == (True, 0)


def test_a_second_signal_forces_all_children(folder: Path) -> None:
    """The supervisor passes both on: tasks are given back at once, no attempt is burned."""
    words = ["run", "jobs:wait", "--processes", "2", "--workers", "1", "--json", "--grace", "1h"]
    with started(*words, folder=folder) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 2, "two tasks run")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code, output, _ = ended(process)

    assert code == 0
    assert json.loads(output)["released"] >= 2
    assert "failed" not in kinds(folder)


def test_children_do_not_outlive_a_killed_supervisor(folder: Path) -> None:
    """They notice, finish what runs, and end; so all ends of the output are closed."""
    with started(
        "run", "jobs:wait", "--processes", "2", "--workers", "1", folder=folder
    ) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 2, "two tasks run")
        process.kill()
        process.wait()
        (folder / "go").touch()
        code, _, _ = ended(process)

    assert code == -signal.SIGKILL
    assert kinds(folder).count("completed") == 2


def test_a_child_is_not_forced_by_signals(folder: Path) -> None:
    """However many signals reach a child, only its supervisor's word ends a running task."""
    words = ["run", "jobs:wait", "--processes", "1", "--workers", "1", "--until-idle", "-v"]
    with started(*words, "--json", folder=folder) as process:
        until(lambda: len(list(folder.glob("begun-*"))) == 1, "a task runs")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(min(pids(folder)), number)
        # On a busy host the child may hear them late, and then other tasks would run as well.
        assert process.stderr is not None
        assert any(b"info: stopping" in line for line in process.stderr)
        (folder / "go").touch()
        code, output, _ = ended(process)

    assert code == 0
    assert json.loads(output)["completed"] == 1
    assert "released" not in kinds(folder)


class SlowQueue:
    """A queue whose run takes a while until it can be stopped."""

    def __init__(self) -> None:
        self.asked_count = 0
        self.stopped = threading.Event()

    def stop(self) -> bool:
        """Can be asked from the fourth time on."""
        self.asked_count += 1
        if self.asked_count > 3:
            self.stopped.set()
        return self.stopped.is_set()

    def run(self, _worker: object) -> RunReport:
        """Runs until stopped; longer than a test may take."""
        self.stopped.wait(600)
        return RunReport(completed=5)


def test_a_run_asked_to_stop_before_it_began_stops() -> None:
    """A signal while the queue is being opened is not lost, but told again until it is heard."""
    queue = SlowQueue()
    run = BackgroundRun(cast("Queue", queue), lambda *_: None)
    run.ask()
    run.start()
    until(lambda: run.wait(None), "the run has ended")

    assert run.result().completed == 5
    assert queue.asked_count == 4
