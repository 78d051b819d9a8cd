"""A cursor that walks to and fro stands, at every position, where a plain replay leads.

The logs are those of the random runs of the whole core; the walks are drawn from a seed.
"""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from eventq.audit.stepper import cursor as cursor_module
from eventq.audit.stepper import window as window_module
from eventq.audit.stepper.cursor import Cursor
from eventq.core.commits import Event
from eventq.core.moves import fold_history
from eventq.core.projection import Projection
from eventq.core.task import TaskState
from eventq.eventlog import EventLog
from eventq.replay import fold as fold_module
from eventq.replay.fold import read_all, replay
from eventq.replay.query import Stats, take_stats
from tests.test_stateful import QueueMachine

WALK_STEPS = 60


class Past:
    """What a plain replay gives at each position of a log."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.events: list[Event] = [event for _, some in read_all(log, after=0) for event in some]
        self.at = [replay(log, until=seq) for seq in range(len(self.events) + 1)]

    def check_stands(self, cursor: Cursor) -> None:
        """The cursor's projection cannot be told from the replay's, nor its step from the log."""
        seq, ours, plain = cursor.seq, cursor.projection, self.at[cursor.seq]
        # Between `failed` and what follows it in the same commit a task stands in no index.
        if not any(task.recorded_state is TaskState.FAILED for task in ours.tasks.values()):
            ours.check()
        assert facts(ours) == facts(plain)
        if not seq:
            assert cursor.step == type(cursor.step)()
            return
        event, earlier = self.events[seq - 1], self.at[seq - 1]
        assert cursor.event == event
        assert cursor.step.stats == numbers(plain)
        assert cursor.step.stats_before == numbers(earlier)
        history = [(e.seq, e.at, e.body) for e in self.events[:seq] if e.task == event.task]
        of_task = event.task != 0
        after = fold_history(self.log.namespace, history) if of_task else None
        before = fold_history(self.log.namespace, history[:-1]) if of_task else None
        # Its history alone does not tell when a task's wait for others has ended, nor whose turn
        # and which buckets are its own.
        before = earlier.tasks.get(event.task, before)
        if after is not None and event.task in earlier.tasks:
            after = replace(after, route=earlier.tasks[event.task].route)
        after = plain.tasks.get(event.task, after)
        assert (cursor.task, cursor.step.before) == (after, before)


def numbers(projection: Projection) -> Stats:
    """The numbers of a queue, in which a task that is failed is not scheduled."""
    stats = take_stats(projection, now=projection.advanced_to)
    return replace(stats, scheduled=len(list(projection.waiting())))


def facts(projection: Projection) -> tuple[object, ...]:
    """All that a projection says, as of the instant of its last event."""
    at = projection.at
    assert projection.advanced_to == at
    return (
        projection.seq,
        at,
        projection.seal,
        projection.tasks,
        projection.counts,
        projection.reopened,
        projection.holders,
        projection.unknown,
        projection.unknown_count,
        projection.strangers,
        projection.strange_ends,
        projection.members.by_name,
        projection.followers,
        projection.waits.by_task,
        list(projection.waits.doomed),
        list(projection.waits.reviving),
        projection.flows.by_number,
        projection.pending_count,
        projection.leased_count,
        projection.retrying_count(),
        [task.number for task in projection.ready(at)],
        [task.number for task in projection.waiting()],
        [task.number for task in projection.past_expiry(2**62)],
    )


class WalkMachine(QueueMachine):
    """A random run of the core, whose log a cursor walks in the end."""

    kept = 20_000

    def teardown(self) -> None:
        """Every position forward and backward, then a walk with jumps."""
        past = Past(self.log)
        end = len(past.events)
        cursor = Cursor(self.log, now=self.now)
        cursor._undos = deque(maxlen=self.kept)
        past.check_stands(cursor)
        while cursor.forward():
            past.check_stands(cursor)
        assert cursor.seq == end
        while cursor.backward():
            past.check_stands(cursor)
        assert cursor.seq == 0
        walk(cursor, past, random.Random(end))


def walk(cursor: Cursor, past: Past, chance: random.Random) -> None:
    """A random walk; each step must do what its name says."""
    end = len(past.events)
    for _ in range(WALK_STEPS):
        before, event = cursor.seq, chance.choice(past.events)
        count = chance.randint(1, 9)
        match chance.randrange(6):
            case 0:
                assert cursor.forward(count) == (before < end)
                assert cursor.seq == min(end, before + count)
            case 1:
                assert cursor.backward(count) == (before > 0)
                assert cursor.seq == max(0, before - count)
            case 2:
                cursor.jump(event.seq)
                assert cursor.seq == event.seq
            case 3:
                found = cursor.find(kind=event.kind)
                wanted = (e.seq for e in past.events[before:] if e.kind == event.kind)
                assert (cursor.seq if found else None) == next(wanted, None)
            case 4:
                found = cursor.find(back=True, task=event.task, kind=event.kind)
                earlier = reversed(past.events[: max(0, before - 1)])
                wanted = (e.seq for e in earlier if (e.task, e.kind) == (event.task, event.kind))
                assert (cursor.seq if found else None) == next(wanted, None)
            case _:
                run(cursor, past, leased_count=count % 4)
        past.check_stands(cursor)


def run(cursor: Cursor, past: Past, *, leased_count: int) -> None:
    """Runs until so many tasks are leased, or to the end."""
    end = len(past.events)
    places = range(cursor.seq + 1, end + 1)
    wanted = next((seq for seq in places if past.at[seq].leased_count == leased_count), None)

    found = cursor.find(condition=lambda projection, *_: projection.leased_count == leased_count)

    assert (found, cursor.seq) == (wanted is not None, end if wanted is None else wanted)


class FewKeptMachine(WalkMachine):
    """Beyond a few steps back, undos are looked up."""

    kept = 3


class NoneKeptMachine(WalkMachine):
    """Every undo is looked up."""

    kept = 0


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("machine", [WalkMachine, FewKeptMachine, NoneKeptMachine])
def test_a_walk_stands_where_a_replay_leads(machine: type[WalkMachine]) -> None:
    """With all undos kept, with few, and with none, so that each is looked up in the log."""
    tries = settings(machine.TestCase.settings, max_examples=25)

    run_state_machine_as_test(machine, settings=tries)


@pytest.mark.timeout(1_200)
def test_no_threshold_changes_where_a_walk_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folding in bulk or step by step, reading in large or small pieces differ only in time."""
    monkeypatch.setattr(cursor_module, "STEPWISE_EVENTS", 2)
    monkeypatch.setattr(cursor_module, "LOOKED_UP_EVENTS", 3)
    monkeypatch.setattr(window_module, "PIECE_EVENTS", 3)
    monkeypatch.setattr(window_module, "PIECES_KEPT", 2)
    monkeypatch.setattr(fold_module, "BACK_EVENTS", 2)
    tries = settings(FewKeptMachine.TestCase.settings, max_examples=25)

    run_state_machine_as_test(FewKeptMachine, settings=tries)
