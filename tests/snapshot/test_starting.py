"""Projections that start from a snapshot: the same as replays, and what happens if it is wrong."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from eventq import LogCorruptError
from eventq.core.commits import Commit
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.replay.fold import replay
from eventq.replay.points import Point
from eventq.snapshot import Snapshot, create_every, projection_at, put, restore_newest, take
from eventq.snapshot.codec import encode
from tests.snapshot.story import ends, of, tell


class CountingLog(MemoryLog):
    """A log that counts the events that are read."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage(), url="memory://", namespace="default")
        self.read_seqs: list[int] = []

    def read(self, *, after: int, limit: int = 10_000) -> list[Commit]:
        """See EventLog.read."""
        found = super().read(after=after, limit=limit)
        self.read_seqs += [commit.first for commit in found]
        return found


@pytest.fixture
def log() -> CountingLog:
    """A log whose commits end at 5, 8, 11, 14, 15, 17, 20, 21."""
    log = CountingLog()
    tell(log)
    return log


def wrong(log: MemoryLog, seq: int) -> Snapshot:
    """A snapshot that fits the log and says something else: a task less."""
    right = of(log, seq)
    number = next(n for n, task in right.tasks.items() if task.worker is None)
    tasks = {n: task for n, task in right.tasks.items() if n != number}
    counts = {**right.counts, "created": right.counts["created"] - 1}
    return replace(right, tasks=tasks, counts=counts)


@pytest.mark.parametrize("every", [1, 6, 14])
def test_every_point_is_what_a_replay_gives(log: CountingLog, every: int) -> None:
    """With snapshots at any distance, also for points inside of commits and for later instants."""
    list(create_every(log, every, now=0))

    for seq in range(22):
        afresh = replay(log, until=seq)
        afresh.advance_to(5_000)
        found = projection_at(log, Point(seq, 5_000))
        assert take(found) == take(afresh)
        assert found.advanced_to == afresh.advanced_to
        assert list(found.waiting()) == list(afresh.waiting())
        if seq in ends(log):
            found.check()


def test_only_the_tail_is_read(log: CountingLog) -> None:
    """Behind the commit that proves the snapshot, only what came since."""
    put(log, of(log, 17), now=0)
    log.read_seqs.clear()

    projection_at(log, Point(21, 0))

    assert log.read_seqs == [16, 18, 21]


def test_a_log_without_snapshots_is_replayed(log: CountingLog) -> None:
    """There is nothing to start from."""
    assert restore_newest(log) is None


def test_a_node_starts_from_the_newest(log: CountingLog) -> None:
    """Its projection is what a replay gives, and it reads no more than the tail."""
    put(log, of(log, 17), now=0)
    log.read_seqs.clear()
    node = Node(log, clock=SystemClock())

    with node.reading() as projection:
        state = take(projection)

    assert log.read_seqs == [16, 18, 21]
    assert state == take(replay(log))


def test_a_node_survives_damaged_snapshots(
    log: CountingLog, caplog: pytest.LogCaptureFixture
) -> None:
    """Told as a warning each, and the log is replayed."""
    for seq in (8, 17):
        entry = put(log, of(log, seq), now=0)
        log.snapshots.put(entry, encode(of(log, seq))[:-1])
    node = Node(log, clock=SystemClock())

    with node.reading() as projection:
        state = take(projection)

    assert state == take(replay(log))
    assert [record.getMessage() for record in caplog.records] == ["snapshot discarded"] * 2


def test_a_snapshot_that_leads_nowhere_is_replayed_away(
    log: CountingLog, caplog: pytest.LogCaptureFixture
) -> None:
    """One that fits the log and yet is wrong shows at the first move that it does not allow."""
    put(log, wrong(log, 8), now=0)
    node = Node(log, clock=SystemClock())

    with caplog.at_level(logging.WARNING), node.reading() as projection:
        state = take(projection)
    found = projection_at(log, Point(21, 0))

    assert state == take(found) == take(replay(log))
    assert [record.getMessage() for record in caplog.records] == ["folding the log anew"] * 2


def test_a_damaged_log_is_damaged_with_a_snapshot_too(log: CountingLog) -> None:
    """What is wrong behind the snapshot is not taken for a fault of the snapshot."""
    put(log, of(log, 8), now=0)
    commits = log.storage.commits[log.namespace]
    commits[4] = replace(commits[4], at=commits[4].at + 1)

    with pytest.raises(LogCorruptError, match="position 15"):
        projection_at(log, Point(21, 0))
    with (
        pytest.raises(LogCorruptError, match="position 15"),
        Node(log, clock=SystemClock()).reading(),
    ):
        pass


def test_a_history_taken_back_takes_its_snapshots_along(log: CountingLog) -> None:
    """After a failover another commit may stand where a snapshot was taken: it is not used."""
    put(log, of(log, 5), now=0)
    put(log, of(log, 21), now=0)
    del log.storage.commits[log.namespace][-1]

    found = restore_newest(log)

    assert found is not None
    assert found.seq == 5
