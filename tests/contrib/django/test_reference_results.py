"""What the reference of Django's tasks says of results, sentence by sentence."""

from __future__ import annotations

import asyncio
import sys

import pytest
from django.utils import timezone

from eventq.contrib.django import Backend
from eventq.contrib.django.framework import (
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_started,
)
from tests.contrib.django.conftest import Work
from tests.contrib.django.hearing import heard
from tests.contrib.django.site.shop import tasks

READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def test_a_result_goes_from_ready_to_successful(work: Work) -> None:
    """READY: just enqueued. RUNNING: being executed. SUCCESSFUL: has finished successfully."""
    result = tasks.add.enqueue(1)
    before = (result.status, result.is_finished, result.attempts, result.worker_ids)
    with heard(task_started) as began:
        work()
    unchanged = result.status
    result.refresh()

    assert before == (READY, False, 0, [])
    assert [each.status for _, each in began] == [RUNNING]
    assert unchanged == READY
    assert (result.status, result.is_finished, result.return_value) == (SUCCESSFUL, True, 2)


def test_a_result_tells_when(work: Work) -> None:
    """`enqueued_at`, `started_at`, `last_attempted_at`, `finished_at`: in this order."""
    before = timezone.now()
    result = tasks.insist.enqueue(1)
    waiting = (result.started_at, result.last_attempted_at, result.finished_at)
    while not result.is_finished:
        work()
        result.refresh()
    times = [result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at]

    assert waiting == (None, None, None)
    assert None not in times
    assert [before, *times] == sorted([before, *times])  # type: ignore[type-var]
    assert result.started_at != result.last_attempted_at


def test_a_result_has_its_task_and_backend(work: Work) -> None:
    """`task` is what the result was enqueued for, `backend` the alias of where it is from."""
    result = tasks.mail.using(priority=-3).enqueue(4)
    work()
    found = tasks.mail.get_result(result.id)

    assert found.task == result.task == tasks.mail.using(priority=-3)
    assert (found.backend, found.task.queue_name) == ("default", "mail")


@pytest.mark.usefixtures("backend")
def test_ids_are_unique_short_strings() -> None:
    """An id is a string of less than 64 characters, by which the result is found."""
    ids = {tasks.add.enqueue(1).id for _ in range(10)}

    assert len(ids) == 10
    assert all(0 < len(each) < 64 for each in ids)


def test_failures_are_told(work: Work) -> None:
    """FAILED: the function raised. The error's class and traceback are in `errors`."""
    result = tasks.fail.enqueue("not today")
    work()
    result.refresh()

    assert (result.status, result.is_finished) == (FAILED, True)
    [error] = result.errors
    assert error.exception_class is tasks.DeclinedError
    assert error.exception_class_path == f"{tasks.__name__}.DeclinedError"
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert error.traceback.endswith("DeclinedError: not today\n")
    assert result.attempts == 1


def test_each_execution_has_its_error(work: Work) -> None:
    """`errors` are those raised as part of each execution; `worker_ids` has one for each."""
    result = tasks.insist.enqueue(5)
    while not result.is_finished:
        work()
        result.refresh()

    lines = [error.traceback.splitlines()[-1] for error in result.errors]
    assert [line.rpartition(": ")[2] for line in lines] == ["1", "2", "3"]
    assert (result.attempts, len(result.worker_ids)) == (3, 3)


def test_errors_of_python_have_their_path(work: Work) -> None:
    """A return value that JSON does not hold fails the task, with a TypeError."""
    result = tasks.give_set.enqueue()
    work()
    result.refresh()

    assert result.status == FAILED
    assert result.errors[0].exception_class is TypeError


def test_return_values_are_of_successful_tasks(work: Work) -> None:
    """If the task has not finished successfully, ValueError is raised; None may be a value."""
    good, bad = tasks.give.enqueue(None), tasks.fail.enqueue("no")
    with pytest.raises(ValueError, match="not finished"):
        _ = good.return_value
    work()
    good.refresh()
    bad.refresh()

    assert good.return_value is None
    with pytest.raises(ValueError, match="failed"):
        _ = bad.return_value


def test_a_task_that_cannot_start_has_failed(backend: Backend) -> None:
    """FAILED is also a task that was unable to start; its errors say why."""
    result = tasks.add.enqueue(1)
    backend.queue.cancel(result.id, by="ada", reason="a mistake")
    result.refresh()

    assert (result.status, result.attempts) == (FAILED, 0)
    assert result.errors[0].exception_class.__name__ == "TaskFailedError"
    assert "is cancelled" in result.errors[0].traceback


@pytest.mark.usefixtures("backend")
def test_results_are_found_by_their_id() -> None:
    """`get_result` of a task, and of the backend for any kind of task."""
    result = tasks.add.enqueue(1)

    assert tasks.add.get_result(result.id) == result
    assert task_backends["default"].get_result(result.id) == result
    assert asyncio.run(task_backends["default"].aget_result(result.id)) == result


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("result_id", ["", "unknown", "12345", "\n", "x" * 300])
def test_unknown_results_do_not_exist(result_id: str) -> None:
    """If the result does not exist, TaskResultDoesNotExist is raised."""
    for get in (tasks.add.get_result, task_backends["default"].get_result):
        with pytest.raises(TaskResultDoesNotExist):
            get(result_id)


@pytest.mark.usefixtures("backend")
def test_results_of_other_tasks_do_not_match() -> None:
    """A result of another task is not that of this one."""
    result = tasks.add.enqueue(1)

    with pytest.raises(Exception, match="does not match") as caught:
        tasks.give.get_result(result.id)
    assert type(caught.value).__name__ == "TaskResultMismatch"


def test_a_task_that_is_no_task_of_django_is_none(backend: Backend) -> None:
    """What the queue holds beside Django's tasks is no result of them."""
    other = backend.queue.new({"some": "tags"}, name="no.such_task")

    with pytest.raises(TaskResultDoesNotExist):
        backend.get_result(other.key)


def test_a_log_chooses_no_module_to_import(backend: Backend) -> None:
    """A name that leads out of the installed applications is none of Django's tasks."""
    before = set(sys.modules)
    for name in ("this.s", "turtledemo.f", "tests.no_such.module.f"):
        made = backend.queue.new({"args": [], "kwargs": {}}, name=name)
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(made.key)

    assert not {"this", "turtledemo"} & (set(sys.modules) - before)
