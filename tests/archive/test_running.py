"""A log that is archived under nodes that are at work: they go on, whatever they still hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from eventq import LogCorruptError, Task, snapshot
from eventq.eventlog.contract import SnapshotEntry
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.replay.points import Point
from eventq.snapshot import put, take
from tests.archive.logs import move
from tests.commands import creation
from tests.support import PATIENCE_S, Gate, HookedLog, kinds, queue_on, running, wait_until


def test_a_late_outcome_of_a_task_that_was_archived_is_refused(folder: Path) -> None:
    """The run goes on, and what its log no longer holds it does not ask for."""
    log = HookedLog()
    gate = Gate()

    def work(_ctx: object, task: Task) -> None:
        if task.tags["n"] == 1:
            gate()

    with queue_on(log, workers=1) as queue:
        queue.new({"n": 1})
        with running(queue, work) as run:
            assert gate.reached.wait(PATIENCE_S)
            queue.cancel("1")
            move(log, folder)
            assert log.history(1) == []
            gate.open()
            second = queue.new({"n": 2})
            wait_until(lambda: not run.running or "completed" in kinds(queue, second.key))
            queue.stop()
            report = run.result()

        assert (report.completed, report.refused) == (1, 1)
        assert [event.seq > log.start().seq for event in log.history(1)] == [True]


@pytest.fixture
def cut_log(folder: Path) -> HookedLog:
    """A log of five created tasks whose first three are archived."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    for _ in range(3):
        node.execute(creation())
    move(log, folder)
    for _ in range(2):
        node.execute(creation())
    return log


def test_a_history_taken_back_is_folded_anew_from_where_the_log_starts(cut_log: HookedLog) -> None:
    """What was archived cannot be folded again, and need not be."""
    node = Node(cut_log, clock=SystemClock())
    with node.reading():
        pass
    cut_log._commits().pop()
    other = Node(cut_log, clock=SystemClock())
    other.execute(creation(2))
    other.execute(creation())

    with node.reading() as projection:
        projection.check()
        assert (projection.seq, projection.seal) == (7, cut_log.head().seal)


def test_damage_behind_the_start_is_told_as_damage(cut_log: HookedLog) -> None:
    """Not as a history that is archived."""
    commits = cut_log._commits()
    put(cut_log, take(snapshot.projection_at(cut_log, Point(4, 0))), now=0)
    commits[-1] = replace(commits[-1], prev=bytes(32))
    node = Node(cut_log, clock=SystemClock())

    with pytest.raises(LogCorruptError) as caught, node.reading():
        pass
    with pytest.raises(LogCorruptError) as found:
        snapshot.projection_at(cut_log, Point(5, 0))

    assert caught.value.position == found.value.position == 5


def test_a_log_cut_while_a_node_looks_for_a_snapshot(
    cut_log: HookedLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one it had found is gone for it, and the next one is found."""
    entries = cut_log.snapshots.entries()

    def cut_meanwhile() -> list[SnapshotEntry]:
        monkeypatch.undo()
        move(cut_log, folder)
        return entries

    monkeypatch.setattr(cut_log.snapshots, "entries", cut_meanwhile)
    node = Node(cut_log, clock=SystemClock())

    with node.reading() as projection:
        assert projection.seq == 5
