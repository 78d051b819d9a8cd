"""What the reference of Django's tasks says of any backend, sentence by sentence."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from django.utils import timezone

from eventq.contrib.django import Backend
from eventq.contrib.django.framework import (
    InvalidTaskError,
    Task,
    TaskResult,
    TaskResultStatus,
    task,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.contrib.django.conftest import Work
from tests.contrib.django.hearing import heard
from tests.contrib.django.site.shop import tasks

READY, RUNNING = TaskResultStatus.READY, TaskResultStatus.RUNNING
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def plain() -> None:
    """A function of a module, for tasks of the tests."""


# The task decorator, and Task.


@pytest.mark.usefixtures("backend")
def test_decorator_makes_a_task_instance() -> None:
    """The return value of the decorator is a Task; its arguments are defaults of that."""
    bare, mail = tasks.add, tasks.mail

    assert isinstance(bare, Task)
    assert (bare.priority, bare.queue_name, bare.backend) == (0, "default", "default")
    assert (bare.run_after, bare.takes_context, bare.name) == (None, False, "add")
    assert (mail.priority, mail.queue_name) == (7, "mail")


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    "options",
    [
        {"priority": 101},
        {"priority": -101},
        {"priority": 1.5},
        {"queue_name": "unknown"},
        {"takes_context": True},
        {"max_retries": -1},
        {"cron": "every day"},
        {"unique": "no_argument"},
    ],
    ids=str,
)
def test_invalid_tasks_are_refused(options: dict[str, Any]) -> None:
    """If the task is not valid according to the backend, InvalidTask is raised."""
    with pytest.raises(InvalidTaskError):
        task(**options)(plain)


@pytest.mark.usefixtures("backend")
def test_functions_stand_in_a_module() -> None:
    """Tasks are defined on a module-level function."""
    with pytest.raises(InvalidTaskError, match="module level"):
        task(lambda: None)


@pytest.mark.usefixtures("backend")
def test_attributes_cannot_be_modified() -> None:
    """Attributes of Task, TaskResult and TaskContext cannot be modified."""
    result = tasks.add.enqueue(1)

    with pytest.raises(FrozenInstanceError):
        tasks.add.priority = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        result.status = FAILED  # type: ignore[misc]


@pytest.mark.usefixtures("backend")
def test_using_leaves_the_task_unchanged() -> None:
    """`using` makes a new task with modified defaults: all four that it may modify."""
    at = timezone.now() + timedelta(hours=1)

    other = tasks.add.using(priority=10, queue_name="mail", run_after=at)
    plain_one = tasks.add.using(backend="plain")

    assert (other.priority, other.queue_name, other.run_after) == (10, "mail", at)
    assert plain_one.backend == "plain"
    assert (tasks.add.priority, tasks.add.queue_name, tasks.add.run_after) == (0, "default", None)


def test_priorities_run_sooner(backend: Backend, work: Work) -> None:
    """Larger numbers are of higher priority, and run sooner."""
    results = [tasks.add.using(priority=each).enqueue(each) for each in (-100, 0, 100, 5)]
    with heard(task_started) as began:
        backend.queue.workers = 1
        work()

    assert [each.args for _, each in began] == [[100], [5], [0], [-100]]
    assert [each.task.priority for each in results] == [-100, 0, 100, 5]


def test_run_after_is_the_earliest(work: Work) -> None:
    """`run_after` is the earliest time the task is executed; it comes back with the result."""
    late = timezone.now() + timedelta(hours=1)
    soon = timezone.now() + timedelta(milliseconds=50)
    later, sooner = (tasks.add.using(run_after=at).enqueue(1) for at in (late, soon))
    work()
    later.refresh()
    while not sooner.is_finished:
        work()
        sooner.refresh()

    assert later.status == READY
    assert later.task.run_after == late
    assert sooner.started_at is not None
    assert sooner.started_at >= soon
    assert tasks.add.get_result(later.id).task.run_after == late


@pytest.mark.usefixtures("backend")
def test_run_after_is_aware() -> None:
    """Where time zones are used, a time without one is refused; elsewhere it is local."""
    naive = datetime(2040, 1, 1, 12)  # noqa: DTZ001 - that is the point
    with pytest.raises(InvalidTaskError, match="aware"):
        tasks.add.using(run_after=naive)

    with override_settings(USE_TZ=False):
        result = tasks.add.using(run_after=naive).enqueue(1)
        found = tasks.add.get_result(result.id)

    assert result.task.run_after == found.task.run_after == naive
    assert found.enqueued_at is not None
    assert found.enqueued_at.tzinfo is None


# Enqueueing.


def test_arguments_are_passed_as_they_are(work: Work) -> None:
    """Arguments and keyword arguments reach the function, and stand in the result."""
    results: list[TaskResult[Any]] = [
        tasks.echo.enqueue(1, "two", three=[3, None], four={"five": 5.5}),
        tasks.add.enqueue(2, right=3),
        tasks.add.enqueue(right=3, left=2),
        tasks.add.enqueue(2),
    ]
    work()
    found = [each.task.get_backend().get_result(each.id) for each in results]

    assert found[0].return_value == [[1, "two"], {"three": [3, None], "four": {"five": 5.5}}]
    assert [each.return_value for each in found[1:]] == [5, 5, 3]
    given = [([1, "two"], {"three": [3, None], "four": {"five": 5.5}}), ([2], {"right": 3})]
    given += [([], {"left": 2, "right": 3}), ([2], {})]
    assert [(each.args, each.kwargs) for each in results] == given
    assert [(each.args, each.kwargs) for each in found] == given


@pytest.mark.usefixtures("backend")
def test_arguments_are_json() -> None:
    """What JSON cannot hold is a TypeError, and nothing is enqueued."""
    for value in (datetime.now(UTC), {1, 2}, object()):
        with pytest.raises(TypeError):
            tasks.give.enqueue(value)

    assert task_backends["default"].queue.stats().seq == 0  # type: ignore[attr-defined]


def test_arguments_come_through_json(work: Work) -> None:
    """A tuple becomes a list, as through json.dumps and json.loads."""
    result = tasks.give.enqueue((1, 2, 3))
    work()
    result.refresh()

    assert result.args == [[1, 2, 3]]
    assert result.return_value == [1, 2, 3]


@pytest.mark.usefixtures("backend")
def test_invalid_tasks_are_not_enqueued(tasks_setting: dict[str, Any]) -> None:
    """A task that the backend of today's settings refuses raises when it is enqueued."""
    mail = tasks.mail
    narrow = {**tasks_setting["default"], "QUEUES": ["default"]}

    with override_settings(TASKS={"default": narrow}), pytest.raises(InvalidTaskError):
        mail.enqueue(1)


