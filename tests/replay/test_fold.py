"""Replays that stop on the way: where they end, and that they can go on from there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import LogCorruptError, Queue
from eventq.core.projection import Projection
from eventq.core.values import NODE
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import catch_up, read_all, replay, steps


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


def test_steps_fold_as_replay_does(log: EventLog) -> None:
    """One event after the other, from any position to any other, with the task after each."""
    last = log.head().seq
    for begin in range(0, last, 3):
        projection = replay(log, until=begin)
        for event, task in steps(projection, log, until=last - 1):
            projection.check()
            afresh = replay(log, until=event.seq)
            assert (projection.seq, projection.seal) == (event.seq, afresh.seal)
            assert (projection.tasks, projection.counts) == (afresh.tasks, afresh.counts)
            assert task == afresh.tasks.get(event.task, task)
            assert (task is None) == (event.task == NODE)
        assert projection.seq == max(begin, last - 1)

    assert [event for event, _ in steps(Projection(log.namespace), log)] == [
        event for _, events in read_all(log, after=0) for event in events
    ]


def test_steps_go_on_where_they_were_left(log: EventLog) -> None:
    """Whoever stops asking inside a commit has what was asked for, and may ask on."""
    projection = Projection(log.namespace)
    for event, _ in steps(projection, log):
        if event.seq == 3:
            break
    rest = [event.seq for event, _ in steps(projection, log)]

    assert rest == list(range(4, log.head().seq + 1))
