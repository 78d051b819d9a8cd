"""The run that is recorded: one process makes, works on, cancels and archives tasks.

It opens and closes the log several times, forks with it open, and writes enough for SQLite to move
pages from the WAL.
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

import eventq
from eventq.archive import archive_events, delete_archived, find_end
from eventq.core.commits import Commit
from eventq.replay.points import find_point
from eventq.snapshot import making

FILE = "tasks.db"
TURNS = 3
TASKS_A_TURN = 14
CALLERS = 2
# Of so many tasks one has tags of many pages.
LARGE = 6
LARGEST_BYTES = 60_000


def run(folder: Path, archive: Path, seed: int) -> list[Commit]:
    """Does all that on an empty folder; returns all commits there ever were, in order.

    The archive lies elsewhere, on a disk that nothing happens to.
    """
    url = f"sqlite:///{folder / FILE}"
    commits: list[Commit] = []
    for turn in range(TURNS):
        with eventq.Queue(url, workers=2, backoff="1ms") as queue:
            chances = [Random(f"{seed} {turn} {caller}") for caller in range(CALLERS)]
            with ThreadPoolExecutor(CALLERS) as callers:
                calls = callers.map(partial(_call, queue), chances)
                queue.run(_work, until="idle")
                deque(calls, maxlen=0)
            _fork()
            _call(queue, chances[0])
            queue.run(_work, until="idle")
            log = queue.log
            commits += log.read(after=commits[-1].last if commits else 0, limit=10**9)
            end = find_point(log, str(commits[-1].last), now=0)
            making.create(log, end, now=end.at)
            if turn == TURNS - 2:
                report = archive_events(log, archive, until=find_end(log, end))
                delete_archived(log, archive, until=report.until, now=end.at)
    return commits


def read(folder: Path) -> None:
    """Opens what is there, and reads all of it."""
    with eventq.Queue(f"sqlite:///{folder / FILE}") as queue:
        queue.log.read(after=queue.log.start().seq, limit=10**9)


def _fork() -> None:
    """Forks, which closes all connections: those that come then must sync as the first ones did."""
    with warnings.catch_warnings():
        # That others threads are not in the child is no matter to one that ends at once.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _call(queue: eventq.Queue, chance: Random) -> None:
    """Makes tasks, some in one commit or with large tags, and cancels some."""
    for _ in range(TASKS_A_TURN):
        size = chance.randrange(LARGEST_BYTES) if chance.randrange(LARGE) == 0 else 0
        tags = {"number": chance.randrange(10**9), "text": "x" * size}
        task = queue.new(tags, key=f"k{tags['number']}", max_retries=2)
        if chance.random() < 0.2:
            queue.new_many([{"number": chance.randrange(10**9)} for _ in range(5)])
        if chance.random() < 0.2:
            try:
                queue.cancel(task.key)
            except eventq.NotAllowedError:
                continue


def _work(ctx: eventq.Context, task: eventq.Task) -> object:
    number = int(str(task.tags["number"]))
    if number % 5 == ctx.task.attempt:
        raise ValueError(number)
    return number
