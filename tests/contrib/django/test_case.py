"""`TaskTestCase`, as a test of an application uses it."""

from __future__ import annotations

import threading

import pytest
from django.db import transaction
from django.test.utils import setup_test_environment, teardown_test_environment

from eventq.contrib.django import Backend
from eventq.contrib.django.queues import close_queues
from eventq.contrib.django.testing import TaskTestCase
from tests.contrib.django.site.shop import tasks
from tests.contrib.django.site.shop.models import Done, Order


def test_tasks_of_plain_tests_stay_in_the_process(backend: Backend) -> None:
    """In a run of Django's tests the log is in memory and nothing relays, until the test does."""
    settled = backend.queue.url
    close_queues()
    setup_test_environment()
    try:
        with transaction.atomic():
            result = tasks.add.enqueue(1)
        threads = [each.name for each in threading.enumerate()]
        queue = backend.queue
        before = queue.get(result.id)
        queue.run(until="idle", signals=False)
        result.refresh()
    finally:
        close_queues()
        teardown_test_environment()

    assert queue.url == "memory://"
    assert not [name for name in threads if "relay" in name]
    assert before is None
    assert result.return_value == 2
    assert backend.queue.url == settled
    assert backend.queue.get(result.id) is None


@pytest.mark.usefixtures("tables")
class OrderTests(TaskTestCase):
    """Each test stands in a transaction, and its tasks in memory."""

    def test_tasks_of_a_view_run_when_the_test_says_so(self) -> None:
        """The view's transaction, which the test's own holds, makes them."""
        assert self.client.get("/order/a/").status_code == 200
        result = self.assert_enqueued(tasks.confirm, number="a")
        before = (str(result.status), Done.objects.count())
        report = self.run_tasks()
        result.refresh()

        assert before == ("READY", 0)
        assert (report.completed, result.return_value) == (1, Order.objects.get(number="a").id)
        assert Done.objects.get().number == "a"

    def test_what_is_rolled_back_makes_none(self) -> None:
        """So does a savepoint of the test's own."""
        self.client.get("/order/b/?fails")
        with transaction.atomic():
            tasks.add.enqueue(1)
            transaction.set_rollback(True)

        self.refute_enqueued(tasks.confirm)
        assert self.run_tasks().completed == 0
        with pytest.raises(AssertionError, match="no task"):
            self.assert_enqueued(tasks.add, left=1)

    def test_time_passes_when_the_test_says_so(self) -> None:
        """Retries and delays are there without any wait."""
        result = tasks.insist.enqueue(2)
        at_once = self.run_tasks()
        later = self.forward("1h")
        result.refresh()
        # The hour may be that of the nightly report, which is due by the clock.
        nightly = len(self.harness.queue.tasks(name=tasks.report.module_path, state="completed"))

        assert (at_once.completed, later.completed - nightly) == (0, 1)
        assert result.attempts == 3

    def test_faults_can_be_planned(self) -> None:
        """All of the harness is at hand."""
        result = tasks.add.enqueue(1)
        self.harness.fail_next(tasks.add.module_path, tasks.DeclinedError("planned"))
        self.run_tasks()
        result.refresh()

        assert result.errors[0].exception_class is tasks.DeclinedError

    def test_coroutines_see_what_the_test_has_done(self) -> None:
        """They run in its thread, so by its connection."""
        Order.objects.create(number="here")
        result = tasks.wait.enqueue("now")
        self.run_tasks()
        result.refresh()

        assert str(result.return_value) == "now 1"
