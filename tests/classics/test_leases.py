"""Leases and their end: tasks of nodes that died, that stood still, or that only seemed to."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from eventq import Queue, Task
from eventq.eventlog.contract import Decide
from eventq.handlers.context import Context
from eventq.node import node
from eventq.runner import snapshots
from tests.classics.nodes import Slow, lease_tasks
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    final,
    kinds,
    lease,
    look,
    node_of,
    nudge,
    queue_on,
    running,
    wait_until,
)

ROOT = Path(__file__).parent.parent.parent


def let_lapse(judge: Queue, clock: ManualClock, *, seconds: int = 4) -> None:
    """Has a running judge look on while time passes, one second after the other.

    Not after a lapse: what it leases then would seem to wait for a worker for long.
    """
    before = judge.log.head().seq
    for _ in range(seconds):
        clock.advance(1)
        look(judge)
        if any(event.kind == "failed" for event in judge.events(after=before)):
            return


def held(gate: Gate, result: str) -> Callable[[Context, Task], str]:
    """A worker that returns this once the gate is open."""

    def worker(_ctx: Context, _task: Task) -> str:
        gate()
        return result

    return worker


def test_a_stale_rescue_overwrites_no_completion(
    queue: Queue, judge: Queue, judges_clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rescuers elsewhere read the stuck tasks, and later wrote over what had completed since.

    Here a rescue is decided on the log as it is when it is appended: the completion stands, and
    nothing is run again.
    """
    queue.new(key="k")
    gate, rescues = Gate(), []
    append_next: Callable[[Decide], object] = judge.log.append_next

    def complete_first(decide: Decide) -> object:
        if judges_clock.seconds >= 1_003:
            rescues.append(kinds(queue, "k"))
            gate.open()
            wait_until(lambda: kinds(queue, "k")[-1] == "completed")
        return append_next(decide)

    monkeypatch.setattr(judge.log, "append_next", complete_first)
    with running(queue, held(gate, "first"), lease_ttl="3s"):
        wait_until(gate.reached.is_set)
        with running(judge, lambda _ctx, _task: "second", lease_ttl="3s"):
            look(judge)
            let_lapse(judge, judges_clock)

    assert rescues[0] == ["created", "leased"]
    assert kinds(judge, "k") == ["created", "leased", "completed"]
    assert final(judge, "k").result == "first"


def test_ten_thousand_that_cannot_be_rescued_hide_none_that_can(
    log: HookedLog, judge: Queue, judges_clock: ManualClock
) -> None:
    """Rescuers elsewhere took the first so many stuck tasks, the same ones each time.

    Here 5,000 are held by a node that lives and 5,000 have a name that nobody has. The one behind
    them is run as soon as its lease is over.
    """
    with queue_on(HookedLog(log.storage)) as alive, queue_on(HookedLog(log.storage)) as dead:
        for _ in range(5):
            judge.new_many([{}] * 1_000, priority=9)
        for _ in range(5):
            judge.new_many([{}] * 1_000, name="nobodys", priority=9)
        judge.new(key="k")
        lease_tasks(alive, range(1, 5_001), ttl_us=3_600_000_000)
        lease_tasks(dead, range(5_001, 10_002), ttl_us=3_000_000)

    with running(judge, lambda _ctx, _task: "rescued", lease_ttl="3s"):
        look(judge)
        let_lapse(judge, judges_clock)
        wait_until(lambda: final(judge, "k").state == "completed")

    assert kinds(judge, "k") == ["created", "leased", "failed", "retried", "leased", "completed"]
    stats = judge.stats()
    assert (stats.leased, stats.completed) == (5_000, 1)


def test_no_task_is_both_finished_and_failed(
    queue: Queue, judge: Queue, judges_clock: ManualClock
) -> None:
    """Elsewhere a job whose worker was late stood among the finished and among the failed.

    Here the first end counts, the late outcome is kept as refused, and each list and count agrees.
    """
    queue.new(key="k", max_retries=0)
    gate = Gate()
    with running(queue, held(gate, "late"), lease_ttl="3s"):
        wait_until(gate.reached.is_set)
        with running(judge, lambda _ctx, _task: None, lease_ttl="3s"):
            look(judge)
            let_lapse(judge, judges_clock)
            wait_until(lambda: final(judge, "k").state == "expired")
        gate.open()
        wait_until(lambda: judge.stats().refused)

    assert kinds(judge, "k") == ["created", "leased", "failed", "expired", "refused"]
    assert final(judge, "k").result is None
    assert judge.tasks(state="completed") == []
    assert [task.key for task in judge.tasks(state="expired")] == ["k"]
    stats = judge.stats()
    assert (stats.completed, stats.expired, stats.leased) == (0, 1, 0)


