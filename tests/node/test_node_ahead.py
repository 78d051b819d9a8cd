"""A node folds its commit while that is on its way, and takes it back when it does not arrive."""

from __future__ import annotations

import pytest

from eventq import LogUnavailableError
from eventq.core.dispatch_index import Pending
from eventq.core.events import Commit
from eventq.eventlog.memory import MemoryStorage
from eventq.node.clock import SystemClock
from eventq.node.commit_plan import Command
from eventq.node.node import ALONE, Node
from eventq.replay.fold import replay
from tests.checker import check_log
from tests.commands import creation, leasing
from tests.replays import assert_same
from tests.support import HookedLog, SlowLog


@pytest.fixture
def storage() -> MemoryStorage:
    """What all nodes share."""
    return MemoryStorage()


@pytest.fixture
def log(storage: MemoryStorage) -> SlowLog:
    """The log of the node."""
    return SlowLog(storage)


@pytest.fixture
def node(log: SlowLog) -> Node:
    """A node that nobody has disturbed lately; three tasks are ready."""
    node = Node(log, clock=SystemClock())
    node.execute(creation(ALONE + 3, blind=False))
    for _ in range(ALONE):
        node.execute(leasing(node))
    return node


def assert_true(node: Node) -> None:
    """Asserts that the node takes the queue for what its log says."""
    with node.reading() as projection:
        assert_same(replay(node.log), projection, now=node.now())
    check_log(node.log)


def test_fold_is_done_when_the_commit_arrives(node: Node, log: SlowLog) -> None:
    """What was folded ahead is what the command's tasks are."""
    before = log.called

    command = node.execute(leasing(node, 2))

    assert log.called == before + 1
    assert [task and task.worker for task in command.tasks] == [node.name] * 2
    assert_true(node)


@pytest.mark.parametrize("error", [None, LogUnavailableError("gone")])
def test_fold_of_a_commit_that_does_not_arrive_is_taken_back(
    node: Node, log: SlowLog, storage: MemoryStorage, error: LogUnavailableError | None
) -> None:
    """Whether somebody else was first or the log was away, only what arrived counts."""
    other = Node(HookedLog(storage), clock=SystemClock())
    before, projection = log.called, node.projection

    def disturb(_commit: Commit) -> None:
        log.before_append = lambda _: None
        if error is not None:
            raise error
        other.execute(creation())

    log.before_append = disturb
    if error is None:
        node.execute(leasing(node, 2))
    else:
        with pytest.raises(LogUnavailableError):
            node.execute(leasing(node, 2))

    assert log.called == before + 1
    assert_true(node)
    assert node.projection is projection, "it was not folded anew from the first event"


def test_nothing_is_folded_ahead_after_a_conflict(
    node: Node, log: SlowLog, storage: MemoryStorage
) -> None:
    """Who meets others would take back more than it gains."""
    Node(HookedLog(storage), clock=SystemClock()).execute(creation())
    node.execute(leasing(node))
    before = log.called

    node.execute(leasing(node))

    assert log.called == before


def test_half_a_fold_is_not_taken_back_but_given_up(
    node: Node, log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When both the fold and its append fail, the next look folds the log anew."""

    def fail(_commit: Commit) -> None:
        monkeypatch.undo()
        raise LogUnavailableError("gone")

    log.before_append = fail
    monkeypatch.setattr(Pending, "remove_leased", _run_out)
    with pytest.raises(LogUnavailableError):
        node.execute(leasing(node, 2))

    assert_true(node)


def _run_out(*_: object) -> None:
    raise MemoryError


def test_nobody_sees_a_fold_whose_commit_an_interrupt_tore_off(
    node: Node, log: SlowLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks before the interrupted thread has cleaned up is told what the log holds."""
    before = log.head().seq
    seen = []

    def tear(_commit: Commit) -> None:
        raise KeyboardInterrupt

    def look(command: Command) -> bool:
        with node.reading(as_left=True) as projection:
            seen.append(projection.seq)
        return leave(command)

    leave = node._leave
    monkeypatch.setattr(node, "_leave", look)
    log.before_append = tear
    with pytest.raises(KeyboardInterrupt):
        node.execute(leasing(node, 2))

    assert seen == [before]
    assert_true(node)
