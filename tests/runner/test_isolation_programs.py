"""Programs with isolated handlers, as users write them, and what is left when they are killed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest

from eventq import Context, Queue
from eventq.handlers.work import placed_work
from eventq.host.clock import SystemClock
from eventq.runner.attempt import Attempt, LeaseTime
from eventq.runner.isolation.messages import Start
from eventq.runner.isolation.process import GroupGuard, Waker, WorkerProcess
from eventq.runner.isolation.supervision import Supervision
from tests.runner import isolated
from tests.runner.test_isolation import is_gone
from tests.runner.test_isolation_ends import told
from tests.support import final, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker."""
    with Queue("memory://", workers=1, handlers=[isolated.handlers]) as queue:
        yield queue


class TestLine:
    """What a process does when its parent is not heard of any more."""

    def test_its_group_ends_with_the_line(self, queue: Queue, tmp_path: Path) -> None:
        """Where neither the guard nor the system helps: it kills its own group."""
        task = queue.new(isolated.leave_one_behind_and_wait, str(tmp_path / "pids"))
        work = placed_work(isolated.leave_one_behind_and_wait)
        assert work.isolated is not None
        guard, waker, clock = GroupGuard(), Waker(), SystemClock()
        process = WorkerProcess(guard, waker, memory_bytes=None, clock=clock)
        attempt = Attempt(task, Context(task, clock), work, LeaseTime(math.inf))
        assert Supervision(attempt, work.isolated, process, clock, copy_context()).load()
        process.send(Start(task, None, None))
        pids = [int(pid) for pid in told(tmp_path / "pids.both").split()]
        process.hang_up()
        wait_until(lambda: all(map(is_gone, pids)), "the end of the group")
        found = process.reap()
        guard.close()
        waker.close()

        assert found.signal == "SIGKILL"


PROGRAM = """
import os, signal, sys, time
import eventq

queue = eventq.Queue({url!r}, workers=1)

@queue.task(isolate=True, {options})
def job(path: str) -> str:
    {body}

if __name__ == "__main__":
    print(job.new({path!r}).key, flush=True)
    queue.run(until="idle")
    print(queue.get("1").result, flush=True)
"""
RUNAWAY = """import subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    other = subprocess.Popen(["sleep", "600"])
    with open(path + ".new", "w") as file:
        file.write(f"{os.getpid()} {other.pid}")
    os.rename(path + ".new", path)
    # In C, without ever giving Python's lock back.
    sum(range(10**15))"""


class TestPrograms:
    """Programs in files, as users write them."""

    def start(
        self, folder: Path, body: str, *, options: str = "", as_module: bool = False
    ) -> subprocess.Popen[str]:
        """A program that makes one task and runs it."""
        program = folder / "app.py"
        url, path = f"sqlite:///{folder / 'jobs.db'}", str(folder / "pids")
        program.write_text(PROGRAM.format(url=url, path=path, body=body, options=options))
        root = str(Path(__file__).parent.parent.parent)
        how = ["-m", "app"] if as_module else [str(program)]
        return subprocess.Popen(
            [sys.executable, *how],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
            cwd=folder,
        )

    @pytest.mark.parametrize("as_module", [False, True])
    def test_a_handler_of_main(self, tmp_path: Path, *, as_module: bool) -> None:
        """A handler that stands in the program itself is found; its run does not begin twice."""
        body = "return f'{__name__} {os.getppid()}'"
        with self.start(tmp_path, body, as_module=as_module) as program:
            assert program.stdout is not None
            lines = program.stdout.read().split("\n")

        assert lines == ["1", f"app {program.pid}", ""]

    def test_a_killed_parent_takes_all_along(self, tmp_path: Path) -> None:
        """Also what computes in C, and the processes that it has begun."""
        with self.start(tmp_path, RUNAWAY) as program:
            pids = [int(pid) for pid in told(tmp_path / "pids").split()]
            program.kill()

        wait_until(lambda: all(map(is_gone, pids)), "the end of all processes")
        assert all(map(is_gone, pids))

    def test_a_killed_parent_whose_guard_was_killed(self, tmp_path: Path) -> None:
        """Then the process itself goes by the system's hand."""
        with self.start(tmp_path, RUNAWAY) as program:
            pids = [int(pid) for pid in told(tmp_path / "pids").split()]
            [guard] = [pid for pid in children_of(program.pid) if pid not in pids]
            os.kill(guard, signal.SIGKILL)
            program.kill()

        wait_until(lambda: is_gone(pids[0]), "the end of the process")
        os.kill(pids[1], signal.SIGKILL)
        assert is_gone(pids[0])

    def test_a_handler_below_the_guard_is_told_where_to_stand(self, tmp_path: Path) -> None:
        """Its process imports the program, and so never comes to it."""
        program, url = tmp_path / "app.py", f"sqlite:///{tmp_path / 'jobs.db'}"
        program.write_text(
            f"""
import eventq

if __name__ == "__main__":
    queue = eventq.Queue({url!r}, workers=1, max_retries=0)

    @queue.task(isolate=True)
    def job() -> None: ...

    job.new()
    queue.run(until="idle")
"""
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        subprocess.run([sys.executable, str(program)], env=environment, check=True, timeout=60)
        with Queue(url) as queue:
            error = final(queue, "1").last_error

        assert error is not None
        assert "nothing below `if __name__ == '__main__'` is there" in error.message

    def test_an_unguarded_run_says_so(self, tmp_path: Path) -> None:
        """A program without its guard fails the attempt, and begins no run of its own."""
        program = tmp_path / "app.py"
        url = f"sqlite:///{tmp_path / 'jobs.db'}"
        text = PROGRAM.format(url=url, path="p", body="return path", options="max_retries=0")
        program.write_text(text.replace('if __name__ == "__main__":', "if True:"))
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        subprocess.run([sys.executable, str(program)], env=environment, check=True, timeout=60)
        with Queue(url) as queue:
            error = final(queue, "1").last_error

        assert error is not None
        assert error.type == "eventq.UnguardedError"
        assert "if __name__ ==" in error.message

    def test_what_was_typed_in_is_refused(self) -> None:
        """A handler given by ``-c`` can be loaded by nobody else: `run` says so, naming it."""
        code = (
            "import eventq; queue = eventq.Queue('memory://')\n"
            "@queue.task(isolate=True)\ndef job() -> None: ...\n"
            "queue.run(until='idle')"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            check=False,
            timeout=60,
            stderr=subprocess.PIPE,
            text=True,
        )

        assert "eventq.ArgumentError: handler job: expected one in a file" in done.stderr


def children_of(pid: int) -> list[int]:
    """The processes that one has begun."""
    return [
        int(child)
        for thread in Path(f"/proc/{pid}/task").iterdir()
        for child in (thread / "children").read_text().split()
    ]
