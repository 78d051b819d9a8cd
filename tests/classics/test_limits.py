"""Who may run when: pauses that lose nothing, and limits that forget nobody."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from eventq import Queue, Task
from eventq.handlers.context import Context
from eventq.runner import snapshots
from tests.checker import check_log
from tests.classics.nodes import lease_tasks
from tests.support import (
    Gate,
    HookedLog,
    ManualClock,
    final,
    kinds,
    look,
    queue_on,
    running,
    wait_until,
)


@pytest.fixture
def queue(log: HookedLog, clock: ManualClock) -> Iterator[Queue]:
    """A node with workers enough to take more than a limit lets them."""
    with queue_on(log, clock=clock, workers=4) as queue:
        yield queue
    check_log(HookedLog(log.storage))


def test_a_pause_loses_no_task(
    log: HookedLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere jobs went with a pause: moved aside and not back, or forgotten by a restart.

    Here a pause is an event that takes nothing away: what was waiting, what came meanwhile, what
    ran, and what a node that died had held, are each completed once, on nodes of before and after.
    """
    monkeypatch.setattr(snapshots, "IDLE_EVENTS", 5)
    ran: Counter[str] = Counter()
    gate = Gate()

    def worker(_ctx: Context, task: Task) -> None:
        if task.key == "runs":
            gate()
        ran[task.key] += 1

    with queue_on(HookedLog(log.storage), clock=clock) as dead:
        lease_tasks(dead, [dead.new(key="orphan", backoff=0).number], ttl_us=3_000_000)
    with queue_on(log, clock=clock, workers=1) as before:
        before.new(key="runs", priority=9)
        keys = [before.new(key=f"before-{number}").key for number in range(20)]
        with running(before, worker, lease_ttl="3s"):
            wait_until(gate.reached.is_set)
            before.pause(reason="deploy")
            keys += [before.new(key=f"during-{number}").key for number in range(20)]
            for _ in range(5):
                clock.advance(1)
                look(before)
            gate.open()
            wait_until(lambda: final(before, "runs").state == "completed")
            wait_until(log.snapshots.entries, "a snapshot")
        assert ran == {"runs": 1}

    with queue_on(HookedLog(log.storage), clock=clock, workers=2) as after:
        assert after.run(worker, until="idle").left == 41
        [pause] = after.pauses()
        assert (pause.reason, pause.waiting) == ("deploy", 41)
        after.resume()
        report = after.run(worker, until="idle")

        assert (report.completed, report.left) == (41, 0)
        assert ran == dict.fromkeys([*keys, "orphan", "runs"], 1)
    check_log(HookedLog(log.storage))


def test_a_limit_forgets_no_partition(queue: Queue, log: HookedLog, clock: ManualClock) -> None:
    """Elsewhere a partition was left out of a fetch, and its jobs waited beside idle workers.

    Here each of 100 values gets its turn though all have a backlog, one at a time each; the one
    whose place a dead node holds gets its own when the lease is over.
    """
    queue.set_limit("tenant", running=1, per="tenant")
    held = queue.new({"tenant": "0"}, key="held", limits=["tenant"], backoff=0)
    with queue_on(HookedLog(log.storage), clock=clock) as dead:
        lease_tasks(dead, [held.number], ttl_us=3_000_000)
    for number in range(300):
        queue.new({"tenant": str(number % 100)}, key=f"k{number}", limits=["tenant"])
    with running(queue, lambda _ctx, task: task.tags["tenant"], lease_ttl="3s"):
        wait_until(lambda: queue.stats().completed == 297, "all other values")
        look(queue)
        waiting = sorted(task.key for task in queue.tasks(state="ready"))
        assert waiting == ["k0", "k100", "k200"]
        for _ in range(6):
            clock.advance(1)
            look(queue)
        wait_until(lambda: not queue.tasks(), "the value whose place was held")

    assert kinds(queue, "held")[-2:] == ["leased", "completed"]
    assert queue.stats().completed == 301
    assert [(bucket.running, bucket.waiting) for bucket in queue.limits()] == [(0, 0)]


ENDS = {
    "completes": "completed",
    "fails": "expired",
    "is cancelled": "cancelled",
    "is given back": "released",
}


@pytest.mark.parametrize("ends", ENDS)
def test_a_place_is_free_once_its_holder_has_ended(queue: Queue, ends: str) -> None:
    """Elsewhere a lock outlived its holder, or was freed twice, and then two ran at a time.

    Here a place is held by a lease, and by nothing else: each way to end one frees one.
    """
    queue.set_limit("one", running=1)
    queue.new(key="first", priority=9, limits=["one"], max_retries=0)
    for number in range(3):
        queue.new(key=f"next-{number}", limits=["one"])
    gate, taken = Gate(), list[int]()

    def worker(ctx: Context, task: Task) -> None:
        taken.append(queue.limits()[0].running)
        if task.key == "first":
            gate()
            if ends == "fails":
                raise ValueError(ends)
            ctx.check()

    with running(queue, worker) as run:
        wait_until(gate.reached.is_set)
        if ends == "is cancelled":
            queue.cancel("first")
        elif ends == "is given back":
            # The first asks, the second forces.
            queue.stop()
            queue.stop()
            wait_until(lambda: "released" in kinds(queue, "first"))
        gate.open()
        if ends == "is given back":
            run.result()
        else:
            wait_until(lambda: not queue.tasks())
    queue.run(worker, until="idle")

    assert ENDS[ends] in kinds(queue, "first")
    assert taken == [1] * (5 if ends == "is given back" else 4)
    assert queue.tasks() == []
    assert queue.limits()[0].running == 0
