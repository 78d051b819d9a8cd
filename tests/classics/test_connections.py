"""Connections and readers: what is lost on the way, what comes late, and what a fork copies."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import threading
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from eventq import LogOutcomeUnknownError, LogUnavailableError, Queue
from eventq.core.commits import Commit
from eventq.verify import verify
from tests import servers
from tests.eventlog.mongo.proxy import MOMENTS, Proxy
from tests.support import Gate, HookedLog, Spawned, final, kinds, queue_on, running, wait_until
from tools.mongod import ReplicaSet

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_a_connection_lost_in_a_run_loses_and_doubles_nothing(
    queue: Queue, log: HookedLog, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the worker died of it, forgot its outcomes, or ran what it had completed again.

    Here the run goes on: an outcome is sent until it is known to be in the log, and never twice.
    """
    monkeypatch.setattr("eventq.runner.runner.UNAVAILABLE_S", 0.001)
    queue.new_many([{}] * 50)
    chance, ran = random.Random(1), list[int]()

    def lose_request(_commit: Commit) -> None:
        if chance.random() < 0.4:
            raise LogUnavailableError("the connection was lost")

    def lose_reply(_commit: Commit) -> None:
        if chance.random() < 0.4:
            raise LogOutcomeUnknownError("the connection was lost")

    if lost == "request":
        log.before_append = lose_request
    else:
        log.after_append = lose_reply
    report = queue.run(lambda _, task: ran.append(task.number), until="idle")
    log.before_append = log.after_append = lambda _: None

    # A reply that was lost is not counted, as it says nothing.
    assert report.completed == 50 or lost == "reply"
    assert (queue.stats().completed, report.refused) == (50, 0)
    assert sorted(ran) == list(range(1, 51))
    found = [kind for number in ran for kind in kinds(queue, str(number))]
    assert (found.count("completed"), found.count("refused"), found.count("failed")) == (50, 0, 0)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_connection_cut_around_a_write_is_found_again(mongod: ReplicaSet, moment: str) -> None:
    """Elsewhere a cut at the wrong moment of a write tore the queue's state, or did work twice.

    Here, with a real server behind a wire that is cut at each fourth write, each task is run once.
    """
    writes, ran = itertools.count(1), list[int]()
    [member] = mongod.members
    name = servers.new_url(mongod).rsplit("/", 1)[1].split("?")[0]

    def cut() -> str | None:
        return moment if next(writes) % 4 == 0 else None

    with (
        Proxy(member.port, command="insert", decide=cut) as proxy,
        Queue(proxy.url(name), workers=1) as queue,
    ):
        for number in range(10):
            queue.new(key=f"k{number}")
        report = queue.run(lambda _, task: ran.append(task.number), until="idle")

        assert len(set(ran)) == len(ran) == report.completed == 10
        assert queue.stats().completed == 10
        assert verify(queue.log).findings == ()
    assert next(writes) > 8


def test_a_run_is_not_idle_for_ever_after_a_reconnect() -> None:
    """Elsewhere a worker that lost its broker came back, said so, and never took a task again.

    Here a run whose server went away and came back runs what is made after that.
    """
    with (
        servers.running() as own,
        Queue(servers.new_url(own, "serverSelectionTimeoutMS=500"), workers=1) as queue,
    ):
        queue.new(key="before")
        with running(queue, lambda _ctx, task: task.key) as run:
            wait_until(lambda: final(queue, "before").state == "completed")
            own.members[0].kill()
            with pytest.raises(LogUnavailableError):
                queue.new(key="refused")
            own.members[0].start()
            own.wait_for_primary()
            # Made by another client, so that only the log itself can tell of it.
            with Queue(queue.log.url) as other:
                other.new(key="after")
                wait_until(lambda: final(other, "after").state == "completed", "the run to wake")
            assert run.running

        assert kinds(queue, "after") == ["created", "leased", "completed"]


