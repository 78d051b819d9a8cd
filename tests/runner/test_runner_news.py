"""What a run reports of attempts: what is lost for good as a warning, retries for information."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from eventq import Cancel, Queue, Retry, Task
from eventq.core.events import Refused
from eventq.errors import LogUnavailableError
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.handlers.context import Context
from eventq.runner import news
from eventq.runner.news import CANCELLED, FAILED_FOR_GOOD, REFUSED, RESULT_LOST, RETRIED
from eventq.runner.settling import LAPSED_LEASES
from tests.support import (
    Gate,
    ManualClock,
    ends,
    node_of,
    pass_time,
    queue_on,
    runner_of,
    running,
    wait_until,
    wakes_of,
)

Found = list[tuple[int, str, dict[str, Any]]]


@pytest.fixture
def found(caplog: pytest.LogCaptureFixture) -> Callable[[], Found]:
    """What was logged of attempts so far: level, message, and the named values."""
    caplog.set_level(logging.DEBUG, logger="eventq.runner")
    names = ("task", "attempt", "error", "reason", "outcome")
    return lambda: [
        (record.levelno, record.msg, {n: vars(record)[n] for n in names if n in vars(record)})
        for record in caplog.records
        if record.name == "eventq.runner.attempts" and record.message != "traceback"
    ]


def boom(_: Context, __: Task) -> None:
    """A worker with a typo."""
    raise NameError("name 'pth' is not defined")


def test_a_failure_is_information_while_it_is_retried(found: Callable[[], Found]) -> None:
    """The last one is a warning; each names task, attempt and error."""
    with Queue("memory://", workers=1, max_retries=1, backoff=0) as queue:
        queue.new(key="k")
        report = queue.run(boom, until="idle")

    error = "NameError: name 'pth' is not defined"
    assert found() == [
        (
            logging.INFO,
            RETRIED,
            {"task": "k", "attempt": 1, "error": error},
        ),
        (
            logging.WARNING,
            FAILED_FOR_GOOD,
            {"task": "k", "attempt": 2, "error": error, "reason": "max_retries"},
        ),
    ]
    assert (report.failed, report.expired) == (2, 1)


def test_the_traceback_is_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG alone, in a record of its own."""
    caplog.set_level(logging.DEBUG, logger="eventq.runner")
    with Queue("memory://", workers=1, max_retries=0) as queue:
        queue.new(key="k")
        queue.run(boom, until="idle")

    [record] = [each for each in caplog.records if each.message == "traceback"]
    assert record.levelno == logging.DEBUG
    assert vars(record)["traceback"].endswith("NameError: name 'pth' is not defined\n")


def test_what_a_worker_asks_for_is_information(found: Callable[[], Found]) -> None:
    """Retry and Cancel are no accidents."""

    def worker(_: Context, task: Task) -> None:
        if task.attempt == 1:
            raise Retry(delay=0)
        raise Cancel("pointless")

    with Queue("memory://", workers=1, max_retries=1) as queue:
        queue.new(key="k")
        queue.run(worker, until="idle")

    assert [(level, message) for level, message, _ in found()] == [
        (logging.INFO, RETRIED),
        (logging.INFO, CANCELLED),
    ]


def test_a_passed_deadline_and_a_late_outcome_are_warnings(found: Callable[[], Found]) -> None:
    """The attempt, the worker that goes on, and what it returns in the end."""
    clock, gate = ManualClock(), Gate()
    with Queue("memory://", workers=1, clock=clock, max_retries=0) as queue:
        queue.new(key="k", deadline="30s")
        with running(queue, gate):
            assert gate.reached.wait(60)
            pass_time(queue, clock, 30)
            wait_until(ends(queue, "k"))
            gate.open()
            wait_until(lambda: queue.stats().refused)
            wait_until(lambda: len(found()) == 2)

    (level, message, values), refused = found()
    assert (level, message) == (logging.WARNING, FAILED_FOR_GOOD)
    assert values["error"].startswith("eventq.DeadlineExceededError: ")
    assert refused == (
        logging.WARNING,
        REFUSED,
        {"task": "k", "outcome": "completed"},
    )


def test_an_interrupt_is_no_error_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose task was refused is looked up in the log, which may take Ctrl-C for its own failure."""

    def interrupted(*_: object) -> None:
        raise LogUnavailableError from KeyboardInterrupt()

    monkeypatch.setattr(news, "task_of", interrupted)
    with Queue("memory://") as queue, pytest.raises(KeyboardInterrupt):
        news._report_refusal(node_of(queue), 1, Refused(fence=1, worker="n", outcome="completed"))


def test_a_result_that_is_not_kept_is_a_warning(found: Callable[[], Found]) -> None:
    """The work is done, but what it returned is lost."""
    with Queue("memory://", workers=1) as queue:
        queue.new(key="k")
        queue.run(lambda *_: object(), until="idle")

    [(level, message, values)] = found()
    assert (level, message, values["task"]) == (logging.WARNING, RESULT_LOST, "k")
    assert "expected a JSON value" in values["error"]


def test_a_task_given_up_for_its_age_is_a_warning(found: Callable[[], Found]) -> None:
    """Nobody ran it, and nobody will."""
    clock = ManualClock()
    with Queue("memory://", workers=1, clock=clock) as queue:
        queue.new(key="k", max_age="1m")
        clock.advance(61)
        report = queue.run(boom, until="idle")

    assert found() == [
        (
            logging.WARNING,
            "task %(task)s expired (%(reason)s)",
            {"task": "k", "attempt": 0, "reason": "max_age"},
        )
    ]
    assert (report.failed, report.expired) == (0, 1)


def test_a_lapse_is_a_warning_once_it_is_in_the_log(
    found: Callable[[], Found], caplog: pytest.LogCaptureFixture
) -> None:
    """It names the node, and what became of its attempts."""
    clock, gate, storage = ManualClock(), Gate(), MemoryStorage()
    dead = queue_on(MemoryLog(storage, url="memory://", namespace="n"), clock=clock, workers=1)
    live = queue_on(MemoryLog(storage, url="memory://", namespace="n"), clock=clock, workers=1)
    dead.new(key="k", max_retries=0)
    with running(dead, gate, lease_ttl="1s"):
        assert gate.reached.wait(60)
        # It renews no more.
        with node_of(dead)._lock, running(live, boom):
            wait_until(lambda: wakes_of(live))
            for _ in range(8):
                pass_time(live, clock, 0.5)
                wait_until(lambda: runner_of(live).lookout.looked_s == clock.seconds)
            wait_until(ends(live, "k"))
        gate.open()
    live.close()
    dead.close()

    [lapse] = [each for each in caplog.records if each.msg == LAPSED_LEASES]
    assert (lapse.levelno, vars(lapse)["attempts"]) == (logging.WARNING, 1)
    assert (logging.WARNING, FAILED_FOR_GOOD) in [(level, message) for level, message, _ in found()]
