"""For tests of a Django application: its tasks in memory, run when the test says so.

``class OrderTests(TaskTestCase)``: views and models make tasks as ever, also inside the transaction
that `TestCase` puts around each test; `run_tasks` then does what relays and workers would.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from django.db import connections
from django.test import SimpleTestCase, TestCase

from eventq.contrib.django.framework import Task, TaskResult
from eventq.contrib.django.places import DjangoPlace
from eventq.contrib.django.queues import OpenQueue, stand_in
from eventq.contrib.django.running import TaskHandlers, fresh_connections
from eventq.contrib.django.settings import OF_PLACE, BackendSettings, backend_at
from eventq.contrib.outbox import Outbox
from eventq.contrib.outbox.relay import relay_block
from eventq.core.durations import Duration
from eventq.runner.runner import RunReport
from eventq.testing import Harness, harness


class TaskTests(SimpleTestCase):
    """What a test case has of eventq, to be inherited beside a test case of Django's."""

    task_backend = "default"
    """The alias of the backend in TASKS."""

    def setUp(self) -> None:
        """Has the tasks of the backend go to a harness, whose clock shows what time it is."""
        super().setUp()
        alias = self.task_backend
        backend = backend_at(alias)
        wanted: BackendSettings = backend.settings
        options = {n: v for n, v in wanted.of_queue.items() if n not in OF_PLACE}
        handlers = TaskHandlers(backend, wanted.of_queue, tells=wanted.signals, in_thread=True)
        handlers.load()
        stack = ExitStack()
        collections = [handlers.collection, *wanted.collections()]
        self.harness: Harness = stack.enter_context(
            harness(collections, start=datetime.now(UTC), **options)
        )
        """The queue in memory: `eventq.testing.Harness`, for all that is not said here."""
        self.harness.queue.around(fresh_connections)
        handlers.queue = self.harness.queue
        self._outbox: Outbox | None = None
        if wanted.outbox is not None:
            self._outbox = Outbox(
                self.harness.queue,
                connections[wanted.outbox],
                relay=False,
                clock=self.harness.clock,
            )
        before = stand_in(alias, OpenQueue(self.harness.queue, handlers, self._outbox))
        # Last come, first gone: the harness ends, verified, once the backend is what it was.
        self.addCleanup(stack.close)
        self.addCleanup(stand_in, alias, before)

    def run_tasks(self) -> RunReport:
        """Relays what the test's transaction holds, and runs all that is due and comes of it."""
        return self._work("0s")

    def forward(self, duration: Duration) -> RunReport:
        """Lets time pass: what becomes due on the way runs at its instant. No real time passes."""
        return self._work(duration)

    def assert_enqueued(self, task: Task[..., Any], **arguments: object) -> TaskResult[Any]:
        """The result of the last task made with these arguments, others not looked at.

        Raises AssertionError where there is none, with those that there are.
        """
        self._relay()
        found = self.harness.assert_created(task.module_path, **arguments)
        return task.get_result(found.key)

    def refute_enqueued(self, task: Task[..., Any], **arguments: object) -> None:
        """Raises AssertionError if there is a task with these arguments."""
        self._relay()
        self.harness.refute_created(task.module_path, **arguments)

    def _work(self, duration: Duration) -> RunReport:
        self._relay()
        report = self.harness.forward(duration)
        while self._relay():
            report = report.plus(self.harness.run())
        return report

    def _relay(self) -> int:
        """Relays by the connection of the test, which alone sees what the test has done."""
        outbox = self._outbox
        if outbox is None:
            return 0
        place = outbox.place
        assert isinstance(place, DjangoPlace), "it is made of a connection of Django's"
        return place.visit_here(outbox.queue.namespace, lambda store: relay_block(outbox, store))


class TaskTestCase(TaskTests, TestCase):
    """Django's `TestCase`, whose tasks run when the test says so."""