def test_no_reader_skips_what_is_committed_late(log: HookedLog) -> None:
    """Elsewhere a slow transaction had drawn its number first, and readers were past it by then.

    Here a position is given by the append itself. Whoever waits for the slow one gets a later
    position, and until it is there a reader is given nothing beyond it.
    """
    gate = Gate()

    def hold(_commit: Commit) -> None:
        log.before_append = lambda _: None
        gate()

    with queue_on(log) as slow, queue_on(HookedLog(log.storage)) as quick:
        log.before_append = hold
        first = Spawned(slow.new, key="slow")
        wait_until(gate.reached.is_set)
        others = Spawned(quick.new_many, [{}] * 3)
        reader = Spawned(lambda: [event.seq for event in islice(quick.events(follow=True), 4)])
        before = log.head().seq
        gate.open()
        first.result()
        others.result()

        assert before == 0
        assert reader.result() == [1, 2, 3, 4]
        assert quick.tasks()[0].key == "slow"


def test_readers_see_what_many_writers_append_without_a_gap(tmp_path: Path) -> None:
    """Elsewhere an outbox was polled by serial numbers, and under load some rows were never seen.

    Here a follower of the log sees each position once and in order, while four writers append.
    """
    url = f"sqlite:///{tmp_path}/eventq.db"
    with Queue(url) as reader:
        nodes = [Queue(url) for _ in range(4)]

        def write(queue: Queue) -> None:
            with closing(queue):
                for number in range(50):
                    queue.new({"n": number})

        writers = [threading.Thread(target=write, args=(queue,)) for queue in nodes]
        for writer in writers:
            writer.start()
        seen = [event.seq for event in islice(reader.events(follow=True), 200)]
        for writer in writers:
            writer.join()

    assert seen == list(range(1, 201))


FORK = """
import os, sys, warnings
import eventq
warnings.simplefilter("ignore")

def handles():
    folder, database = "/proc/self/fd", sys.argv[1].removeprefix("sqlite:///")
    found = os.listdir(folder) if os.path.isdir(folder) else []
    return sum(os.path.realpath(f"{folder}/{each}").startswith(database) for each in found)

with eventq.Queue(sys.argv[1], workers=1) as queue:
    queue.new(key="before")
    assert handles() or not os.path.isdir("/proc/self/fd")
    children = []
    for child in range(3):
        if (pid := os.fork()) == 0:
            carried = handles()
            for number in range(20):
                queue.new(key=f"child-{child}-{number}")
            queue.run(lambda ctx, task: task.key, until="idle", signals=False)
            queue.close()
            os._exit(carried)
        children.append(pid)
    for number in range(20):
        queue.new(key=f"parent-{number}")
    codes = [os.waitpid(pid, 0)[1] for pid in children]
    queue.new(key="after")
    queue.run(lambda ctx, task: task.key, until="idle")
    print(codes)
"""

CHECK = """
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("PRAGMA integrity_check").fetchone()[0])
"""


def test_a_database_handle_survives_a_fork(tmp_path: Path) -> None:
    """Elsewhere a connection carried across a fork tore the database, or hung both processes.

    Here parent and children each go on with a connection and a node of their own, in one log.
    """
    url = f"sqlite:///{tmp_path}/eventq.db"
    done = subprocess.run(
        [sys.executable, "-c", FORK, url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "[0, 0, 0]\n"), done.stderr
    # Before this process opens it: two modules of SQLite must not share a file in one process.
    check = [sys.executable, "-c", CHECK, f"{tmp_path}/eventq.db"]
    assert subprocess.run(check, capture_output=True, check=True).stdout == b"ok\n"
    with Queue(url) as queue:
        assert queue.stats().completed == 82
        assert sum(event.kind == "leased" for event in queue.events()) >= 82
        assert all(task.result == task.key for task in queue.tasks(state="completed"))
        assert verify(queue.log).findings == ()
