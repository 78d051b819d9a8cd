"""Threads at which somebody throws an error, as some libraries for time-outs do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

from eventq import Queue
from eventq.runner.executors import contract
from tests.checker import check_log
from tests.runner.test_runner_watch import ThrownError, throw_at
from tests.support import HookedLog, ends, kinds, queue_on, runner_of, running, wait_until


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of two workers; what it leaves must be a good log."""
    log = HookedLog()
    with queue_on(log, workers=2, max_retries=0) as queue:
        yield queue
    check_log(HookedLog(log.storage))


# One that arrives as its thread ends is reported by Python.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_thrown_too_late_loses_no_attempt(queue: Queue) -> None:
    """Of an idle thread, the attempt it takes up next fails with it; those after complete."""
    keys = [f"k{number}" for number in range(4)]
    with running(queue, lambda _ctx, _task: None):
        for thread in threads_of(queue):
            throw_at(thread)
        for key in keys:
            queue.new(key=key)
            wait_until(ends(queue, key))

    outcomes = [kinds(queue, key)[2] for key in keys]
    assert outcomes.count("completed") >= 2
    assert set(outcomes) <= {"completed", "failed"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_one_that_dies_is_replaced_and_its_attempt_settled_once(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Whether or not it had handed out what it had in hand."""
    kills = kill_at_handing_out(monkeypatch, moment)

    with running(queue, lambda _ctx, _task: None, lease_ttl="1h"):
        for key in ("a", "dies", "b", "dies again", "c", "d"):
            queue.new(key=key)
            wait_until(ends(queue, key))

    assert kills == ["dies", "dies again"]
    for key in ("a", "dies", "b", "dies again", "c", "d"):
        assert kinds(queue, key) == ["created", "leased", "completed"]


def test_a_thread_that_cannot_be_begun_is_tried_again(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run goes on with those that there are."""
    kills = kill_at_handing_out(monkeypatch, "before")
    start = threading.Thread.start
    refused: list[str] = []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("eventq-worker") and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    with running(queue, lambda _ctx, _task: None):
        threads_of(queue)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        for key in ("a", "dies", "b", "c"):
            queue.new(key=key)
            wait_until(ends(queue, key))
        wait_until(lambda: all(thread.is_alive() for thread in threads_of(queue)))

    assert kills == ["dies"]
    assert len(refused) == 2


def kill_at_handing_out(monkeypatch: pytest.MonkeyPatch, moment: str) -> list[str]:
    """Kills the thread that hands out an attempt at a task whose key begins with ``dies``."""
    kills: list[str] = []

    class Deadly(deque[Any]):
        def append(self, attempt: Any) -> None:  # noqa: ANN401
            kill = attempt.task.key.startswith("dies") and attempt.task.key not in kills
            if kill and moment == "before":
                kills.append(attempt.task.key)
                raise ThrownError
            super().append(attempt)
            if kill:
                kills.append(attempt.task.key)
                raise ThrownError

    monkeypatch.setattr(contract, "deque", Deadly)
    return kills


def threads_of(queue: Queue) -> list[threading.Thread]:
    """The threads of a run, once they have begun."""
    threads = runner_of(queue).executors[0].crew.threads  # type: ignore[attr-defined]
    wait_until(lambda: threads[-1].ident is not None)
    return list(threads)
