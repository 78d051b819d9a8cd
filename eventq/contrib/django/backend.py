"""The backend of `django.tasks`: it checks, makes tasks, and shows their results.

Inside `atomic()` of the outbox's database a task is a row of that transaction; elsewhere it is in
the log when `enqueue` returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.core import checks
from django.db import connections, transaction
from django.utils import timezone

from eventq.contrib.django.calls import TaskCall
from eventq.contrib.django.checks import check_settings
from eventq.contrib.django.framework import (
    BaseTaskBackend,
    InvalidTaskError,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_enqueued,
)
from eventq.contrib.django.options import EventqTask, check_task, spec_of
from eventq.contrib.django.places import DjangoPlace
from eventq.contrib.django.queues import DjangoQueue, OpenQueue, open_queue
from eventq.contrib.django.results import result_of, result_of_row
from eventq.contrib.django.running import TaskHandlers, fresh_connections
from eventq.contrib.django.settings import BackendSettings, is_test_run
from eventq.contrib.outbox import Outbox
from eventq.core.task import Task as LoggedTask
from eventq.core.validation import check_lookup_key
from eventq.errors import ArgumentError, TaskNotFoundError
from eventq.queue import Queue


class Backend(BaseTaskBackend):
    """``TASKS = {"default": {"BACKEND": "eventq.contrib.django.Backend", "OPTIONS": {...}}}``."""

    task_class = EventqTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.settings = BackendSettings(self.options)

    @property
    def queue(self) -> Queue:
        """The queue of eventq's that the tasks are in, for all that Django has no word for."""
        return self._opened.queue

    @property
    def handlers(self) -> TaskHandlers:
        """What runs its tasks."""
        return self._opened.handlers

    @property
    def outbox(self) -> Outbox | None:
        """The outbox of its settings."""
        return self._opened.outbox

    def validate_task(self, task: Task[..., Any]) -> None:
        """Raises InvalidTaskError, also for what eventq cannot keep."""
        at: object = task.run_after
        if not isinstance(at, datetime | None):
            raise InvalidTaskError(f"run_after: expected an instant, a datetime, got {at!r}")
        super().validate_task(task)
        try:
            check_task(task)
        except ArgumentError as error:
            raise InvalidTaskError(str(error)) from error

    def enqueue(
        self, task: Task[..., Any], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> TaskResult[Any]:
        """See BaseTaskBackend.enqueue; durable when it returns, or with the transaction.

        Raises InvalidTaskError, TypeError for a call that the function does not take or JSON does
        not hold, and as `Queue.new` or `Outbox.new`.
        """
        self.validate_task(task)
        call = TaskCall.of(task, tuple(args), kwargs)
        spec = spec_of(task, call)
        opened = self._opened
        database = self.settings.outbox
        if opened.outbox is None or database is None or not _in_transaction(database):
            result = self._shown(opened.queue.new(spec), of=task)
            self._tell_enqueued(result)
            return result
        key = opened.outbox.new(spec, on=connections[database])
        result = self._waiting(task, key, call)
        # It is enqueued once it is sure to be.
        tell = partial(self._tell_enqueued, result)
        transaction.on_commit(tell, using=database, robust=True)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """See BaseTaskBackend.get_result; also of a row that no relay has taken yet."""
        try:
            key = check_lookup_key(result_id)
        except ArgumentError as error:
            raise TaskResultDoesNotExist(result_id) from error
        try:
            return self._result(key)
        except TaskNotFoundError:
            database = self.settings.outbox
            if database is not None:
                row = DjangoPlace(database).find_here(self.queue.namespace, key)
                if row is not None:
                    return result_of_row(self.alias, row)
        try:
            # It may have been relayed between the two.
            return self._result(key)
        except TaskNotFoundError as error:
            raise TaskResultDoesNotExist(result_id) from error

    def check(self, **_: object) -> list[checks.CheckMessage]:
        """What is wrong with its settings, for `manage.py check`."""
        return check_settings(self.alias, self.queues, self.settings)

    @property
    def _opened(self) -> OpenQueue:
        return open_queue(self.alias, self._open)

    def _open(self) -> OpenQueue:
        tasks = TaskHandlers(self, self.settings.of_queue, tells=self.settings.signals)
        collections = [tasks.collection, *self.settings.collections()]
        queue = DjangoQueue(handlers=collections, **self.settings.of_queue)
        queue.around(fresh_connections)
        queue.of_django, tasks.queue = tasks, queue
        if self.settings.outbox is not None:
            # A relay's connection would keep the tests' database from being dropped.
            relays = not is_test_run()
            queue.outbox = Outbox(queue, connections[self.settings.outbox], relay=relays)
        return OpenQueue(queue, tasks, queue.outbox)

    def _result(self, key: str) -> TaskResult[Any]:
        """Raises TaskNotFoundError for what is not in the log."""
        found = self.queue.get(key)
        if found is None:
            raise TaskNotFoundError(key)
        return self._shown(found)

    def _shown(self, found: LoggedTask, *, of: Task[..., Any] | None = None) -> TaskResult[Any]:
        has_begun = found.attempt > 0 or found.ending is not None
        history = self.queue.history(found.key) if has_begun else ()
        return result_of(self.alias, found, history, of=of)

    def _waiting(self, task: Task[..., Any], key: str, call: TaskCall) -> TaskResult[Any]:
        return TaskResult(
            task=task,
            id=key,
            status=TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=call.args,
            kwargs=call.kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def _tell_enqueued(self, result: TaskResult[Any]) -> None:
        task_enqueued.send(sender=type(self), task_result=result)


def _in_transaction(database: str) -> bool:
    """Whether a row is part of something. Raises ArgumentError for what Django does not follow."""
    connection = connections[database]
    if connection.in_atomic_block:
        return True
    if connection.connection is not None and not connection.get_autocommit():
        expected = "autocommit, or atomic(): Django tells of no other transaction's end"
        raise ArgumentError("enqueue", database, expected)
    return False
