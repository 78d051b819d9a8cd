"""A queue as it stood: compared with every task's own history, sorted plainly."""

from __future__ import annotations

from collections import Counter

import pytest

from eventq import ArgumentError
from eventq.audit import state_at, task_at
from eventq.core.durations import SECOND_US
from eventq.core.task import Task
from eventq.core.values import Policy
from eventq.replay.points import Point, find_point
from eventq.replay.query import read_events
from tests.driver import append_texts
from tests.stage import BEGIN_US, Stage, random_stage

SOME = 10_000


def points_of(stage: Stage) -> list[Point]:
    """Every position of the log, and an instant a little behind each."""
    found = [Point(0, BEGIN_US)]
    events = list(read_events(stage.log, 0))
    for index, event in enumerate(events):
        found.append(Point(event.seq, event.at))
        last = index + 1 == len(events)
        later = event.at + 3 * SECOND_US
        if last or later < events[index + 1].at:
            found.append(Point(event.seq, later))
    return found


def tasks_at(stage: Stage, point: Point) -> list[Task]:
    """All tasks created until then, each by its own history."""
    return [
        task_at(stage.log, str(event.seq), point)
        for event in read_events(stage.log, 0)
        if event.kind == "created" and event.seq <= point.seq
    ]


def in_order(tasks: list[Task], now: int) -> list[Task]:
    """The tasks that may be leased, in dispatch order by three plain sorts."""
    ready = [
        task
        for task in tasks
        if task.state == "ready" and (task.expires_at_us is None or task.expires_at_us > now)
    ]
    ready.sort(key=lambda task: task.number)
    ready.sort(key=lambda task: task.scheduled_at_us)
    ready.sort(key=lambda task: task.priority, reverse=True)
    return ready


def numbers(tasks: list[Task]) -> list[int]:
    """The numbers of tasks, in their order."""
    return [task.number for task in tasks]


@pytest.mark.parametrize("seed", range(4))
def test_every_point_of_a_log(seed: int) -> None:
    """Counts, order, leases and schedule are those of all tasks' histories up to the point."""
    stage = random_stage(seed)
    events = list(read_events(stage.log, 0))
    seen = Counter[str]()
    for point in points_of(stage):
        found = state_at(stage.log, point, limit=SOME)
        tasks = tasks_at(stage, point)
        pending = [task for task in tasks if task.state in {"scheduled", "ready"}]
        waiting = [task for task in tasks if task.state == "scheduled"]
        expiring = [task for task in pending if task.expires_at_us is not None]

        assert (found.seq, found.at) == (point.seq, point.at)
        counts = Counter(str(task.state) for task in tasks)
        assert +Counter(found.counts) == counts
        assert found.total == len(tasks)
        assert found.ready == in_order(tasks, point.at)
        assert found.overdue == counts["ready"] - len(found.ready)
        assert numbers(found.waiting) == numbers(
            sorted(waiting, key=lambda task: (task.scheduled_at_us, task.number))
        )
        assert numbers(found.expiring) == numbers(
            sorted(expiring, key=lambda task: (task.expires_at_us, task.number))
        )
        leased = sorted((t for t in tasks if t.state == "leased"), key=lambda task: task.fence)
        assert [held.task for held in found.leases] == leased
        for held in found.leases:
            signs = [
                event
                for event in events[: point.seq]
                if getattr(event.body, "worker", None) == held.worker
                and event.kind in {"leased", "renewed"}
            ]
            assert (held.seen_seq, held.seen_at) == (signs[-1].seq, signs[-1].at)
            assert held.leased_at == events[held.task.fence - 1].at
            assert held.lapses_at == held.seen_at + held.ttl_us
        seen.update(counts)
    assert set(seen) == {
        "scheduled", "ready", "leased", "failed", "completed", "expired", "cancelled",
    }  # fmt: skip


def test_limits_and_seals() -> None:
    """Lists are cut, counts are not; the seal is that of the commit."""
    stage = Stage()
    stage.new_many([0] * 20)
    found = state_at(stage.log, stage.end, limit=3)

    assert (len(found.ready), found.counts["ready"]) == (3, 20)
    assert found.seal == stage.log.head().seal.hex()


def test_final_tasks_are_seen_as_they_were() -> None:
    """Before its lease, while leased, and at its end; age counts to the point."""
    stage = Stage()
    stage.new(key="k", policy=Policy("linear", 10))
    stage.wait("10s")
    stage.lease("h4")
    stage.wait("10s")
    stage.settle(1, result_json=b"7")
    now = stage.now
    views = [task_at(stage.log, "k", find_point(stage.log, seq, now=now)) for seq in (1, 2, 3)]

    assert [str(task.state) for task in views] == ["ready", "leased", "completed"]
    assert [task.worker for task in views] == [None, "h4", None]
    assert [task.age.total_seconds() for task in views] == [0, 10, 20]
    assert views[2].result == 7


def test_what_is_unknown_is_told() -> None:
    """A kind of a newer version stands in the answer, and hides nothing else."""
    stage = Stage()
    stage.new()
    stage.new()
    append_texts(stage.log, [1, 0], '{"kind":"frozen"}', '{"kind":"muted"}', at=stage.now)
    found = state_at(stage.log, Point(4, stage.now))

    assert found.unknown == (4, "muted")
    assert (found.counts["ready"], found.counts["unknown"]) == (1, 1)


def test_a_point_outside_the_log_is_refused() -> None:
    """Before the first event, and behind the last."""
    stage = Stage()
    stage.new()
    for wrong in (2, "-10s", "2100-01-01T00:00:00Z"):
        with pytest.raises(ArgumentError, match="--at: expected"):
            find_point(stage.log, wrong, now=stage.now, argument="--at")


def test_an_empty_log_has_a_state() -> None:
    """Nothing is there, and that is no error."""
    stage = Stage()
    found = state_at(stage.log, Point(0, BEGIN_US))

    assert (found.total, found.ready, found.leases) == (0, [], [])


def test_a_point_may_be_so_long_before_an_event() -> None:
    """The instant of the event counts, not now; and nothing is before the first one."""
    stage = Stage()
    stage.new()
    stage.wait("10s")
    second = stage.new()

    found = find_point(stage.log, f"{second}-2s", now=stage.now + 10**9)

    assert (found.seq, found.at) == (1, stage.now - 2_000_000)
    with pytest.raises(ArgumentError, match="the first event's"):
        find_point(stage.log, "1-2s", now=stage.now)
