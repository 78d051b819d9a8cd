"""A run whose appends are made and yet reported as of unknown outcome: nothing is told twice."""

from __future__ import annotations

import pytest

from eventq import Cancel, Context, LogOutcomeUnknownError, Task, TaskState
from eventq.core.commits import Commit
from tests.checker import check_log
from tests.support import HookedLog, final, kinds, queue_on

KINDS = ["completed", "failed", "cancelled"]


def work(_ctx: object, task: Task) -> None:
    """Ends as the task's tag says, once."""
    if task.tags["ends"] == "failed" and task.attempt == 1:
        raise ValueError("not yet")
    if task.tags["ends"] == "cancelled":
        raise Cancel("pointless")


def doubt_once(log: HookedLog, kind: str) -> None:
    """Has the first append that holds such an event reported as unknown, once it is made."""

    def doubt(commit: Commit) -> None:
        if any(f'"kind":"{kind}"' in body for body in commit.bodies):
            log.after_append = lambda _: None
            raise LogOutcomeUnknownError("the reply was lost")

    log.after_append = doubt


@pytest.mark.parametrize("kind", [*KINDS, "leased"])
def test_outcome_that_was_recorded_in_doubt_is_no_late_one(kind: str) -> None:
    """It stands in the log once; a refusal would say that the work ran twice."""
    log = HookedLog()
    with queue_on(log, workers=1, backoff=0) as queue:
        for ends in KINDS:
            queue.new({"ends": ends}, key=ends)
        doubt_once(log, kind)
        queue.run(work, until="idle")

        assert log.after_append.__name__ == "<lambda>", "the doubt was raised"
        check_log(log)
        assert queue.stats().refused == 0
        assert [final(queue, key).state for key in KINDS] == [
            TaskState.COMPLETED,
            TaskState.COMPLETED,
            TaskState.CANCELLED,
        ]
        assert kinds(queue, "failed").count("failed") == 1


def test_refusal_that_was_recorded_in_doubt_is_not_repeated() -> None:
    """A second one would say that one attempt ended twice."""
    log = HookedLog()
    with queue_on(log, workers=1) as queue:
        queue.new(key="k")
        doubt_once(log, "refused")
        queue.run(lambda _ctx, task: bool(queue.cancel(task.key)), until="idle")

        assert log.after_append.__name__ == "<lambda>", "the doubt was raised"
        assert kinds(queue, "k") == ["created", "leased", "cancelled", "refused"]


def test_children_of_a_completion_in_doubt_are_made_once() -> None:
    """They are in its commit, which is found again by the completion."""
    log = HookedLog()
    with queue_on(log, workers=1) as queue:
        queue.new(key="parent")
        doubt_once(log, "completed")

        def work_and_make(ctx: Context, task: Task) -> None:
            if task.key == "parent":
                ctx.new({"n": 1})
                ctx.new({"n": 2}, key="child")

        queue.run(work_and_make, until="idle")
        check_log(log)

        assert log.after_append.__name__ == "<lambda>", "the doubt was raised"
        assert [task.tags for task in queue.tasks(state="completed")][::-1] == [
            {},
            {"n": 1},
            {"n": 2},
        ]
        assert queue.stats().refused == 0


def test_a_conflict_of_children_in_doubt_is_no_late_outcome() -> None:
    """The attempt has failed for good, once."""
    log = HookedLog()
    with queue_on(log, workers=1) as queue:
        queue.new({"a": 1}, key="taken", delay="1h")
        queue.new(key="parent")
        doubt_once(log, "failed")
        queue.run(lambda ctx, _task: str(ctx.new({"a": 2}, key="taken")), until="idle")
        check_log(log)

        assert log.after_append.__name__ == "<lambda>", "the doubt was raised"
        assert kinds(queue, "parent") == ["created", "leased", "failed", "expired"]


def test_a_lease_in_doubt_is_given_back_by_a_run_that_stops() -> None:
    """Nobody else would take the task before the lease is over."""
    log = HookedLog()
    with queue_on(log, workers=1) as queue:
        queue.new(key="k")

        def doubt(commit: Commit) -> None:
            if any('"kind":"leased"' in body for body in commit.bodies):
                log.after_append = lambda _: None
                queue.stop()
                raise LogOutcomeUnknownError("the reply was lost")

        log.after_append = doubt
        queue.run(work)
        check_log(log)

        assert kinds(queue, "k") == ["created", "leased", "released"]
        assert [task.state for task in queue.tasks()] == [TaskState.READY]
