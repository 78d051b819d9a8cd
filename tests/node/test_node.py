"""The node: group commit, conflicts, errors, damaged and newer logs, two nodes on one log, time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest

from eventq.core.command import Command, Draft
from eventq.core.commits import Commit
from eventq.core.dispatch_index import Pending
from eventq.core.lease import lease
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS
from eventq.errors import (
    LogConflictError,
    LogUnavailableError,
    QueueClosedError,
    TaskNotFoundError,
)
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.node.waiting_line import Committed
from eventq.replay.fold import replay
from tests.checker import check_log
from tests.commands import MadeCommand, cancellation, creation, leasing
from tests.replays import assert_same
from tests.support import (
    PATIENCE_S,
    Gate,
    HookedLog,
    Spawned,
    node_of,
    queue_on,
    wait_until,
    waiting_count,
)


def behind_a_commit(
    node: Node, log: HookedLog, commands: Sequence[Command[Any]]
) -> list[Spawned[Committed[Any]]]:
    """Executes the commands, each in a thread of its own, while a commit is held up in the log."""
    gate = Gate()
    log.before_append = gate
    first = Spawned(node.execute, creation())
    assert gate.reached.wait(PATIENCE_S)
    spawned = []
    for count, command in enumerate(commands, 1):
        spawned.append(Spawned(node.execute, command))
        wait_until(lambda count=count: waiting_count(node) == count, "a command to wait")  # type: ignore[misc]
    log.before_append = lambda _: None
    gate.open()
    first.result()
    for thread in spawned:
        thread.wait()
    return spawned


@pytest.fixture
def log() -> HookedLog:
    """An empty log."""
    return HookedLog()


@pytest.fixture
def node(log: HookedLog) -> Node:
    """A node on the log."""
    return Node(log, clock=SystemClock())


class TestGroupCommit:
    """Threads that execute together share commits."""

    def test_waiting_commands_share_one_commit_in_their_order(
        self, node: Node, log: HookedLog
    ) -> None:
        """Fifty commands that wait for a commit go together into the next, first come first."""
        commands = [creation() for _ in range(50)]

        threads = behind_a_commit(node, log, commands)

        made = [thread.result() for thread in threads]
        assert [len(commit.bodies) for commit in log.appended] == [1, 50]
        assert [one.first for one in made] == list(range(2, 52))
        assert [one.tasks[0].number for one in made if one.tasks[0]] == list(range(2, 52))

    def test_a_leasing_command_stands_first(self, node: Node, log: HookedLog) -> None:
        """A lease is chosen before what came first in line, so that the choice is right."""
        node.execute(creation())

        producer, runner = behind_a_commit(node, log, [creation(), leasing(node)])

        assert (runner.result().first, producer.result().first) == (3, 4)

    def test_commands_on_one_task_take_turns(self, node: Node, log: HookedLog) -> None:
        """Two commands on one task never stand in one commit: the second sees the first."""
        node.execute(creation())

        cancels = behind_a_commit(node, log, [cancellation("1"), cancellation("1")])

        assert [len(thread.result().events) for thread in cancels] == [1, 0]
        assert check_log(log).kinds["cancelled"] == 1

    def test_commands_with_one_key_take_turns(self, log: HookedLog) -> None:
        """Two threads that create the same key in one batch get the same task."""
        queue = queue_on(log)
        gate = Gate()
        log.before_append = gate
        threads = [Spawned(queue.new)]
        assert gate.reached.wait(PATIENCE_S)
        threads += [Spawned(queue.new, {"a": 1}, key="twin") for _ in range(3)]
        wait_until(lambda: waiting_count(node_of(queue)) == 3)
        gate.open()

        numbers = [thread.result().number for thread in threads]

        assert numbers == [1, 2, 2, 2]
        assert check_log(log).keys == {"twin": 2}

    def test_commits_hold_a_thousand_events_at_most(self, node: Node, log: HookedLog) -> None:
        """Commands that do not fit together are spread over commits, none torn apart."""
        commands = [creation(600), creation(400), creation(401), creation(599)]

        behind_a_commit(node, log, commands)

        sizes = [len(commit.bodies) for commit in log.appended]
        assert sizes == [1, COMMIT_EVENTS, COMMIT_EVENTS]

    def test_commits_hold_a_mebibyte_at_most(self, node: Node, log: HookedLog) -> None:
        """Commands with large tags are spread over commits by their size."""
        tags = msgspec.json.encode({"a": "x" * 60_000})
        commands = [creation(5, tags=tags) for _ in range(8)]

        behind_a_commit(node, log, commands)

        sizes = [len("".join(commit.bodies).encode()) for commit in log.appended]
        assert max(sizes) <= COMMIT_BYTES
        assert sum(len(commit.bodies) for commit in log.appended) == 41
        assert len(sizes) < 8

    def test_many_threads_lose_and_mix_up_nothing(self, node: Node, log: HookedLog) -> None:
        """Each of 16 threads gets its own events, whoever led the commit they went with."""
        seen: dict[int, bytes] = {}

        def produce(thread: int) -> None:
            for turn in range(100):
                tags = msgspec.json.encode({"a": f"{thread}-{turn}"})
                command = node.execute(creation(1 + turn % 3, tags=tags))
                for task in command.tasks:
                    assert task is not None
                    assert task.tags_json == tags
                    seen[task.number] = tags

        threads = [Spawned(produce, thread) for thread in range(16)]
        for thread in threads:
            thread.result()

        report = check_log(log)
        assert {number: task.tags for number, task in report.tasks.items()} == seen
        assert waiting_count(node) == 0


class TestErrors:
    """What fails, fails for those it concerns, and for nobody else."""

    def test_a_refused_decision_fails_only_its_own_command(
        self, node: Node, log: HookedLog
    ) -> None:
        """In a shared commit, the one whose decision raises is told, the others succeed."""
        commands: list[Command[Any]] = [creation(), cancellation("99"), creation()]

        threads = behind_a_commit(node, log, commands)

        assert [type(thread.error) for thread in threads] == [
            type(None), TaskNotFoundError, type(None),
        ]  # fmt: skip
        assert len(log.appended) == 2

    def test_a_broken_decision_fails_only_its_own_command(self, node: Node, log: HookedLog) -> None:
        """Even an error that is none of ours concerns only the command whose decision has it."""

        def broken(_: Projection) -> list[Draft]:
            raise ZeroDivisionError

        commands = [creation(), MadeCommand(broken), creation()]

        threads = behind_a_commit(node, log, commands)

        assert [type(thread.error) for thread in threads] == [
            type(None), ZeroDivisionError, type(None),
        ]  # fmt: skip

    def test_a_conflict_means_deciding_again(self, log: HookedLog) -> None:
        """Who appends to a position that somebody filled reads on, decides again, and appends."""
        storage = log.storage
        node, other = Node(log, clock=SystemClock()), Node(HookedLog(storage), clock=SystemClock())
        node.execute(creation())
        seen: list[int] = []

        def decision(projection: Projection) -> list[Draft]:
            seen.append(projection.seq)
            return lease(
                projection,
                worker=node.name,
                ttl_us=1_000_000,
                wanted=Vacancy(1),
                room=1,
                now=node.now(),
            )

        def overtake(_: Commit) -> None:
            log.before_append = lambda _: None
            other.execute(leasing(other))

        log.before_append = overtake

        command = node.execute(MadeCommand(decision))

        assert seen == [1, 2]
        assert command.events == []
        assert replay(log).tasks[1].worker == other.name

    def test_endless_conflicts_are_told(self, node: Node, log: HookedLog) -> None:
        """A log on which every append conflicts is reported as too busy, after many attempts."""
        attempts = []

        def conflict(commit: Commit) -> None:
            attempts.append(commit.first)
            raise LogConflictError(commit.first)

        log.before_append = conflict

        with pytest.raises(LogUnavailableError, match="conflicts in a row"):
            node.execute(creation())
        assert len(attempts) == 100

    def test_an_append_error_is_told_to_all_and_nothing_applied(
        self, node: Node, log: HookedLog
    ) -> None:
        """When the log refuses a commit, all its callers are told, and the next command works."""
        node.execute(creation())
        gate = Gate()

        def refuse(commit: Commit) -> None:
            gate(commit)
            if len(commit.bodies) > 1:
                raise LogUnavailableError("the disk is full")

        log.before_append = refuse
        first = Spawned(node.execute, creation())
        assert gate.reached.wait(PATIENCE_S)
        threads = [Spawned(node.execute, creation(2)) for _ in range(5)]
        wait_until(lambda: waiting_count(node) == 5)
        gate.open()
        first.result()
        for thread in threads:
            thread.wait()

        assert {str(thread.error) for thread in threads} == {"the disk is full"}
        with node.reading() as projection:
            assert projection.seq == log.head().seq == 2
            projection.check()
        assert node.execute(creation()).first == 3

    def test_an_error_after_the_append_does_not_hide_it(self, node: Node, log: HookedLog) -> None:
        """What broke after the commit was durable does not make its callers believe it failed."""

        def break_off() -> None:
            raise ZeroDivisionError

        node.on_append(break_off)

        command = node.execute(creation())

        assert command.tasks[0] is not None
        assert log.head().seq == 1

    @pytest.mark.parametrize("error", [None, LogUnavailableError("away")])
    def test_a_commit_that_does_not_arrive_costs_no_fold(
        self, node: Node, log: HookedLog, error: LogUnavailableError | None
    ) -> None:
        """Whether another node was first or the log was away, the node goes on from its fold."""
        node.execute(creation(3, unconditional=False))
        other = Node(HookedLog(log.storage), clock=SystemClock())
        with node.reading() as before:
            pass

        def disturb(_commit: Commit) -> None:
            log.before_append = lambda _: None
            if error is not None:
                raise error
            other.execute(creation())

        log.before_append = disturb
        with nullcontext() if error is None else pytest.raises(LogUnavailableError):
            node.execute(leasing(node, 2))

        with node.reading() as after:
            assert after is before
            assert_same(replay(log), after, now=node.now())

    def test_half_a_fold_is_given_up(
        self, node: Node, log: HookedLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When a fold breaks off, the next look folds the log anew."""
        node.execute(creation(3, unconditional=False))
        with monkeypatch.context() as broken:
            broken.setattr(Pending, "remove_leased", run_out)
            with pytest.raises(MemoryError):
                node.execute(leasing(node, 2))

        with node.reading() as projection:
            assert_same(replay(log), projection, now=node.now())
        assert check_log(log).states == {"leased": 2, "pending": 1}

    def test_a_closed_node_refuses(self, node: Node) -> None:
        """After `close` neither commands nor reading work, and closing again does no harm."""
        node.close()
        node.close()

        with pytest.raises(QueueClosedError):
            node.execute(creation())
        with pytest.raises(QueueClosedError), node.reading():
            pass


def run_out(*_: object) -> None:
    """Memory has run out."""
    raise MemoryError


def test_names_are_unique_and_safe() -> None:
    """Each node has a name of its own, made of letters, digits and hyphens."""
    names = {Node(HookedLog(), clock=SystemClock()).name for _ in range(100)}

    assert len(names) == 100
    assert all(name.replace("-", "").isalnum() for name in names)
