"""A node that nobody disturbs decides its leases without reading first, and never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eventq.core.command import Draft
from eventq.core.commits import Commit
from eventq.core.projection import Projection
from eventq.errors import LogConflictError
from eventq.eventlog import Head, Watch
from eventq.eventlog.contract import READ_EVENTS, Decide
from eventq.eventlog.memory import MemoryStorage
from eventq.host.clock import SystemClock
from eventq.node.folded_log import ALONE
from eventq.node.node import Node
from eventq.node.waiting_line import Committed
from tests.checker import check_log
from tests.commands import MadeCommand, cancellation, creation, leasing
from tests.support import HookedLog, Spawned, wait_until


class DistantLog(HookedLog):
    """A log whose slots hold nobody back, and which takes a guess to save a journey."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(storage)
        self.remote = self
        self.append_s = 0.0
        self.journeys = 0
        self.conflicts = 0
        self.in_slot: Callable[[], object] = lambda: None
        self.in_read: Callable[[], object] = lambda: None

    def append_next(
        self,
        decide: Decide,
        *,
        guess: Head | None = None,
        waits: bool = True,  # noqa: ARG002 - it never does
    ) -> Commit | None:
        """See EventLog.append_next and Remote.append_next."""
        self.call_hook()
        if guess is None:
            self.journeys += 1
            guess = self.head()
        commit = decide(guess)
        if commit is not None:
            try:
                self.append(commit)
            except LogConflictError:
                self.conflicts += 1
                raise
        return commit

    def watch(
        self,
        wake: Callable[[], None],
        *,
        heard: Callable[[], bool] = lambda: True,  # noqa: ARG002 - never put off
    ) -> Watch:
        """See EventLog.watch and Remote.watch."""
        return super().watch(wake)

    def call_hook(self) -> None:
        """Calls once what is to happen in the next slot."""
        hook, self.in_slot = self.in_slot, lambda: None
        hook()

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        self.journeys += 1
        hook, self.in_read = self.in_read, lambda: None
        hook()
        return super().read(after=after, limit=limit)


@pytest.fixture
def storage() -> MemoryStorage:
    """What all nodes share."""
    return MemoryStorage()


@pytest.fixture
def log(storage: MemoryStorage) -> DistantLog:
    """The log of the node."""
    return DistantLog(storage)


@pytest.fixture
def other(storage: MemoryStorage) -> Node:
    """Somebody else."""
    return Node(DistantLog(storage), clock=SystemClock())


@pytest.fixture
def node(log: DistantLog) -> Node:
    """A node that has leased a few tasks undisturbed; more are ready."""
    node = Node(log, clock=SystemClock())
    node.execute(creation(ALONE + 3, unconditional=False))
    for _ in range(ALONE):
        node.execute(leasing(node))
    return node


def test_leases_undisturbed_are_not_read_for(node: Node, log: DistantLog) -> None:
    """Its next lease takes one journey, not two."""
    before = log.journeys

    command = node.execute(leasing(node))

    assert len(command.events) == 1
    assert log.journeys == before


def test_a_lone_producer_does_not_ask_for_the_end(log: DistantLog) -> None:
    """A producer that met nobody lately creates in one journey, and folds nothing."""
    producer = Node(log, clock=SystemClock())
    for _ in range(ALONE):
        producer.execute(creation())
    before = log.journeys

    [task] = producer.execute(creation()).tasks

    assert task is not None
    assert (task.number, log.journeys) == (ALONE + 1, before)
    assert check_log(log).states == {"pending": ALONE + 1}


def test_a_producer_among_others_asks_for_the_end(log: DistantLog, other: Node) -> None:
    """While others append as well, each creation asks first, and none meets a conflict."""
    producer = Node(log, clock=SystemClock())
    conflicts = log.conflicts
    for _ in range(2 * ALONE):
        producer.execute(creation())
        other.execute(creation())

    assert log.conflicts == conflicts


def test_a_producer_that_guessed_wrong_asks_again(log: DistantLog, other: Node) -> None:
    """What another has appended costs one conflict, and then the end is asked for."""
    producer = Node(log, clock=SystemClock())
    for _ in range(ALONE):
        producer.execute(creation())
    other.execute(creation(2))
    before = log.journeys

    [task] = producer.execute(creation()).tasks

    assert task is not None
    assert (task.number, log.journeys) == (ALONE + 3, before + 1)
    assert log.conflicts == 1


def test_a_wrong_guess_meets_a_conflict(node: Node, other: Node) -> None:
    """What another node has leased meanwhile is not leased again."""
    other.execute(leasing(other, 2))

    command = node.execute(leasing(node, 3))

    assert [number for number, _ in command.events] == [ALONE + 3]
    assert check_log(node.log).states == {"leased": ALONE + 3}


def test_after_a_conflict_a_node_reads_again(node: Node, other: Node, log: DistantLog) -> None:
    """Who was disturbed once does not guess the next time."""
    other.execute(leasing(other))
    node.execute(leasing(node))
    before = log.journeys
    other.execute(creation())

    node.execute(leasing(node))

    assert log.journeys > before


def test_who_reads_what_is_new_does_not_ask_for_the_end(
    node: Node, other: Node, log: DistantLog
) -> None:
    """Among others, one journey brings what they did: the log's end is where that ends."""
    other.execute(leasing(other))
    node.execute(leasing(node))
    other.execute(creation())
    before = log.journeys

    node.execute(leasing(node))

    assert log.journeys == before + 1


def test_a_node_lets_those_go_first_who_leased_longer_ago(
    node: Node, other: Node, log: DistantLog
) -> None:
    """It folds what they append while it waits, and then neither reads again nor conflicts."""
    node.execute(creation(3, unconditional=False))
    other.execute(leasing(other))
    node.execute(leasing(node))
    log.append_s = 0.02
    log.in_read = lambda: other.execute(leasing(other))
    before = (log.journeys + 1, log.conflicts)

    command = node.execute(leasing(node))

    assert len(command.events) == 1
    assert (log.journeys, log.conflicts) == before
    assert check_log(log).states["leased"] == ALONE + 4


def test_what_may_be_refused_is_read_for(node: Node, other: Node) -> None:
    """A command on a task that another node has just created finds it."""
    [task] = other.execute(creation()).tasks
    assert task is not None

    command = node.execute(cancellation(task.key))

    assert len(command.events) == 1


def test_a_command_that_joins_a_guess_is_read_for(node: Node, other: Node, log: DistantLog) -> None:
    """Who comes along in the slot of a lease that comes to nothing is decided by the log."""
    node.execute(leasing(node, 100))
    seen: list[int] = []
    joined: list[Spawned[Committed[Any]]] = []

    def look(projection: Projection) -> list[Draft]:
        seen.append(projection.seq)
        return []

    def join() -> None:
        other.execute(creation())
        joined.append(Spawned(node.execute, MadeCommand(look)))
        wait_until(lambda: node._line.waiting)

    log.in_slot = join
    node.execute(leasing(node, 0))

    joined[0].result()
    assert seen == [log.head().seq]
