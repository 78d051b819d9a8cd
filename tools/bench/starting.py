"""How soon a node begins work on a log with a million pending tasks and a snapshot."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from eventq import Queue, Task
from tools.bench.bench import Bench, children, heard
from tools.bench.report import Figure, Floor
from tools.bench.work import fill


def start(bench: Bench) -> Iterator[Figure]:
    """From the opening of the queue, in a process of its own, to the first task's first line."""
    url = bench.url()
    with Queue(url) as queue:
        fill(queue, bench.pick(1_000_000, 5_000))
    command = [sys.executable, "-m", "eventq", "snapshot", "--url", url, "create"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with children(begin, [(url,)]) as (child,):
        child.send("go")
        yield Figure("start with 1 million pending", heard(child), "s", Floor(2.5, at_most=True))


def begin(connection: Connection, url: str) -> None:
    """A child that sends how long it took to its first task."""
    connection.send("ready")
    connection.recv()
    began_s, took_s = time.perf_counter(), 0.0
    with Queue(url, workers=2) as queue:

        def note(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
            nonlocal took_s
            took_s = took_s or time.perf_counter() - began_s
            queue.stop()

        queue.run(note)
    connection.send(took_s)
