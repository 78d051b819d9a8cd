"""Replays that stop on the way: where they end, and that they can go on from there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import LogCorruptError, Queue
from eventq.eventlog import EventLog, open_log
from eventq.fold import catch_up, replay
from eventq.projection import Projection


@pytest.fixture
def log() -> Iterator[EventLog]:
    """A log whose commits hold several events each."""
    with Queue("memory://replayed", workers=2) as queue:
        if not queue.stats().total:
            queue.new_many({"n": n} for n in range(7))
            queue.run(lambda *_: None, until="idle")
        yield open_log("memory://replayed")


def test_a_replay_can_go_event_by_event(log: EventLog) -> None:
    """Ending inside a commit, it goes on there, and each step is what a replay so far gives."""
    stepped = Projection(log.namespace)
    last = log.head().seq
    for seq in range(1, last + 1):
        catch_up(stepped, log, until=seq)
        stepped.check()
        afresh = replay(log, until=seq)
        assert (stepped.seq, stepped.seal, stepped.tasks) == (seq, afresh.seal, afresh.tasks)

    assert last > len(log.read(after=0))
    assert stepped.final_counts() == replay(log).final_counts()


def test_a_position_behind_changes_nothing(log: EventLog) -> None:
    """Asked for less than it has folded, it stays where it is."""
    projection = replay(log, until=5)
    catch_up(projection, log, until=2)

    assert projection.seq == 5


def test_another_commit_is_noticed_from_inside(log: EventLog) -> None:
    """Halfway through a commit, another one in its place is damage, not more of the same."""
    projection = replay(log, until=3)
    projection.seal = bytes(32)

    with pytest.raises(LogCorruptError, match="does not follow"):
        catch_up(projection, log)
