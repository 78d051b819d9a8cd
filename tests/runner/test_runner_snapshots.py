"""Snapshots that running nodes write by themselves: when, and that no work suffers from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest

from eventq import LogUnavailableError, Queue
from eventq.eventlog.contract import SnapshotEntry
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.replay.fold import replay
from eventq.runner import snapshots
from eventq.runner.snapshots import SnapshotKeeper
from eventq.snapshot import get, put, take
from eventq.snapshot.codec import encode
from tests.support import Gate, HookedLog, ends, final, node_of, queue_on, running, wait_until


@pytest.fixture
def log() -> HookedLog:
    """A log in memory."""
    return HookedLog()


@pytest.fixture
def queue(log: HookedLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """A queue whose idle nodes write a snapshot after ten events, and busy ones after fifty."""
    monkeypatch.setattr(snapshots, "IDLE_EVENTS", 10)
    monkeypatch.setattr(snapshots, "BUSY_EVENTS", 50)
    with queue_on(log, workers=1) as queue:
        yield queue


def seqs(log: HookedLog) -> list[int]:
    """Positions of the snapshots there are."""
    return [entry.seq for entry in log.snapshots.entries()]


def work(*_: object) -> None:
    """Does its task at once."""


def test_an_idle_node_writes_one(queue: Queue, log: HookedLog) -> None:
    """Once it has nothing to do and enough has happened, it writes what a replay gives."""
    queue.new_many({"n": n} for n in range(6))
    with running(queue, work):
        wait_until(lambda: seqs(log), "a snapshot")

    [seq] = seqs(log)
    assert seq == log.head().seq
    assert get(log, seq) == take(replay(log))


def test_a_run_to_the_end_leaves_one(queue: Queue, log: HookedLog) -> None:
    """A run that ends when it is idle has written it when it returns."""
    queue.new_many({"n": n} for n in range(6))

    queue.run(work, until="idle")

    assert seqs(log) == [log.head().seq]


def test_few_events_are_not_worth_one(queue: Queue, log: HookedLog) -> None:
    """Fewer events than make a replay slow."""
    queue.new()

    queue.run(work, until="idle")

    assert seqs(log) == []


def test_the_next_one_comes_after_as_many_events(queue: Queue, log: HookedLog) -> None:
    """What has a snapshot counts from there, also for a node that starts anew."""
    queue.new_many({"n": n} for n in range(6))
    queue.run(work, until="idle")
    [first] = seqs(log)

    queue.new()
    queue.run(work, until="idle")
    assert seqs(log) == [first]

    queue.new_many({"n": n} for n in range(4))
    queue.run(work, until="idle")

    assert seqs(log) == [first, log.head().seq]


def test_there_are_never_more_tasks_than_events_between(queue: Queue, log: HookedLog) -> None:
    """A long backlog makes snapshots large, so they come less often."""
    queue.new_many(({"n": n} for n in range(30)), delay="1h")
    queue.run(work, until="idle")
    [first] = seqs(log)
    for _ in range(3):
        queue.new_many(({"n": n} for n in range(11)), delay="1h")
        queue.run(work, until="idle")

    assert seqs(log) == [first]
    assert log.head().seq - first == 33


def test_one_of_another_node_is_as_good(queue: Queue, log: HookedLog) -> None:
    """A node that finds a newer one than it thought writes none."""
    queue.new_many({"n": n} for n in range(20))
    entry = put(log, take(replay(log)), now=1)
    log.snapshots.put = lambda *_: pytest.fail("needless")  # type: ignore[method-assign]

    with queue_on(HookedLog(log.storage), workers=1) as other:
        keeper = SnapshotKeeper(node_of(other))
        with node_of(other).reading() as projection:
            keeper.look(projection, idle=True)
        keeper.stop()

    assert log.snapshots.entries() == [entry]


def test_a_damaged_one_does_not_count(queue: Queue, log: HookedLog) -> None:
    """A node that cannot use the newest one writes a better one in its place."""
    queue.new_many(({"n": n} for n in range(20)), delay="1h")
    entry = put(log, take(replay(log)), now=1)
    log.snapshots.put(entry, b"rubbish")

    queue.run(work, until="idle")

    assert get(log, entry.seq) == take(replay(log))


def test_a_busy_node_writes_one_in_the_end(queue: Queue, log: HookedLog) -> None:
    """A queue that is never idle has one after ten times as many events all the same."""
    gate = Gate()
    queue.new_many(({"n": n} for n in range(49)), delay="1h")
    queue.new(key="long")
    with running(queue, gate):
        assert gate.reached.wait(60)
        wait_until(lambda: seqs(log), "a snapshot")
        assert not ends(queue, "long")()
        gate.open()

    assert seqs(log)[0] >= 50


def test_a_node_at_work_writes_none_before(queue: Queue, log: HookedLog) -> None:
    """While a task runs, what an idle node would write is left."""
    gate = Gate()
    queue.new_many(({"n": n} for n in range(20)), delay="1h")
    queue.new(key="long")
    keeper = SnapshotKeeper(node_of(queue))
    with running(queue, gate):
        assert gate.reached.wait(60)
        with node_of(queue).reading() as projection:
            keeper.look(projection, idle=False)
        keeper.stop()
        assert seqs(log) == []
        gate.open()


def test_work_goes_on_while_one_is_written(queue: Queue, log: HookedLog) -> None:
    """A slow database keeps nobody from a task that comes meanwhile."""
    gate = Gate()
    write = log.snapshots.put

    def slow(entry: SnapshotEntry, data: bytes) -> None:
        gate()
        write(entry, data)

    log.snapshots.put = slow  # type: ignore[method-assign]
    queue.new_many({"n": n} for n in range(6))
    with running(queue, work) as run:
        assert gate.reached.wait(60)
        queue.new(key="new")
        wait_until(ends(queue, "new"), "the task to be done")
        assert seqs(log) == []
        queue.stop()
        # Long enough for a run that does not wait for it.
        run.join(0.3)
        assert run.running
        gate.open()
        run.wait()

    assert len(seqs(log)) == 1
    assert final(queue, "new").state == "completed"


@pytest.mark.parametrize("error", [LogUnavailableError("disk full"), RuntimeError("a bug")])
def test_a_failure_is_a_warning_only(
    queue: Queue,
    log: HookedLog,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run does its work, and does not try again until as many events have come."""
    tries = []

    def fail(*_: object) -> None:
        tries.append(threading.current_thread().name)
        raise error

    monkeypatch.setattr(log.snapshots, "put", fail)
    queue.new_many({"n": n} for n in range(6))
    with caplog.at_level(logging.WARNING, "eventq.runner"):
        report = queue.run(work, until="idle")

    assert report.completed == 6
    assert tries[0] == "eventq-snapshot"
    assert [record.getMessage() for record in caplog.records][:1] == ["no snapshot written"]


