"""Tasks made like final ones, and the attempts that a log holds of a task."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import Backoff, NotAllowedError, Queue, Retry, Task, TaskNotFoundError
from eventq.core.events import Created
from eventq.testing import harness
from eventq.verify import verify


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker."""
    with Queue("memory://", workers=1, max_retries=1, backoff=0) as queue:
        yield queue


def final(queue: Queue, task: Task) -> Task:
    """The task, called off."""
    return queue.cancel(task.key)


def test_a_task_is_made_like_a_final_one(queue: Queue) -> None:
    """With its name, lane, tags, priority and policy, but not its key and its instants."""
    old = queue.new(
        {"a": 1}, key="k", priority=3, delay="1h", max_age="2h", max_retries=7, max_lapses=2,
        backoff=Backoff.exponential("1s", cap="1m", jitter=0.5), deadline="9s", name="n", lane="l",
    )  # fmt: skip
    final(queue, old)

    new = queue.repeat("k")

    same = ("name", "lane", "tags", "priority", "policy", "needs")
    assert [getattr(new, name) for name in same] == [getattr(old, name) for name in same]
    assert (new.caller_key, new.state, new.attempt) == (None, "ready", 0)
    assert new.expires_at_us == new.created_at_us + 2 * 3_600_000_000
    [created] = queue.history(new.key)
    assert isinstance(created.body, Created)
    assert created.body.repeats == old.number
    assert verify(queue.log).ok


def test_an_instant_at_which_it_would_have_expired_is_not_repeated(queue: Queue) -> None:
    """It may be long past."""
    old = queue.new(max_age="1h", name="n")
    final(queue, old)
    assert old.expires_at is not None
    other = queue.new(expires_at=old.expires_at)
    final(queue, other)

    assert queue.repeat(other.key).expires_at is None


@pytest.mark.parametrize("how", ["completed", "expired", "cancelled"])
def test_any_end_can_be_repeated_and_the_copy_runs(queue: Queue, how: str) -> None:
    """As often as one likes."""
    key = queue.new({"n": 5}, max_retries=0).key
    if how == "cancelled":
        queue.cancel(key)
    else:
        queue.run(lambda *_: None if how == "completed" else 1 / 0, until="idle")

    again = [queue.repeat(key) for _ in range(2)]
    queue.run(lambda _ctx, task: task.tags["n"], until="idle")

    assert [queue.wait(task.key).result for task in again] == [5, 5]


def test_open_tasks_are_not_repeated(queue: Queue) -> None:
    """Nothing is appended then."""
    task = queue.new(delay="1h")

    with pytest.raises(NotAllowedError, match="cannot repeat task '1': it is scheduled"):
        queue.repeat(task.key)
    with pytest.raises(TaskNotFoundError):
        queue.repeat("nobody")
    assert queue.stats().seq == 1


def test_attempts_tell_what_became_of_each_lease(queue: Queue) -> None:
    """In order: when and where each ran, how it ended, and by what error."""

    def work(_ctx: object, task: Task) -> int:
        if task.attempt == 1:
            raise Retry("not yet", delay=0) from OSError("disk")
        return 7

    key = queue.new().key
    assert queue.attempts(key) == []
    queue.run(work, until="idle")

    first, second = queue.attempts(key)
    task = queue.wait(key)
    assert (first.attempt, first.outcome, second.attempt, second.outcome) == (
        1, "failed", 2, "completed",
    )  # fmt: skip
    assert first.error is not None
    assert (first.error.type, second.error) == ("OSError", None)
    assert first.node == second.node
    assert first.ended_at is not None
    assert task.created_at <= first.started_at <= first.ended_at <= second.started_at
    assert (second.started_at, second.ended_at) == (task.started_at, task.finished_at)
    with pytest.raises(TaskNotFoundError):
        queue.attempts("nobody")


def test_attempts_that_run_or_came_late_are_told() -> None:
    """A lease that lapsed, with what its worker came with afterwards; one that goes on."""
    with harness() as t:

        @t.queue.task
        def slow() -> None:
            [running] = t.queue.attempts(task.key)
            assert (running.outcome, running.ended_at, running.late) == ("running", None, None)
            t.queue.cancel(task.key)

        task = slow.new()
        t.run()

        [attempt] = t.queue.attempts(task.key)
    assert (attempt.outcome, attempt.late) == ("called off", "completed")


def test_a_finaliser_is_repeated_by_itself(queue: Queue) -> None:
    """Its copy comes after nothing, and says so."""
    with queue.flow() as flow:
        flow.new()
        last = flow.finally_({"n": 5})
    queue.run(lambda *_: None, until="idle")
    assert last.task is not None

    again = queue.repeat(last.task.key)
    queue.run(lambda _ctx, task: task.tags["n"], until="idle")

    assert again.needs == ()
    assert queue.wait(again.key).result == 5
    assert verify(queue.log).ok
