"""What a rerun leaves alone, what it refuses, and which tasks are chosen for many."""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

import pytest

from eventq import ArgumentError, Queue, Retry, Task, TaskNotFoundError
from eventq.audit import task_at
from eventq.replay.points import Point
from eventq.sandbox import attempted_keys, rerun
from eventq.sandbox.select import AttemptedKeys
from tests.eventlog.commits import everything
from tests.sandbox.trying import (
    again,
    end_of,
    new_memory_url,
    raising,
    read_only,
    recorded,
    returning,
    work,
)

# -- the queue is not touched ----------------------------------------------------------------------


def test_the_log_stays_as_it_was() -> None:
    """Whatever the worker does with its context, no event comes; a log that refuses will do."""
    log = recorded(work, tags={"n": 1}, max_retries=0)
    before = everything(log)

    def busy(ctx: Any, _task: Task) -> None:  # noqa: ANN401
        ctx.check()
        ctx.extend("5s")
        ctx.log.info("told")
        raise Retry(delay="5s")

    again(log, busy)
    again(log, returning(1))

    assert everything(log) == before


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["none", "1", "2", "999", "0", "9" * 30])
def test_an_unknown_key_is_told(key: str) -> None:
    """Neither a key nor the number of a task, also that of another event."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    with pytest.raises(TaskNotFoundError):
        rerun(log, key, work)


def test_a_task_that_was_never_leased_is_told() -> None:
    """There is no input to run with."""
    with Queue(new_memory_url()) as queue:
        queue.new({"n": 1}, key="task")
        log = read_only(queue.url)

    with pytest.raises(ArgumentError, match="has been leased"):
        again(log)


@pytest.mark.parametrize("attempt", [0, 2, -1, True, "1"])
def test_an_attempt_that_never_was_is_told(attempt: Any) -> None:  # noqa: ANN401
    """With how many there were."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    with pytest.raises(ArgumentError, match="attempt"):
        again(log, attempt=attempt)


@pytest.mark.parametrize("worker", [None, "work", 5, lambda _ctx: None])
def test_what_is_no_worker_is_told(worker: Any) -> None:  # noqa: ANN401
    """Before anything is read."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    with pytest.raises(ArgumentError, match="worker"):
        again(log, worker)


def test_ctrl_c_is_no_outcome(caplog: pytest.LogCaptureFixture) -> None:
    """It ends the rerun, of an async worker too, and asyncio has nothing to complain of."""
    log = recorded(work, tags={"n": 1}, max_retries=0)
    # The recorded run says that its task failed for good.
    caplog.clear()

    async def interrupted(_ctx: object, _task: object) -> None:
        raise KeyboardInterrupt

    for worker in (raising(KeyboardInterrupt()), interrupted):
        with pytest.raises(KeyboardInterrupt):
            again(log, worker)

    gc.collect()
    assert not caplog.records


def test_on_error_is_given_what_was_raised() -> None:
    """With its traceback, for a debugger; not when nothing was raised."""
    log = recorded(work, tags={"n": 1}, max_retries=0)
    errors: list[BaseException] = []

    again(log, on_error=errors.append)
    again(log, returning(1), on_error=errors.append)

    assert [str(error) for error in errors] == ["bad input"]
    assert errors[0].__traceback__ is not None


def test_points_choose_the_attempt() -> None:
    """The last attempt begun up to the point."""

    def fails_twice(_ctx: object, task: Task) -> None:
        if task.attempt < 3:
            raise Retry(delay=0)

    log = recorded(fails_twice)
    fences = [e.seq for e in log.history(1) if '"leased"' in e.body]

    found = [again(log, returning(None), at=Point(f, 0)).recorded.task.attempt for f in fences]

    assert found == [1, 2, 3]
    with pytest.raises(ArgumentError):
        again(log, at=Point(1, 0))
    begun = f"one of the 1 attempts of task task by position {fences[0]}"
    with pytest.raises(ArgumentError, match=begun):
        again(log, at=Point(fences[0], 0), attempt=2)


# -- many ------------------------------------------------------------------------------------------


def test_keys_by_state_and_tag() -> None:
    """Newest first, those never leased left out, and only of the states and tags asked for."""
    with Queue(new_memory_url(), max_retries=0, workers=1) as queue:
        for n in (1, 2, 3, 4, 6):
            queue.new({"n": n}, key=f"t{n}")
        queue.new({"n": 1}, key="later", delay="1h")
        queue.run(work, until="idle")
        queue.retry("t2")
        log = read_only(queue.url)
    end = end_of(log)

    keys = partial(attempted_keys, log, at=end)

    assert keys() == ["t2", "t6", "t4", "t3", "t1"]
    assert keys(state="expired") == ["t1"]
    assert keys(state=["cancelled", "completed"]) == ["t6", "t4", "t3"]
    assert keys(state="ready") == ["t2"]
    assert keys(tags={"n": 4}) == ["t4"]
    assert keys(tags={"n": "4"}) == []
    assert [keys(limit=limit) for limit in range(7)] == [keys()[:limit] for limit in range(7)]
    assert keys(limit=1, state="completed") == keys(state="completed")[:1]


def test_a_point_inside_a_commit_counts_what_is_before_it() -> None:
    """Of leases that share a commit those behind it are yet to come; each key can be run again."""
    with Queue(new_memory_url(), max_retries=1, backoff=0, workers=3) as queue:
        queue.new_many([{"n": n} for n in (1, 4, 4)])
        queue.run(work, until="idle")
        log = read_only(queue.url)

    for seq in range(1, log.head().seq + 1):
        point = Point(seq, log.head().at)
        events = [event for number in (1, 2, 3) for event in log.history(number)]
        leased = {e.task for e in events if '"leased"' in e.body and e.seq <= seq}

        keys = attempted_keys(log, at=point)

        assert {int(key) for key in keys} == leased
        assert all(rerun(log, key, work, at=point).recorded.task.key == key for key in keys)


def test_no_more_completed_tasks_are_kept_than_asked_for() -> None:
    """A limit bounds the memory on a long log, whose tasks are completed for the most part."""
    log = recorded(returning(1))
    task = task_at(log, "task", end_of(log))
    found = AttemptedKeys(limit=3)

    for number in range(1, 100):
        found.put(number, task)

    assert [number for number, _ in found.newest_first()] == [99, 98, 97]


@pytest.mark.parametrize(
    "wrong", [{"state": "failed"}, {"state": "gone"}, {"tags": {"1": 2}}, {"limit": -1}]
)
def test_wrong_choices_are_told(wrong: dict[str, Any]) -> None:
    """A state there is not, a tag no task can have, a negative limit."""
    log = recorded(work, tags={"n": 1}, max_retries=0)

    with pytest.raises(ArgumentError):
        attempted_keys(log, at=end_of(log), **wrong)
