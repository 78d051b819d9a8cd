"""kill -9 at random moments: no acknowledged task is lost, none completed twice, all are ended.

The seed is printed; EVENTQ_SEED repeats it as far as the machine's timing allows. EVENTQ_LONG=1
goes on for minutes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from eventq import Queue, TaskState
from tests.checker import Report, check_log
from tests.roles import LEASE_TTL
from tests.support import node_of, running, wait_until

ROOT = Path(__file__).parent.parent
LONG = os.environ.get("EVENTQ_LONG") == "1"
SEED = os.environ.get("EVENTQ_SEED") or str(random.SystemRandom().randrange(10**6))
# Of each role, and of the producers' tasks.
LEAST_KILLED, LEAST_TOLD = 3, 51

Process = subprocess.Popen[str]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where the queue is."""
    return f"sqlite:///{tmp_path}/eventq.db"


@contextmanager
def playing(role: str, url: str, path: Path, seed: str) -> Iterator[Process]:
    """A process in this role; killed at the end of the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.roles", role, url, str(path), seed],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def kill_again_and_again(
    url: str, path: Path, *, roles: list[str], seconds: float
) -> dict[str, int]:
    """Kills one of the processes after the other, each soon replaced; gives how many of each.

    For so long, and until much was killed and much was done: on a busy machine that takes longer.
    """
    draw = random.Random(SEED)
    pause = threading.Event()
    killed = dict.fromkeys(roles, 0)
    with ExitStack() as stack:
        stage: list[tuple[str, Process]] = []

        def enter(role: str) -> None:
            seed = f"{SEED}-{role}-{sum(killed.values())}-{len(stage)}"
            stage.append((role, stack.enter_context(playing(role, url, path, seed))))

        def is_enough() -> bool:
            told_count = path.read_bytes().count(b"\n") if path.exists() else 0
            return min(killed.values()) >= LEAST_KILLED and told_count >= LEAST_TOLD

        for role in roles:
            enter(role)
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s or not is_enough():
            # Often right after the start, when files are opened; at times after a longer while.
            pause.wait(draw.choice([0.05, 0.2, 0.6, 1.2]) * draw.random() * 2)
            role, process = stage.pop(draw.randrange(len(stage)))
            assert process.poll() is None, f"{role} ended by itself (seed {SEED})"
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed[role] += 1
            enter(role)
    return killed


def drained(url: str, *, lease_ttl: str = LEASE_TTL) -> Report:
    """Runs what is left, without faults, and checks the log; gives what it holds."""
    with Queue(url, workers=4) as queue:
        queue.run(lambda _ctx, task: task.tags["name"], until="idle", lease_ttl=lease_ttl)
        with node_of(queue).reading() as projection:
            projection.check()
            assert projection.tasks == {}
        return check_log(queue.log)


def acknowledged(path: Path) -> dict[int, tuple[str, str]]:
    """Key and name of each task by number, as the producers wrote them down."""
    told = {}
    for line in path.read_text().splitlines():
        number, key, name = line.split()
        told[int(number)] = (key, name)
    return told


@pytest.mark.timeout(1_200 if LONG else 120)
def test_kill_9_loses_nothing_and_doubles_nothing(url: str, tmp_path: Path) -> None:
    """Producers and workers are killed again and again while others go on, then all is drained."""
    print("EVENTQ_SEED", SEED)  # noqa: T201 - shown when it fails
    path = tmp_path / "told"
    roles = ["produce"] * 2 + ["work"] * 3

    killed = kill_again_and_again(url, path, roles=roles, seconds=600 if LONG else 15)
    report = drained(url)

    told = acknowledged(path)
    assert min(killed.values()) >= LEAST_KILLED
    assert len(told) >= LEAST_TOLD
    for number, (key, name) in told.items():
        task = report.tasks[number]
        assert msgspec.json.decode(task.tags) == {"name": name}
        assert (task.key or str(number)) == key
    assert report.all_final
    assert report.states == {"completed": len(report.tasks)}
    assert report.kinds["completed"] == len(report.tasks)
    print(killed, len(told), report.kinds)  # noqa: T201


def test_a_killed_producers_file_opens_at_once(url: str, tmp_path: Path) -> None:
    """After a kill in the middle of commits, the next process finds no lock and no damage."""
    path = tmp_path / "told"
    for turn in range(3):
        with playing("produce", url, path, f"{SEED}-{turn}") as process:
            size = path.stat().st_size if path.exists() else 0
            wait_until(lambda size=size: path.exists() and path.stat().st_size > size + 500)  # type: ignore[misc]
            process.kill()
            process.wait()

        with Queue(url) as queue:
            began_s = time.monotonic()
            queue.new()
            took_s = time.monotonic() - began_s
            report = check_log(queue.log)

        assert took_s < 20
        assert set(acknowledged(path)) <= set(report.tasks)


def test_a_suspended_worker_is_overtaken_and_its_outcome_refused(url: str, tmp_path: Path) -> None:
    """A process stopped past its ttl loses its lease; what it brings later changes nothing."""
    go = tmp_path / "go"
    with Queue(url) as queue:
        queue.new(key="k")
        with playing("linger", url, go, SEED) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGSTOP)
            with running(queue, lambda _ctx, _task: "in time", lease_ttl=LEASE_TTL):
                wait_until(state_of(queue, "k", TaskState.COMPLETED))
                go.touch()
                process.send_signal(signal.SIGCONT)
                wait_until(lambda: queue.stats().refused)

        kinds = [event.kind for event in queue.history("k")]
        task = queue.get("k")
        check_log(queue.log)

    assert kinds == [
        "created", "leased", "failed", "retried", "leased", "completed", "refused",
    ]  # fmt: skip
    assert task is not None
    assert (task.result, task.attempt, task.last_error is not None) == ("in time", 2, True)


def state_of(queue: Queue, key: str, state: TaskState) -> Callable[[], bool]:
    """Whether the task has come to this state."""

    def reached() -> bool:
        task = queue.get(key)
        return task is not None and task.state is state

    return reached


class TestSignals:
    """SIGTERM and SIGINT ask a run to stop."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_the_first_lets_the_running_finish(
        self, url: str, tmp_path: Path, number: signal.Signals
    ) -> None:
        """What runs is completed, the rest is left ready, and the process ends well."""
        go = tmp_path / "go"
        with Queue(url) as queue, playing("linger", url, go, SEED) as process:
            queue.new(key="k")
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
            queue.new(key="next")
            go.touch()
            output = process.stdout.read()
            status = process.wait()

            assert status == 0
            assert "completed=1" in output
            assert [task.key for task in queue.tasks(state="ready")] == ["next"]
            assert [task.key for task in queue.tasks(state="completed")] == ["k"]

    def test_the_second_gives_the_running_back(self, url: str, tmp_path: Path) -> None:
        """The process does not wait for the grace period; another can begin at once."""
        with Queue(url) as queue, playing("linger", url, tmp_path / "go", SEED) as process:
            queue.new(key="k")
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            output = process.stdout.read()
            status = process.wait()

            assert status == 0
            assert "released=1" in output
            task = queue.get("k")
            assert task is not None
            assert (task.state, task.attempt) == (TaskState.READY, 0)
