"""What the processes of the crash tests do: ``python -m tests.roles ROLE URL FILE SEED``.

A producer writes down each task only after the call that made it has returned, in one write to a
file, which the end of the process cannot undo.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path

from eventq import Queue, Retry, Task, TaskSpec
from eventq.handlers.context import Context

LEASE_TTL = "1s"
KEYS = 300


def produce(url: str, path: str, seed: str) -> None:
    """Creates tasks in all ways until it is killed."""
    draw = random.Random(seed)
    pause = threading.Event()
    told = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Queue(url, backoff="20ms") as queue:
        turn = 0
        while True:
            turn += 1
            tags = {"name": f"{seed}-{turn}"}
            way = draw.random()
            if way < 0.5:
                tasks = [queue.new(tags, priority=draw.randint(-2, 2))]
            elif way < 0.8:
                key = f"key-{draw.randrange(KEYS)}"
                tasks = queue.new_many([TaskSpec({"name": key}, key=key)])
            else:
                tasks = queue.new_many([tags] * draw.randint(1, 40), delay=draw.random() / 10)
            lines = [f"{task.number} {task.key} {task.tags['name']}\n" for task in tasks]
            os.write(told, "".join(lines).encode())
            pause.wait(draw.random() / 50)


def work(url: str, _path: str, seed: str) -> None:
    """Runs tasks until it is killed; one attempt in ten fails."""
    draw = random.Random(seed)
    pause = threading.Event()

    def worker(_ctx: Context, task: Task) -> str:
        pause.wait(draw.random() / 200)
        if draw.random() < 0.1:
            raise Retry("bad luck")
        return str(task.tags["name"])

    with Queue(url, workers=3) as queue:
        queue.run(worker, lease_ttl=LEASE_TTL)


def linger(url: str, path: str, _seed: str) -> None:
    """Runs tasks that end once a file is there, and writes what became of them beside it."""
    pause = threading.Event()

    def worker(_ctx: Context, _task: Task) -> str:
        print("begun", flush=True)  # noqa: T201 - how the test is told
        while not Path(path).exists():
            pause.wait(0.01)
        return "late"

    with Queue(url, workers=1) as queue:
        report = queue.run(worker, lease_ttl=LEASE_TTL, grace="20s")
        print(report, flush=True)  # noqa: T201


def main() -> None:
    """Plays the role."""
    role, url, path, seed = sys.argv[1:]
    {"produce": produce, "work": work, "linger": linger}[role](url, path, seed)


if __name__ == "__main__":
    main()
