"""The history of a task as steps: what they carry, points, bad keys, damage, looking backwards."""

from __future__ import annotations

import pytest

from eventq import Cancel, LogCorruptError, Queue, Retry, TaskNotFoundError, TaskState
from eventq.audit import Step, story, task_at
from eventq.audit.lookup import last_lease, last_sign
from eventq.replay.points import Point
from tests.driver import append_texts, memory_log
from tests.stage import BEGIN_US, Stage
from tests.support import HookedLog, ManualClock, node_of, queue_on


def kinds(steps: list[Step]) -> list[str]:
    """The kinds of the steps' events."""
    return [step.event.kind for step in steps]


def test_steps_carry_times_nodes_states_and_counters() -> None:
    """A real run: every event with what is known beside it."""
    log, clock = HookedLog(), ManualClock()
    with queue_on(log, clock=clock, workers=1, max_retries=3, backoff="10s") as queue:
        queue.new(key="k")
        clock.advance(3)

        def worker(_: object, task: object) -> None:
            clock.advance(1.5)
            if getattr(task, "attempt", 0) == 1:
                raise Retry("busy", delay=0)
            raise Cancel("pointless")

        queue.run(worker, until="idle")
        node = node_of(queue).name
        steps = story(log, "k")

    assert kinds(steps) == [
        "created",
        "leased",
        "failed",
        "retried",
        "leased",
        "failed",
        "cancelled",
    ]
    assert [step.since_us for step in steps] == [None, 3_000_000, 1_500_000, 0, 0, 1_500_000, 0]
    assert [step.node for step in steps] == [None, node, node, None, node, node, None]
    assert [(step.task.attempt, step.task.retry_count) for step in steps] == [
        (0, 0), (1, 0), (1, 0), (1, 1), (2, 1), (2, 1), (2, 1),
    ]  # fmt: skip
    assert [str(step.state) for step in steps] == [
        "ready", "leased", "failed", "ready", "leased", "failed", "cancelled",
    ]  # fmt: skip
    assert steps[3].reason == "1st of 3 retries: after the worker's own delay of 0s"
    assert steps[6].reason == f"the worker on {node} called it off: pointless"


def test_a_point_cuts_the_story(stage: Stage) -> None:
    """What came later is not there, and a task that was not there yet is told as that."""
    stage.new()
    stage.wait("5s")
    stage.new(key="later")
    stage.lease()

    assert kinds(story(stage.log, "1", Point(2, BEGIN_US))) == ["created"]
    with pytest.raises(
        TaskNotFoundError, match=r"'later': it was created at 2, 2023-11-14"
    ) as caught:
        story(stage.log, "later", Point(1, BEGIN_US))
    assert caught.value.created_seq == 2
    with pytest.raises(TaskNotFoundError, match="no task has the key 'never'"):
        task_at(stage.log, "never", stage.end)
    with pytest.raises(
        TaskNotFoundError, match="'2': the task with that number has the key 'later'"
    ):
        task_at(stage.log, "2", stage.end)


@pytest.mark.parametrize("key", ["0", "2", "3", "99", "9" * 200, "٣"])
def test_what_is_no_key(stage: Stage, key: str) -> None:
    """A position of another event, the number of a keyed task, and numbers no log can hold."""
    stage.new()
    stage.lease()
    stage.new(key="k")

    with pytest.raises(TaskNotFoundError):
        story(stage.log, key)


RELEASED = '{"kind":"released","fence":9}'
COMPLETED = '{"kind":"completed","fence":9}'


def test_unknown_kinds_are_shown_raw_and_damage_is_told(stage: Stage) -> None:
    """Neither is guessed; damage changes nothing, behind the unknown only an end is believed."""
    stage.new()
    texts = ['{"kind":"completed","fence":1}', '{"kind":"muted","until":5}', RELEASED, COMPLETED]
    append_texts(stage.log, [1] * 4, *texts, at=stage.now)
    _, damaged, unknown, unheard, ended = story(stage.log, "1")

    assert unknown.event.kind == "muted"
    assert unknown.reason == (
        "a kind this version does not know, shown as it is stored: only a newer one goes on"
    )
    assert damaged.reason == "damage: task 1 is scheduled, so completed is no legal move"
    words = "after event 3, of which only a newer eventq knows what it did"
    assert [unheard.reason, ended.reason] == [words, words]
    states = [damaged.state, unknown.state, unheard.state, ended.state]
    assert states == [TaskState.READY, *[TaskState.UNKNOWN] * 2, TaskState.COMPLETED]
    assert [unknown.is_damage, damaged.is_damage] == [False, True]


def test_a_history_that_does_not_begin_is_no_task() -> None:
    """Events without a `created` before them belong to no task."""
    log = memory_log()
    append_texts(log, [1], '{"kind":"expired","reason":"max_age"}', at=1)

    with pytest.raises(TaskNotFoundError):
        story(log, "1")


def test_a_body_that_cannot_be_read_is_damage(stage: Stage) -> None:
    """The error names the position."""
    stage.new()
    append_texts(stage.log, [1], '{"kind":"expired","reason":"boredom"}', at=stage.now)

    with pytest.raises(LogCorruptError):
        story(stage.log, "1")


def test_looking_backwards_reads_only_what_lies_between(stage: Stage) -> None:
    """The last sign of life and the last lease are found across windows, and never outside."""
    stage.new(priority=1)
    first = stage.lease("h1")
    for _ in range(3):
        for number in range(700):
            stage.new(priority=-number)
    renewed = stage.renew("h1")
    for number in range(700):
        stage.new(priority=-number)
    end = stage.projection.seq + 1

    def sign(after: int, before: int) -> int | None:
        found = last_sign(stage.log, "h1", after=after, before=before)
        return None if found is None else found.seq

    assert sign(0, end) == renewed
    assert sign(0, renewed) == first
    assert sign(first, renewed) is None
    assert sign(first - 1, first + 1) == first
    assert last_sign(stage.log, "h", after=0, before=end) is None
    lease = last_lease(stage.log, after=0, before=end)
    assert lease is not None
    assert lease.seq == first


def test_looking_backwards_leaves_nothing_out(stage: Stage) -> None:
    """Where one window ends and the next begins, no event is passed over."""
    stage.new()
    fence = stage.lease("h1")
    for number in range(1_600):
        stage.new(priority=-number)
    distances = [*range(1, 6), *range(496, 506), *range(1_496, 1_506)]
    found = [last_sign(stage.log, "h1", after=0, before=fence + distance) for distance in distances]

    assert [None if sign is None else sign.seq for sign in found] == [fence] * len(distances)


def test_queue_and_story_tell_the_same_events() -> None:
    """The story's events are those of `Queue.history`."""
    with Queue("memory://", workers=1) as queue:
        queue.new(key="k")
        queue.run(lambda _ctx, _task: None, until="idle")

        assert [step.event for step in story(queue.log, "k")] == queue.history("k")


def test_a_story_without_a_lapse_reads_by_index_alone(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the log is, nothing of it but the task's own events is read."""
    stage.new(key="k")
    fence = stage.lease()
    stage.settle(1, "failed")
    stage.settle(1, fence=fence, worker="h1")
    stage.cancel(1)
    monkeypatch.setattr(stage.log, "read", None)

    assert len(story(stage.log, "k")) == 6
    assert task_at(stage.log, "k", stage.end).state == "cancelled"
