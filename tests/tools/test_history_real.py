"""Real processes on one file, some of which are killed: log and journals show nothing wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import eventq
from tools.history.journals import read_folder

ROOT = Path(__file__).parents[2]
TASKS = 120
WAIT_S = 60.0


def begin(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that runs the queue."""
    command = [sys.executable, "-m", "tests.tools.journalling", url, str(folder)]
    return subprocess.Popen(command, cwd=ROOT)


def wait_for_starts(folder: Path, count: int) -> None:
    """Until so many attempts have begun in all."""
    ends_at = time.monotonic() + WAIT_S
    while sum(line["what"] == "start" for line in read_folder(folder)) < count:
        assert time.monotonic() < ends_at, "the processes do nothing"
        time.sleep(0.01)


def test_killed_processes_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """What a killed one had begun is done again, and each run and each end is in the log."""
    url, workers = f"sqlite:///{tmp_path / 'tasks.db'}", tmp_path / "workers"
    workers.mkdir()
    with eventq.Queue(url) as queue:
        queue.set_limit("three", running=3)
        for number in range(TASKS):
            queue.new(
                {"number": number},
                name="does",
                limits=["three"],
                priority=number % 3,
                max_retries=9,
                backoff="10ms",
            )
    processes = [begin(url, workers) for _ in range(2)]
    for round_ in range(1, 3):
        wait_for_starts(workers, round_ * 20)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        processes = [*processes[1:], begin(url, workers)]
    for process in processes:
        assert process.wait(WAIT_S) == 0

    options = ["--workers", str(workers), "--drained", "--retries-by-policy"]
    done = subprocess.run(
        [sys.executable, "-m", "tools.history", url, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    with eventq.Queue(url) as queue:
        assert queue.stats().completed == TASKS
        assert sum(event.kind == "failed" for event in queue.events()) > 10
