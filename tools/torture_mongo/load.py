"""Processes that create and work on tasks as long as they are left to; they report what was told.

They do nothing about failures of the log but what any program would: try again.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from eventq import Queue, Task
from eventq.errors import LogUnavailableError
from eventq.host.groups import die_with_parent

NAP_S = 0.01
# A producer's pause between two tasks: the load is steady, not as much as the machine can bear.
GAP_S = 0.02
# A process that says nothing for so long hangs.
PATIENCE_S = 120.0

Acknowledged = dict[str, int]


class Load:
    """Producers and workers on one queue, each a process; a block of ``with`` long."""

    def __init__(self, url: str, *, producers: int = 1, workers: int = 2) -> None:
        context = multiprocessing.get_context("spawn")
        roles: list[Callable[..., None]] = [produce] * producers + [work] * workers
        self._producers = producers
        self._pipes: list[Connection] = []
        self._processes = []
        for number, role in enumerate(roles):
            ours, theirs = context.Pipe()
            self._pipes.append(ours)
            self._processes.append(
                context.Process(
                    target=_play, args=(role, theirs, url, number, os.getpid()), daemon=True
                )
            )

    def __enter__(self) -> Self:
        """Starts all and waits until they are at work."""
        for process in self._processes:
            process.start()
        for pipe in self._pipes:
            assert heard(pipe) == "ready", "a process first says that it is ready"
        return self

    def stop_producing(self) -> Acknowledged:
        """Ends the producers; gives each key whose task they were told is there, and its number."""
        acknowledged: Acknowledged = {}
        for pipe in self._pipes[: self._producers]:
            pipe.send("stop")
            acknowledged |= heard(pipe)
        return acknowledged

    def stop_working(self) -> int:
        """Ends the workers; gives how many tasks they say they completed."""
        pipes = self._pipes[self._producers :]
        for pipe in pipes:
            pipe.send("stop")
        return sum(heard(pipe) for pipe in pipes)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Ends whatever still runs."""
        for process in self._processes:
            process.kill()
            process.join()


def _play(role: Callable[..., None], pipe: Connection, url: str, number: int, parent: int) -> None:
    """Plays a role; however the attack ends, nothing of it is left at work."""
    die_with_parent(parent)
    role(pipe, url, number)


def produce(pipe: Connection, url: str, number: int) -> None:
    """A process that creates one task after the other until it is told to stop."""
    acknowledged: Acknowledged = {}
    with Queue(url) as queue:
        pipe.send("ready")
        while not pipe.poll(GAP_S):
            key = f"p{number}-{os.getpid()}-{len(acknowledged)}"
            # Anything but an outage is an error of ours, and ends the process.
            while (task := _try_to_create(queue, key)) is None:
                pass
            acknowledged[key] = task.number
    pipe.send(acknowledged)


def work(pipe: Connection, url: str, _number: int) -> None:
    """A process that works until it is told to stop."""
    with Queue(url, workers=2) as queue:
        queue.stats()
        pipe.send("ready")
        threading.Thread(target=_stop_when_told, args=(pipe, queue), daemon=True).start()
        report = queue.run(_nap)
    pipe.send(report.completed)


def heard(pipe: Connection) -> Any:  # noqa: ANN401 - what the process sends
    """The next thing a process says. Raises RuntimeError when it hangs or has died."""
    try:
        if pipe.poll(PATIENCE_S):
            return pipe.recv()
    except EOFError:
        pass
    raise RuntimeError("a process died or hung; its own error stands above")


def _try_to_create(queue: Queue, key: str) -> Task | None:
    try:
        return queue.new({"key": key}, key=key)
    except LogUnavailableError:
        return None


def _stop_when_told(pipe: Connection, queue: Queue) -> None:
    pipe.recv()
    queue.stop()


def _nap(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    time.sleep(NAP_S)
