"""Schedules in the harness: whoever waits for a task, and handlers that are borrowed of a queue."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from eventq import Handlers, Queue, WaitTimeoutError
from eventq.testing import harness

START = "2027-03-28T00:00:00+00:00"


def test_the_schedules_of_a_queue_are_borrowed_with_its_handlers() -> None:
    """They tick on the harness's own log, and not on the queue's."""
    with Queue("memory://lent") as queue:

        @queue.cron("*/10 * * * *")
        def look() -> None:
            pass

        with harness(handlers=[queue], start=START) as t:
            t.forward("25m")

            dues = [task.due for task in t.all_created(look)]
            assert dues == [datetime(2027, 3, 28, 0, minute, tzinfo=UTC) for minute in (10, 20)]
        assert list(queue.events()) == []


def test_whoever_waits_has_dues_come_on_the_way() -> None:
    """Up to its timeout; without one, dues alone do not make time pass."""
    handlers, seen = Handlers(), []

    @handlers.cron("*/10 * * * *")
    def look() -> None:
        seen.append(1)

    @handlers.task
    def slow() -> None:
        seen.append(2)

    with harness(handlers=[handlers], start=START) as t:
        task = slow.using(delay="25m").new()
        assert t.queue.wait(task.key).state == "completed"
        assert seen == [1, 1, 2]
        never = t.queue.new(name="nobodys")
        with pytest.raises(WaitTimeoutError):
            t.queue.wait(never.key, timeout="20m")
        assert seen == [1, 1, 2, 1, 1]
        with pytest.raises(WaitTimeoutError):
            t.queue.wait(never.key)