def test_no_record_of_a_dead_node_is_pruned_under_its_tasks(
    log: HookedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere the record of a dead worker was tidied away, and what it held hung for ever.

    Here the lease itself says who held it and for how long; a node that begins from a snapshot a
    month later knows it as well.
    """
    monkeypatch.setattr(snapshots, "IDLE_EVENTS", 10)
    clock = ManualClock()
    with queue_on(HookedLog(log.storage), clock=clock) as dead:
        dead.new(key="k")
        lease(dead, ttl_us=3_000_000)
    with queue_on(log, clock=clock, workers=1) as busy:
        busy.new_many([{}] * 20)
        with running(busy, lambda _ctx, _task: None):
            wait_until(log.snapshots.entries, "a snapshot")
        assert log.snapshots.entries()[0].seq > 20

    clock.advance(30 * 86_400)
    with queue_on(HookedLog(log.storage), clock=clock, workers=1) as later:
        report = later.run(lambda _ctx, _task: "done", until="idle")

        assert (report.completed, report.left) == (1, 0)
        assert kinds(later, "k")[-2:] == ["leased", "completed"]


def test_a_reused_node_name_hides_no_orphan(
    log: HookedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a container came back under its old name, and so its orphans looked alive for ever.

    Here a process on the same host and with the same number is another node: it takes the orphan
    over when that lease is over, and not before, however much it renews leases of its own.
    """
    monkeypatch.setattr(socket, "gethostname", lambda: "worker-0")
    # Not for all: threads of other tests that looked would take themselves for a forked child's.
    monkeypatch.setattr(node, "os", SimpleNamespace(getpid=lambda: 1))
    clock = ManualClock()
    with queue_on(HookedLog(log.storage), clock=clock) as before:
        before.new(key="orphan")
        lease(before, ttl_us=3_000_000)
    gate = Gate()

    def worker(_ctx: Context, task: Task) -> None:
        if task.key == "long":
            gate()

    with queue_on(HookedLog(log.storage), clock=clock, workers=2) as again:
        assert node_of(again).name.startswith("worker-0-1-")
        again.new(key="long")
        with running(again, worker, lease_ttl="3s"):
            wait_until(gate.reached.is_set)
            let_lapse(again, clock, seconds=6)
            wait_until(lambda: final(again, "orphan").state == "completed")
            gate.open()
            wait_until(lambda: final(again, "long").state == "completed")

        assert kinds(again, "long") == ["created", "leased", "completed"]
        assert kinds(again, "orphan") == [
            "created", "leased", "failed", "retried", "leased", "completed",
        ]  # fmt: skip
        assert any(event.kind == "renewed" for event in again.events())


def test_a_task_delayed_beyond_the_lease_time_is_run_once(
    queue: Queue, judge: Queue, clock: ManualClock, judges_clock: ManualClock
) -> None:
    """Elsewhere workers held tasks that were due later, and each visibility timeout ran one more.

    Here nobody leases a task before it is due: an hour's delay and a lease of three seconds go
    together.
    """
    ran: list[str] = []
    queue.new(key="k", delay="1h")
    with (
        running(queue, lambda _, task: ran.append(task.key), lease_ttl="3s"),
        running(judge, lambda _, task: ran.append(task.key), lease_ttl="3s"),
    ):
        for _ in range(120):
            for each in (clock, judges_clock):
                each.advance(29)
            look(judge)
            look(queue)
        assert kinds(queue, "k") == ["created"]
        clock.advance(121)
        look(queue)
        wait_until(lambda: final(queue, "k").state == "completed")
        look(judge)

    assert ran == ["k"]
    assert kinds(queue, "k") == ["created", "leased", "completed"]


def test_what_was_leased_ahead_is_not_begun_after_its_lease_has_lapsed(
    queue: Queue, judge: Queue, judges_clock: ManualClock
) -> None:
    """Elsewhere prefetched tasks began long after their lease had gone to another worker.

    Here a node that stood still drops what it had not begun, and the other one runs it, once.
    """
    slow, taken = Slow(queue, "ahead-0", "ahead-1", "ahead-2"), list[str]()

    with running(queue, slow, lease_ttl="3s"):
        wait_until(slow.gate.reached.is_set)
        wait_until(lambda: queue.stats().leased == 4, "tasks to be leased ahead")
        with running(judge, lambda _, task: taken.append(task.key), lease_ttl="3s"):
            look(judge)
            let_lapse(judge, judges_clock)
            wait_until(lambda: not judge.tasks(), "the judge to take all over")
            slow.gate.open()
            wait_until(lambda: judge.stats().refused)

    assert slow.begun == ["slow"]
    assert sorted(taken) == ["ahead-0", "ahead-1", "ahead-2", "slow"]


GREEDY = '''
"""Handlers that hold the interpreter's lock until a byte comes through a pipe of the file system.

As a C extension does that computes. A write tells that it has begun.
"""
import ctypes, os, pathlib
import eventq

handlers = eventq.Handlers()

def hold(path: str) -> str:
    reading = os.open(path, os.O_RDONLY)
    pathlib.Path(path + ".begun").touch()
    ctypes.PyDLL(None).read(reading, ctypes.create_string_buffer(1), 1)
    return "held"

@handlers.task(isolate=True, max_retries=0)
def alone(path: str) -> str:
    return hold(path)

@handlers.task
def beside(path: str) -> str:
    return hold(path) if not pathlib.Path(path + ".begun").exists() else "other"

if __name__ == "__main__":
    import sys
    with eventq.Queue(sys.argv[1], workers=1, handlers=[handlers]) as queue:
        queue.run(lease_ttl="1s", until="idle")
        print(queue.stats().refused)
'''


@pytest.fixture
def greedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with greedy.py, which can be imported, and with the pipe."""
    (tmp_path / "greedy.py").write_text(GREEDY)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.delitem(sys.modules, "greedy", raising=False)
    return tmp_path


def test_an_isolated_task_that_holds_the_interpreters_lock_keeps_its_lease(
    log: HookedLog, clock: ManualClock, judge: Queue, judges_clock: ManualClock, greedy: Path
) -> None:
    """Elsewhere no heartbeat left a process whose task held the lock, and the task was run again.

    Here the lease of an isolated task is renewed outside its process, for ten times its length.
    """
    import greedy as jobs  # type: ignore[import-not-found] # noqa: PLC0415

    pipe = os.open(greedy / "pipe", os.O_RDWR)
    with queue_on(log, clock=clock, workers=1, handlers=[jobs.handlers]) as queue:
        task = jobs.alone.new(str(greedy / "pipe"))
        with running(queue, None, lease_ttl="3s"):
            wait_until((greedy / "pipe.begun").exists)
            with running(judge, lambda _ctx, _task: "stolen", names=["*"], lease_ttl="3s"):
                for _ in range(30):
                    seq = queue.log.head().seq
                    clock.advance(1)
                    nudge(queue)
                    wait_until(lambda seq=seq: queue.log.head().seq > seq, "a renewal")  # type: ignore[misc]
                    judges_clock.advance(1)
                    look(judge)
            os.write(pipe, b"x")
            wait_until(lambda: final(queue, task.key).state == "completed")
        os.close(pipe)

        assert kinds(queue, task.key) == ["created", "leased", "completed"]
        assert final(queue, task.key).result == "held"


def test_a_task_that_holds_the_lock_of_its_worker_ends_once(greedy: Path) -> None:
    """Elsewhere both the run that seemed dead and the one after it counted.

    Here a worker that is not isolated may lose such a task, as it must; the second run ends it, and
    what the first one did is refused, and seen.
    """
    url = f"sqlite:///{greedy}/eventq.db"
    pipe = os.open(greedy / "pipe", os.O_RDWR)
    command = [sys.executable, str(greedy / "greedy.py"), url]
    with Queue(url, workers=1) as queue:
        task = queue.new({"path": str(greedy / "pipe")}, name="beside", backoff=0)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as held:
            try:
                wait_until((greedy / "pipe.begun").exists)
                queue.run(lambda *_: "other", names=["*"], lease_ttl="1s", until="idle")
                assert final(queue, task.key).result == "other"
                os.write(pipe, b"x")
                said, _ = held.communicate(timeout=60)
            finally:
                held.kill()
        os.close(pipe)

        assert (held.returncode, said) == (0, "1\n")
        assert final(queue, task.key).result == "other"
        assert kinds(queue, task.key)[-2:] == ["completed", "refused"]