def test_one_keeper_does_not_try_at_once_again(
    queue: Queue, log: HookedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure as many events must come as after a success."""
    tries = []

    def fail(*_: object) -> None:
        tries.append(log.head().seq)
        raise LogUnavailableError("disk full")

    monkeypatch.setattr(log.snapshots, "put", fail)
    node = Node(log, clock=SystemClock())
    keeper = SnapshotKeeper(node)
    for count in (12, 3, 3, 5):
        queue.new_many(({"n": n} for n in range(count)), delay="1h")
        with node.reading() as projection:
            keeper.look(projection, idle=True)
        keeper.stop()

    assert tries == [12]


def test_what_is_of_a_newer_version_is_not_kept(queue: Queue, log: HookedLog) -> None:
    """A node that met an unknown kind may not decide, so it writes nothing either."""
    queue.new_many(({"n": n} for n in range(20)), delay="1h")
    keeper = SnapshotKeeper(node_of(queue))
    with node_of(queue).reading() as projection:
        projection.unknown = (3, "new")
        keeper.look(projection, idle=True)
    keeper.stop()

    assert seqs(log) == []


def test_a_stop_may_come_before_anything(queue: Queue) -> None:
    """Stopping a keeper that never wrote, or twice, does nothing."""
    keeper = SnapshotKeeper(node_of(queue))
    keeper.stop()
    keeper.stop()

    assert keeper.thread is None


def test_a_node_starts_from_what_another_wrote(queue: Queue, log: HookedLog) -> None:
    """The whole way: one node works and writes, the next one starts from there."""
    queue.new_many({"n": n} for n in range(6))
    queue.run(work, until="idle")
    queue.new(delay="1h")

    with queue_on(HookedLog(log.storage)) as other, node_of(other).reading() as projection:
        state = encode(take(projection))

    assert state == encode(take(replay(log)))


def test_a_thread_that_cannot_be_started_stops_no_work(
    queue: Queue, log: HookedLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told as a warning, once, like any snapshot that cannot be written."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "eventq-snapshot":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    queue.new_many({"n": n} for n in range(6))
    with caplog.at_level(logging.WARNING):
        report = queue.run(work, until="idle")

    assert report.completed == 6
    assert seqs(log) == []
    assert [record.getMessage() for record in caplog.records] == ["no snapshot written"]
