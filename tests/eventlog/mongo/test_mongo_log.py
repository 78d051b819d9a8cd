"""What the MongoDB log does beyond the contract: waking, forking, the clock, the view, numbers."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC
from types import SimpleNamespace
from typing import Any

import pymongo
import pytest
from bson import Int64
from pymongo.uri_parser import parse_uri

from eventq import Queue
from eventq.core.durations import SECOND_US
from eventq.core.seal import is_sealed
from eventq.errors import LogConflictError
from eventq.eventlog import open_log
from eventq.eventlog.mongo import connection as mongo_connection
from eventq.eventlog.mongo import documents as mongo_documents
from eventq.eventlog.mongo import driver as mongo_client
from eventq.eventlog.mongo.log import MongoLog
from tests.eventlog.commits import (
    EMPTY,
    WAIT_S,
    append,
    append_each,
    assert_tiles,
    commit_after,
    everything,
)
from tests.support import ManualClock, wait_until
from tools.mongod import ReplicaSet

# -- waking --------------------------------------------------------------------------------------

APPEND_ON_EACH_LINE = """
import sys
from eventq.eventlog import open_log
from tests.eventlog.commits import append
log = open_log(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    append(log)
log.close()
"""


def test_append_of_another_process_wakes(log: MongoLog, url: str) -> None:
    """Each append of another process wakes the watch, by the server and not by looking."""
    woken = threading.Event()
    with (
        closing(log.watch(woken.set)),
        subprocess.Popen(
            [sys.executable, "-c", APPEND_ON_EACH_LINE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        for count in range(1, 11):
            process.stdin.write("\n")
            process.stdin.flush()
            assert woken.wait(WAIT_S)
            woken.clear()
            assert log.head().seq >= count

        process.stdin.close()


def test_append_of_another_namespace_does_not_wake(log: MongoLog, url: str) -> None:
    """A busy namespace leaves the nodes of a quiet one asleep."""
    woken, other_woken = threading.Event(), threading.Event()
    with closing(open_log(url, namespace="other")) as other:
        watch = log.watch(woken.set)
        with closing(other.watch(other_woken.set)), closing(watch):
            append(other)

            assert other_woken.wait(WAIT_S)
            assert not woken.is_set()


def test_watch_survives_a_change_of_primary(mongod: ReplicaSet, log: MongoLog) -> None:
    """A watch whose stream broke off finds a new one, and tells what came in between."""
    woken = threading.Event()
    with closing(log.watch(woken.set)):
        append(log)
        assert woken.wait(WAIT_S)
        with mongod.members[0].client() as client:
            client.admin.command({"replSetStepDown": 1, "force": True})
        woken.clear()

        append(log)

        assert woken.wait(WAIT_S)


# -- forking -------------------------------------------------------------------------------------

FORK = """
import os, sys, warnings
from eventq import Queue
warnings.simplefilter("ignore", DeprecationWarning)
queue = Queue(sys.argv[1])
queue.new({"who": "before"})
queue.stats()
child = os.fork()
who = "parent" if child else "child"
for _ in range(20):
    queue.new({"who": who})
assert queue.run(lambda ctx, task: None, until="idle") is not None
queue.close()
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_forked_child_goes_on_beside_its_parent(log: MongoLog, url: str) -> None:
    """Both use the queue after a fork, with connections of their own."""
    subprocess.run([sys.executable, "-c", FORK, url], check=True, timeout=60)

    with Queue(url) as queue:
        stats = queue.stats()
    assert_tiles(everything(log))
    assert stats.completed == 41


# -- the clock -----------------------------------------------------------------------------------


def skew(monkeypatch: pytest.MonkeyPatch, seconds: float) -> ManualClock:
    """Sets this host's clock wrong; gives the same clock for a queue."""
    clock = ManualClock()
    clock.us = time.time_ns() // 1_000
    clock.jump(seconds)
    wrong = SimpleNamespace(time_ns=lambda: clock.now_us() * 1_000)
    monkeypatch.setattr(mongo_client, "time", wrong)
    return clock


@pytest.mark.parametrize("hours", [-5, 5])
def test_wrong_clock_of_one_host_bends_no_time(
    url: str, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """A host whose clock is hours off stamps its events with the time of the servers."""
    clock = skew(monkeypatch, hours * 3_600)
    with Queue(url, clock=clock) as queue:
        task = queue.new()

    assert abs(task.created_at.timestamp() - time.time()) < 10


def test_small_difference_of_clocks_is_none(log: MongoLog) -> None:
    """What cannot be told from the way to the server and back is not corrected."""
    assert abs(log.clock_offset_us()) < SECOND_US // 10


def test_clock_of_a_server_that_is_away_is_not_asked_again(
    log: MongoLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it cannot be measured the last difference stands, and nobody waits for it."""
    asked = []

    def fail(_client: object) -> int:
        asked.append(1)
        raise pymongo.errors.AutoReconnect("away")

    monkeypatch.setattr(mongo_connection, "measure_offset_us", fail)

    assert [log.clock_offset_us() for _ in range(3)] == [0, 0, 0]
    assert len(asked) == 1


# -- what is stored ------------------------------------------------------------------------------


def test_numbers_come_back_as_plain_ones(log: MongoLog) -> None:
    """The driver's class for 64-bit numbers never gets out: seals and types are as they were."""
    commit = commit_after(EMPTY, 2, keys={"k": 1}, tasks=[1, 2**40], at=2**52)
    log.append(commit)

    [found] = log.read(after=0)
    stored = mongo_documents.to_document("default", commit)
    stored["first"], stored["at"] = Int64(1), float(2**52)

    numbers = [found.first, found.at, *found.tasks, *found.keys.values(), log.head().at]
    assert {type(number) for number in numbers} == {int}
    assert is_sealed(found)
    assert mongo_documents.to_commit(stored) == commit


def test_view_shows_one_document_an_event(mongod: ReplicaSet, log: MongoLog, url: str) -> None:
    """Somebody in the shell can ask for a kind, a task and a time."""
    with Queue(url) as queue:
        queue.new_many([{"a": "b"}, {}])
        queue.run(lambda _ctx, _task: None, until="idle")
    with mongod.members[0].client() as client:
        view = client[parse_uri(url)["database"]][mongo_documents.EVENTS_VIEW]
        rows = list(view.find({}, sort=[("seq", 1)]))
        completed = view.count_documents({"kind": "completed", "task": 2})

    assert [row["seq"] for row in rows] == list(range(1, 7))
    assert sorted(row["kind"] for row in rows) == sorted(["created", "leased", "completed"] * 2)
    assert completed == 1
    assert all(row["time"].timestamp() == row["at"] // 1_000 / 1_000 for row in map(utc, rows))
    assert log.head().seq == 6


def utc(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its time zone said."""
    return {**row, "time": row["time"].replace(tzinfo=UTC)}


def plan_of(mongod: ReplicaSet, url: str, query: dict[str, Any]) -> str:
    """How the server finds the documents."""
    with mongod.members[0].client() as client:
        commits = client[parse_uri(url)["database"]][mongo_documents.COMMITS]
        return str(commits.find(query).explain()["queryPlanner"]["winningPlan"])


@pytest.mark.parametrize(
    "index, query",
    [
        ("position", {"ns": "default", "first": {"$gt": 3}}),
        ("task", {"ns": "default", "tasks": 3}),
        ("key", {"ns": "default", "keys": {"$in": ["a", "b"]}}),
    ],
)
def test_queries_use_their_index(
    mongod: ReplicaSet, log: MongoLog, url: str, index: str, query: dict[str, Any]
) -> None:
    """Reading on, a history and a key are each found by an index, however long the log is."""
    append_each(log, [1] * 5)

    assert f"'indexName': '{index}'" in plan_of(mongod, url, query)


def test_two_processes_make_one_log(url: str) -> None:
    """Logs that are opened at once on an empty database share one."""
    opened: list[MongoLog] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        barrier.wait(WAIT_S)
        opened.append(MongoLog(url, namespace="default", create=True))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in opened:
        append(each)

    assert len(everything(opened[0])) == 4
    for each in opened:
        each.close()


# -- waiting one's turn --------------------------------------------------------------------------


def test_lone_writer_waits_for_nobody(log: MongoLog) -> None:
    """Pacing costs nothing where nobody competes."""
    append_each(log, [1] * 5)

    assert log.contention.wait_s() == 0


def test_writer_that_met_another_stands_back(
    log: MongoLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who lost a position waits a moment before each of its next appends."""
    now_s = time.monotonic()
    monkeypatch.setattr(log.contention, "_monotonic", lambda: now_s)
    late = commit_after(log.head())
    with closing(open_log(url)) as other:
        append(other)
    with pytest.raises(LogConflictError):
        log.append(late)

    append(log)

    assert log.contention.wait_s() > 0


def test_own_commits_are_no_company(log: MongoLog) -> None:
    """Who reads what it has appended itself stands back for nobody."""
    append_each(log, [1] * 5)

    everything(log)

    append(log)
    assert log.contention.wait_s() == 0


def test_nobody_is_told_more_before_the_last_was_heard(log: MongoLog) -> None:
    """A busy node is left alone: the watch asks whether it was heard, and then for more."""
    asked: list[int] = []
    twice = threading.Event()

    def heard() -> bool:
        asked.append(woken[0])
        return len(asked) % 3 == 0

    def wake() -> None:
        woken[0] += 1
        if woken[0] == 2:
            twice.set()

    woken = [0]
    with closing(log.remote.watch(wake, heard=heard)):
        append(log)
        wait_until(lambda: len(asked) == 3, "the watch to ask three times")
        append(log)
        assert twice.wait(WAIT_S)

    assert asked[:3] == [1, 1, 1]


def test_commits_of_others_are_company(log: MongoLog, url: str) -> None:
    """Who reads what others appended lets them in after its own commits."""
    append(log)
    with closing(open_log(url)) as other:
        append(other)

    everything(log)

    append(log)
    assert log.contention.wait_s() > 0
