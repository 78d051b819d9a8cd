"""Ranks, rivals and waits of all tasks, compared with plain sorts, and from snapshots."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from eventq import TaskNotFoundError
from eventq.audit import Rank, Why, state_at, task_at, why
from eventq.core.commits import Event
from eventq.replay.points import Point, position_at
from eventq.replay.query import read_events
from eventq.snapshot import create_every
from tests.audit.test_state import in_order, points_of, tasks_at
from tests.stage import Stage, random_stage

SOME = 10_000


def check_rank(stage: Stage, number: int, rank: Rank) -> None:
    """Compares a rank with all tasks' histories, sorted."""
    point = Point(rank.seq, rank.at)
    tasks = tasks_at(stage, point)
    [me] = [task for task in tasks if task.number == number]
    others = [task for task in in_order(tasks, point.at) if task.number != number]
    mine = (-me.priority, me.scheduled_at_us, me.number)
    ahead = [t for t in others if (-t.priority, t.scheduled_at_us, t.number) < mine]

    assert [rival.task for rival in rank.ahead] == ahead
    assert [rival.task for rival in rank.behind] == others[len(ahead) :]
    fields = []
    for rival in [*rank.ahead, *rank.behind]:
        other = rival.task
        pairs = {
            "priority": (other.priority, me.priority),
            "scheduled_at": (other.scheduled_at_us, me.scheduled_at_us),
            "number": (other.number, me.number),
        }
        fields.append(next(name for name, (one, two) in pairs.items() if one != two))
    assert [rival.field for rival in [*rank.ahead, *rank.behind]] == fields
    assert +Counter(rank.ahead_by) == Counter(fields[: len(ahead)])
    assert +Counter(rank.behind_by) == Counter(fields[len(ahead) :])
    assert rank.place == len(ahead) + 1


def check_wait(stage: Stage, answer: Why, events: list[Event], *, end: int) -> None:
    """Checks when the wait began, and how many were leased in it."""
    number, ready_at = answer.task.number, answer.ready_at
    assert ready_at is not None
    assert answer.ready_rank is not None
    # No two commits of these logs have the same instant.
    begin = position_at(stage.log, ready_at)
    if all(event.task != number for event in events[:begin] if event.at == ready_at):
        begin = position_at(stage.log, ready_at - 1)
    begin = min(begin, end)
    assert (answer.ready_rank.seq, answer.ready_rank.at) == (begin, ready_at)
    check_rank(stage, number, answer.ready_rank)
    assert answer.leases_since == sum(event.kind == "leased" for event in events[begin:end])
    # At its beginning it was ready, and a moment before it was not, or not there.
    assert task_at(stage.log, str(number), Point(begin, ready_at)).state == "ready"
    before = Point(position_at(stage.log, ready_at - 1), ready_at - 1)
    try:
        assert task_at(stage.log, str(number), before).state != "ready"
    except TaskNotFoundError:
        assert before.seq < number


@pytest.mark.parametrize("seed", range(6))
def test_every_answer_agrees_with_plain_sorts(seed: int) -> None:
    """Ranks, rivals, deciding fields, waits and leases, for all tasks at points by chance."""
    stage = random_stage(seed, rounds=70)
    events = list(read_events(stage.log, 0))
    asked = Counter[str]()
    for point in random.Random(seed).sample(points_of(stage)[1:], 25):
        for task in tasks_at(stage, point):
            answer = why(stage.log, task.key, point, limit=SOME)
            assert answer.task == task
            mine = [event for event in events[: point.seq] if event.task == task.number]
            leases = [event for event in mine if event.kind == "leased"]
            if task.state == "scheduled":
                asked["scheduled"] += 1
                assert (answer.rank, answer.grant) == (None, None)
                assert answer.ready_at == task.scheduled_at_us
            elif task.state == "ready":
                asked["ready"] += 1
                assert answer.rank is not None
                assert (answer.rank.seq, answer.rank.at) == (point.seq, point.at)
                check_rank(stage, task.number, answer.rank)
                check_wait(stage, answer, events, end=point.seq)
                assert sum(load.leases for load in answer.loads) == sum(
                    other.state == "leased" for other in tasks_at(stage, point)
                )
            elif answer.grant is not None:
                asked["granted"] += 1
                assert answer.grant.seq == leases[-1].seq
                assert answer.grant.in_order
                assert (answer.grant.rank.seq, answer.grant.rank.at) == (
                    leases[-1].seq - 1, leases[-1].at,
                )  # fmt: skip
                check_rank(stage, task.number, answer.grant.rank)
                check_wait(stage, answer, events, end=leases[-1].seq - 1)
            elif answer.rank is not None:
                asked["given up"] += 1
                assert answer.rank.seq == mine[-1].seq - 1
                check_rank(stage, task.number, answer.rank)
                check_wait(stage, answer, events, end=mine[-1].seq - 1)
    assert {"scheduled", "ready", "granted"} <= set(asked)


def test_snapshots_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a snapshot before the point, and from one between the two ends of a wait."""
    stage = random_stage(7, rounds=70)
    points = random.Random(7).sample(points_of(stage)[1:], 12)

    def answers() -> list[object]:
        found: list[object] = [state_at(stage.log, point) for point in points]
        found += [
            why(stage.log, task.key, point) for point in points for task in tasks_at(stage, point)
        ]
        return found

    plain = answers()
    made = [*create_every(stage.log, 9, now=stage.now)]
    monkeypatch.setattr("eventq.snapshot.starting.FAR_EVENTS", 0)

    assert len(made) > 5
    assert answers() == plain