@pytest.mark.usefixtures("backend")
def test_an_unnamed_list_of_queues_takes_all(tasks_setting: dict[str, Any]) -> None:
    """To disable the validation of queue names, QUEUES is an empty list."""
    wide = {**tasks_setting["default"], "QUEUES": []}

    with override_settings(TASKS={"default": wide}):
        result = tasks.add.using(queue_name="of.any-name").enqueue(1)

        assert tasks.add.get_result(result.id).task.queue_name == "of.any-name"


def test_async_variants_do_the_same(work: Work) -> None:
    """`aenqueue`, `aget_result` and `arefresh` are the async variants."""

    async def make() -> tuple[TaskResult[int], TaskResult[int]]:
        result = await tasks.add.aenqueue(2, right=3)
        return result, await tasks.add.aget_result(result.id)

    result, found = asyncio.run(make())
    work()
    asyncio.run(result.arefresh())

    assert found.status == READY
    assert (result.status, result.return_value) == (SUCCESSFUL, 5)


def test_coroutines_are_run(work: Work) -> None:
    """Where `supports_async_task` is true, coroutine functions can be enqueued."""
    result = tasks.wait.enqueue("so far")
    work()
    result.refresh()

    assert str(result.return_value) == "so far 0"


@pytest.mark.usefixtures("backend")
def test_a_call_that_does_not_fit_is_refused() -> None:
    """Python's own error comes at once, not in a worker."""
    with pytest.raises(TypeError, match=r"add\(\) missing a required argument: 'left'"):
        tasks.add.enqueue()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        tasks.add.enqueue(1, other=2)  # type: ignore[call-arg]


# Context.


def test_context_tells_of_the_attempt(work: Work) -> None:
    """`context.task_result` is the result being run, `attempt` counts from 1."""
    result = tasks.tell.enqueue("hello")
    work()
    result.refresh()

    assert result.return_value == ["hello", 1, result.id, "RUNNING", result.worker_ids]


def test_attempt_rises_with_each_execution(work: Work) -> None:
    """The current attempt of a task that is repeated."""
    result = tasks.insist.enqueue(1)
    while not result.is_finished:
        work()
        result.refresh()

    assert (result.return_value, result.attempts) == (2, 2)


# Backends.


def test_features_are_told(backend: Backend) -> None:
    """The feature flags say what there is: all of it."""
    flags = ("supports_defer", "supports_async_task", "supports_get_result", "supports_priority")

    assert all(getattr(backend, flag) is True for flag in flags)


@pytest.mark.usefixtures("backend")
def test_unknown_backends_are_refused() -> None:
    """A task's backend must match one defined in TASKS."""
    with pytest.raises(ImproperlyConfigured):
        task(backend="missing")(plain)


# Signals.


def test_signals_tell_of_each_step(work: Work) -> None:
    """Enqueued, started, finished: each with the backend's class and the result."""
    with heard(task_enqueued) as made, heard(task_started) as began, heard(task_finished) as ended:
        good, bad = tasks.add.enqueue(1), tasks.fail.enqueue("no")
        work()

    ids = {good.id, bad.id}
    for found in (made, began, ended):
        assert {sender for sender, _ in found} == {Backend}
        assert sorted(each.id for _, each in found) == sorted(ids)
    assert {each.status for _, each in made} == {READY}
    assert {each.status for _, each in began} == {RUNNING}
    assert {each.id: each.status for _, each in ended} == {good.id: SUCCESSFUL, bad.id: FAILED}


def test_finished_is_told_once_it_is_so(work: Work) -> None:
    """An attempt that will be repeated is no end of the task."""
    result = tasks.insist.enqueue(1)
    with heard(task_finished) as ended:
        while not result.is_finished:
            work()
            result.refresh()

    assert [each.return_value for _, each in ended] == [2]
