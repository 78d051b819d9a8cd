"""Waiting for tasks to end: woken by the log, many at a time, and never left waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from eventq import (
    ArgumentError,
    EventLoopError,
    LogLostError,
    LogUnavailableError,
    Queue,
    QueueClosedError,
    TaskNotFoundError,
    WaitTimeoutError,
)
from eventq.core.commits import Commit
from eventq.eventlog import Watch
from eventq.host.bell import Bell
from eventq.node import end_watch
from tests.support import HookedLog, Spawned, queue_on, wait_until


class CountingLog(HookedLog):
    """Counts who watches, and fails to be read when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = 0
        self.reads = 0
        self.fails: list[Exception] = []

    def watch(self, wake: object) -> Watch:
        """See EventLog.watch."""
        self.watches += 1
        return super().watch(wake)  # type: ignore[arg-type]

    def read(self, *, after: int, limit: int = 10_000) -> list[Commit]:
        """See EventLog.read."""
        self.reads += 1
        if self.fails and threading.current_thread().name == "eventq-wait":
            raise self.fails.pop()
        return super().read(after=after, limit=limit)


@pytest.fixture
def log() -> CountingLog:
    """The log under the queue."""
    return CountingLog()


@pytest.fixture
def queue(log: CountingLog) -> Iterator[Queue]:
    """A queue of one worker."""
    with queue_on(log, workers=1) as queue:
        yield queue


def waiters(queue: Queue) -> int:
    """How many wait."""
    return len(queue._ends._waiters)


def run(queue: Queue) -> None:
    """Works off all tasks, with their numbers as results."""
    queue.run(lambda _ctx, task: task.number, until="idle", signals=False)


def test_a_task_that_has_ended_is_given_at_once(queue: Queue, log: CountingLog) -> None:
    """Nobody watches for it."""
    key = queue.new(key="k").key
    run(queue)
    watches = log.watches

    assert queue.wait(key).result == 1
    assert queue.wait("k", timeout=0).state == "completed"
    assert log.watches == watches


@pytest.mark.parametrize("how", ["completed", "cancelled", "expired"])
def test_whoever_waits_is_woken_by_any_end(queue: Queue, how: str) -> None:
    """Also by one that another process has brought about."""
    key = queue.new(key="k", max_retries=0).key
    waiting = Spawned(queue.wait, key)
    wait_until(lambda: waiters(queue))
    with queue_on(HookedLog(queue.log.storage)) as other:  # type: ignore[attr-defined]
        if how == "cancelled":
            other.cancel(key)
        else:
            other.run(lambda *_: 1 if how == "completed" else 1 / 0, until="idle")

    assert waiting.result().state == how


def test_many_share_one_thread_and_one_watch(queue: Queue, log: CountingLog) -> None:
    """Each is woken by the end of its own task."""
    tasks = queue.new_many([{}] * 100)
    before = threading.active_count()
    waiting = [Spawned(queue.wait, task.key) for task in tasks]
    wait_until(lambda: waiters(queue) == 100)

    assert log.watches == 1
    assert threading.active_count() == before + 100 + 1
    queue.cancel(tasks[7].key)
    assert waiting[7].result().state == "cancelled"
    assert waiters(queue) == 99
    run(queue)
    assert [each.result().number for each in waiting] == [task.number for task in tasks]


