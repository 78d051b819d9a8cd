"""A run at rest: what a commit leases for it as it creates a task, and that no lease is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from eventq import Queue
from eventq.core.task import TaskState
from eventq.errors import LogUnavailableError
from eventq.node.node import Node
from tests.checker import check_log
from tests.commands import cancellation, creation
from tests.support import (
    PATIENCE_S,
    HookedLog,
    ManualClock,
    ends,
    kinds,
    node_of,
    nudge,
    queue_on,
    runner_of,
    running,
    wait_until,
    wakes_of,
)

TTL_US = 30_000_000


@pytest.fixture
def log() -> HookedLog:
    """The log of all nodes."""
    return HookedLog()


@pytest.fixture
def node(log: HookedLog) -> Node:
    """A node that has folded its log, on which a run is at rest."""
    node = Node(log, clock=ManualClock())
    with node.reading():
        node.standby.ttl_us = TTL_US
    return node


def taken(node: Node) -> list[int]:
    """The tasks that the run is given."""
    with node.reading() as projection:
        return [task.number for task in node.standby.take(projection)]


def test_the_commit_that_creates_a_task_leases_it_too(log: HookedLog, node: Node) -> None:
    """One commit holds both events, and its caller sees only what it asked for."""
    committed = node.execute(creation())

    assert [task and task.recorded_state for task in committed.tasks] == [TaskState.SCHEDULED]
    assert [len(commit.bodies) for commit in log.read(after=0)] == [2]
    assert taken(node) == [1]
    check_log(HookedLog(log.storage))


def test_one_offer_is_for_one_task(node: Node) -> None:
    """A worker that has its task waits for no other one; nobody is given one twice."""
    node.execute(creation())
    node.execute(creation())

    assert taken(node) == [1]
    assert taken(node) == []


def test_nothing_is_leased_once_the_run_takes(node: Node) -> None:
    """From then on it leases by itself again."""
    assert taken(node) == []

    node.execute(creation())

    assert taken(node) == []


def test_what_another_node_created_may_run_first(log: HookedLog, node: Node) -> None:
    """The node has not folded it yet, so it cannot know what comes next."""
    Node(HookedLog(log.storage), clock=ManualClock()).execute(creation())

    node.execute(creation())

    assert taken(node) == []


def test_what_is_ready_runs_first(node: Node) -> None:
    """Of two that one commit creates, too, the run itself finds out which one comes first."""
    node.execute(creation(2))
    node.execute(creation())

    assert taken(node) == []


def test_a_task_for_later_is_not_leased(log: HookedLog) -> None:
    """Its instant has not come; one whose instant is now is."""
    with queue_on(log, clock=ManualClock()) as queue:
        queue.stats()
        node_of(queue).standby.ttl_us = TTL_US
        queue.new(delay="1s")
        assert kinds(queue, "1") == ["created"]

        queue.new()

        assert kinds(queue, "2") == ["created", "leased"]


def test_a_task_that_was_cancelled_meanwhile_is_not_taken(node: Node) -> None:
    """Its lease is over, so nobody runs it."""
    node.execute(creation())
    node.execute(cancellation("1"))

    assert taken(node) == []


def test_a_commit_that_is_not_made_leases_nothing(log: HookedLog, node: Node) -> None:
    """The offer stands, for the next one."""

    def refuse(_: object) -> None:
        raise LogUnavailableError("the disk is full")

    log.before_append = refuse
    with pytest.raises(LogUnavailableError):
        node.execute(creation())
    log.before_append = lambda _: None

    node.execute(creation())

    assert taken(node) == [1]


def test_a_run_at_rest_starts_what_was_leased_for_it(log: HookedLog) -> None:
    """One commit creates and leases, the next one completes."""
    with queue_on(log, workers=1) as queue, running(queue, lambda _ctx, _task: None):
        wait_until(lambda: node_of(queue).standby.ttl_us is not None, "the run to rest")
        queue.new()
        wait_until(ends(queue, "1"))

        assert kinds(queue, "1") == ["created", "leased", "completed"]
        assert [len(commit.bodies) for commit in log.read(after=0)] == [2, 1]


def test_what_was_leased_for_a_run_too_long_ago_is_not_begun(
    log: HookedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log may have been away since; the lease is given back, and taken anew."""
    clock = ManualClock()
    clock.advance(3_600)
    with (
        queue_on(log, workers=1, clock=clock) as queue,
        running(queue, lambda _ctx, _task: None, lease_ttl="30s"),
    ):
        wait_until(lambda: node_of(queue).standby.ttl_us is not None, "the run to rest")
        # As if it had been decided an hour ago.
        monkeypatch.setattr(node_of(queue).standby, "note_decided", lambda: None)
        queue.new()
        wait_until(ends(queue, "1"))

        assert kinds(queue, "1") == ["created", "leased", "released", "leased", "completed"]


def test_a_run_whose_workers_are_busy_offers_nothing(log: HookedLog) -> None:
    """What is created meanwhile may be leased by others."""
    begun, gate = threading.Event(), threading.Event()

    def work(_ctx: object, _task: object) -> None:
        begun.set()
        gate.wait(PATIENCE_S)

    with queue_on(log, workers=1) as queue, running(queue, work):
        queue.new()
        assert begun.wait(PATIENCE_S)
        nudge(queue)
        wait_until(runner_of(queue).bell.heard)

        assert node_of(queue).standby.ttl_us is None
        gate.set()


def test_a_run_that_stops_gives_back_what_it_had_not_begun(log: HookedLog) -> None:
    """What was leased for it in its last moment goes to others, or to its next run."""
    with queue_on(log, workers=1) as queue, running(queue, lambda _ctx, _task: None) as run:
        wait_until(lambda: node_of(queue).standby.ttl_us is not None, "the run to rest")
        # It hears nothing of the task before it hears that it should stop.
        for wake in wakes_of(queue):
            node_of(queue).off_append(wake)
        queue.new()
        queue.stop()
        run.wait()

        assert kinds(queue, "1")[-1] in {"released", "completed"}
        assert not node_of(queue).standby.is_on


def test_a_lease_that_an_interrupt_kept_from_the_run_is_given_back(log: HookedLog) -> None:
    """Nobody runs it: the next look sees that, and leases the task anew."""
    with queue_on(log, workers=1) as queue:
        queue.stats()
        node_of(queue).standby.ttl_us = TTL_US
        queue.new()
        node_of(queue).standby._leased.clear()

        queue.run(lambda _ctx, _task: None, until="idle")

        wanted = ["created", "leased", "released", "leased", "completed"]
        assert kinds(queue, "1") == wanted


def test_the_next_run_begins_what_was_leased_for_the_one_before(log: HookedLog) -> None:
    """Where one ended by an error, its lease waits for the next on the same node."""
    with queue_on(log, workers=1) as queue:
        queue.stats()
        node_of(queue).standby.ttl_us = TTL_US
        queue.new()

        queue.run(lambda _ctx, _task: None, until="idle")

        assert kinds(queue, "1") == ["created", "leased", "completed"]


def test_a_run_until_idle_waits_for_what_was_leased(tmp_path: Path) -> None:
    """On a log on disk, as on one in memory."""
    with Queue(f"sqlite:///{tmp_path}/log.db", workers=1) as queue:
        queue.stats()
        node_of(queue).standby.ttl_us = TTL_US
        queue.new()

        assert queue.run(lambda _ctx, _task: None, until="idle").completed == 1
