"""The core on a real mongod: against its model step by step, and killed at any moment."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from random import Random
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from eventq import Queue
from eventq.eventlog import open_log
from tests.checker import check_log
from tests.servers import new_url
from tests.test_stateful import QueueMachine
from tools.mongod import ReplicaSet

KILLS = 6
STEPS = 30


class MongoMachine(QueueMachine):
    """The same on a log that answers from a server, a new database each time."""

    servers: ClassVar[ReplicaSet]

    def __init__(self) -> None:
        super().__init__(open_log(new_url(self.servers)))

    def teardown(self) -> None:
        """See QueueMachine."""
        with closing(self.log):
            super().teardown()


@pytest.mark.timeout(3_600)
def test_core_agrees_with_its_model(mongod: ReplicaSet) -> None:
    """Whatever the commands: a list, a replay from the server and the checker tell the same."""
    tries = settings(
        QueueMachine.TestCase.settings,
        max_examples=settings().max_examples // 8,
        stateful_step_count=STEPS,
    )

    MongoMachine.servers = mongod

    run_state_machine_as_test(MongoMachine, settings=tries)


# Creates and works on tasks at once, and prints the number of each task once it is acknowledged.
BUSY = """
import sys, threading
from eventq import Queue
queue = Queue(sys.argv[1], workers=2)
def create():
    while True:
        print(queue.new({"from": "the busy"}).number, flush=True)
threading.Thread(target=create, daemon=True).start()
queue.run(lambda ctx, task: None, lease_ttl="1s")
"""


def test_killed_processes_lose_and_repeat_nothing(url: str) -> None:
    """Of processes killed at any moment every acknowledged task is there, and is worked off."""
    random = Random(3)
    acknowledged: list[int] = []
    Queue(url).close()

    for _ in range(KILLS):
        acknowledged += killed_after(random.randint(1, 60), url)

    with Queue(url, workers=2) as queue:
        queue.run(lambda _ctx, _task: None, until="idle", lease_ttl="1s")
    with closing(open_log(url)) as log:
        report = check_log(log)
    assert len(acknowledged) > KILLS
    assert set(acknowledged) <= report.tasks.keys()
    assert report.states == {"completed": len(report.tasks)}


def killed_after(count: int, url: str) -> list[int]:
    """Starts a busy process, kills it after so many tasks, and gives all it was told."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(count)]
        process.kill()
        said += process.stdout.readlines()
    return [int(line) for line in said if line.endswith("\n")]