def test_the_thread_ends_when_nobody_has_waited_for_a_while(
    queue: Queue, log: CountingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits after that has a new one."""
    monkeypatch.setattr(end_watch, "LINGER_S", 0.01)
    for count in (1, 2):
        key = queue.new().key
        waiting = Spawned(queue.wait, key)
        wait_until(lambda: waiters(queue))
        queue.cancel(key)
        assert waiting.result().state == "cancelled"
        wait_until(lambda: queue._ends._thread is None)
        assert log.watches == count

    assert "eventq-wait" not in [thread.name for thread in threading.enumerate()]


def test_it_never_looks_because_time_has_passed(
    log: CountingLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing is appended and nobody's time is up, the log is left alone."""
    waits: list[float | None] = []

    class NotedBell(Bell):
        def wait(self, timeout_s: float | None) -> bool:
            waits.append(timeout_s)
            return super().wait(timeout_s)

    monkeypatch.setattr(end_watch, "Bell", NotedBell)
    with queue_on(log, workers=1) as queue:
        key = queue.new().key
        waiting = Spawned(queue.wait, key)
        wait_until(lambda: waits and queue._ends._bell.heard())
        reads = log.reads
        limited = Spawned(queue.wait, key, timeout="1h")
        wait_until(lambda: waiters(queue) == 2 and len(waits) > 1 and queue._ends._bell.heard())
        # One look of the second's own, and one of the thread.
        assert log.reads <= reads + 2
        seen = list(waits)
        queue.cancel(key)
        assert (waiting.result().state, limited.result().state) == ("cancelled", "cancelled")

    assert None in seen
    assert all(3_590 < wait <= 3_600 for wait in seen if wait is not None)
    assert seen[-1] is not None


def test_late_is_an_error_that_names_the_task(queue: Queue) -> None:
    """It is a TimeoutError, too; nobody is left waiting."""
    queue.new(key="k", delay="1h")

    with pytest.raises(TimeoutError) as caught:
        queue.wait("k", timeout="10ms")

    assert isinstance(caught.value, WaitTimeoutError)
    assert (caught.value.key, caught.value.state) == ("k", "scheduled")
    assert waiters(queue) == 0


def test_wrong_arguments_are_refused(queue: Queue) -> None:
    """And a task that is not there is not waited for."""
    with pytest.raises(TaskNotFoundError):
        queue.wait("nobody")
    with pytest.raises(ArgumentError, match="timeout"):
        queue.wait("1", timeout=-1)
    with pytest.raises(ArgumentError, match="key"):
        queue.wait(1)  # type: ignore[arg-type]


def test_closing_the_queue_wakes_all(queue: Queue) -> None:
    """They raise, and so does whoever comes later."""
    key = queue.new().key
    waiting = [Spawned(queue.wait, key) for _ in range(3)]
    wait_until(lambda: waiters(queue) == 3)

    queue.close()

    for each in waiting:
        with pytest.raises(QueueClosedError):
            each.result()
    with pytest.raises(QueueClosedError):
        queue.wait(key)


def test_a_log_that_is_away_is_waited_for(queue: Queue, log: CountingLog) -> None:
    """Whoever waits does not hear of it; a log that is lost is told to all."""
    key = queue.new().key
    log.fails = [LogUnavailableError("away")]
    waiting = Spawned(queue.wait, key)
    wait_until(lambda: not log.fails)
    queue.cancel(key)
    assert waiting.result().state == "cancelled"

    other = queue.new().key
    log.fails = [LogLostError("gone")]
    with pytest.raises(LogLostError, match="gone"):
        queue.wait(other, timeout="10s")


def test_a_reopened_task_is_waited_for_again(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is woken finds it open once more, and goes on waiting."""
    key = queue.new().key
    waiting = Spawned(queue.wait, key)
    wait_until(lambda: waiters(queue))
    find = end_watch.EndWatch._find
    found: list[object] = []

    def reopens(self: end_watch.EndWatch, wanted: str) -> object:
        if not found:
            found.append(queue.retry(key))
        return find(self, wanted)

    monkeypatch.setattr(end_watch.EndWatch, "_find", reopens)
    queue.cancel(key)
    wait_until(lambda: found and waiters(queue))
    run(queue)

    assert waiting.result().state == "completed"


def test_a_signal_ends_waiting(queue: Queue) -> None:
    """What its handler raises comes up, and no waiter stays behind."""

    def raises(*_: object) -> None:
        raise ZeroDivisionError

    key = queue.new().key
    before = signal.signal(signal.SIGALRM, raises)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(ZeroDivisionError):
            queue.wait(key, timeout="1m")
    finally:
        signal.signal(signal.SIGALRM, before)

    assert waiters(queue) == 0


def test_coroutines_hold_no_thread_while_they_wait(queue: Queue) -> None:
    """Many of them wait where the loop has one thread; one that is cancelled waits no more."""

    async def test() -> list[int]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        tasks = await queue.aio.new_many([{}] * 50)
        waiting = [asyncio.create_task(queue.aio.wait(task.key)) for task in tasks]
        late = asyncio.create_task(queue.aio.wait(tasks[0].key, timeout="1h"))
        with ThreadPoolExecutor(1) as own:
            await loop.run_in_executor(own, wait_until, lambda: waiters(queue) == 51)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        assert waiters(queue) == 50
        with pytest.raises(WaitTimeoutError):
            await queue.aio.wait(tasks[0].key, timeout="1ms")
        await queue.aio.run(lambda _ctx, task: task.number, until="idle")
        return [task.result for task in await asyncio.gather(*waiting)]

    assert asyncio.run(test()) == list(range(1, 51))


def test_waiting_in_the_loop_of_a_run_is_refused(queue: Queue) -> None:
    """It would hold up what it waits for; the awaited form does not."""
    found: list[str] = []

    async def worker(_ctx: object, _task: object) -> None:
        if not found:
            with pytest.raises(EventLoopError, match=r"aio\.wait"):
                queue.wait("1")
            other = await queue.aio.new()
            found.append(other.key)

    async def test() -> None:
        await queue.aio.new()
        await queue.aio.run(worker, until="idle")
        assert (await queue.aio.wait(found[0])).state == "completed"

    asyncio.run(test())


def test_a_forked_child_has_no_waiters(queue: Queue) -> None:
    """The parent's stay where they are; the child has a thread of its own when it waits."""
    key = queue.new().key
    waiting = Spawned(queue.wait, key)
    wait_until(lambda: waiters(queue))

    child = os.fork()
    if not child:
        try:
            has_none = waiters(queue) == 0
            queue.cancel(key)
            os._exit(0 if has_none and queue.wait(key).state == "cancelled" else 3)
        finally:
            os._exit(4)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    # The child's log is its own copy.
    assert waiters(queue) == 1
    queue.cancel(key)

    assert waiting.result().state == "cancelled"
