"""The node on logs it shares, on damaged ones, and on those of a newer version; and its time."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import msgspec
import pytest

from eventq.core.commits import Commit
from eventq.core.seal import seal_commit
from eventq.core.task import TaskState
from eventq.errors import (
    LogCorruptError,
    LogTooNewError,
    LogUnavailableError,
)
from eventq.eventlog.memory import MemoryStorage
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from tests.checker import check_log
from tests.commands import cancellation, creation, leasing
from tests.support import HookedLog, ManualClock, Spawned, queue_on

T = TypeVar("T")


@pytest.fixture
def log() -> HookedLog:
    """An empty log."""
    return HookedLog()


@pytest.fixture
def node(log: HookedLog) -> Node:
    """A node on the log."""
    return Node(log, clock=SystemClock())


class TestStrangeLogs:
    """Logs of a newer version, and damaged ones."""

    def test_an_unknown_kind_stops_decisions_but_not_reading(
        self, node: Node, log: HookedLog
    ) -> None:
        """After an event of a newer version, commands raise LogTooNewError, questions do not."""
        node.execute(creation())
        append_text(log, '{"kind":"frobnicated","depth":3}', task=0)

        with pytest.raises(LogTooNewError, match="'frobnicated', written by a newer eventq"):
            node.execute(cancellation("1"))
        with node.reading() as projection:
            assert projection.unknown == (2, "frobnicated")
            assert node.find("1").state is TaskState.READY
        assert log.head().seq == 2

    @pytest.mark.parametrize(
        "text",
        [
            '{"kind":"completed","fence":1}',
            '{"kind":"leased","attempt":"x"}',
            "not json",
            '{"kind":"created","policy":{"backoff":"linear","backoff_us":1}},',
            "{}",
        ],
    )
    def test_damage_is_told_with_its_position(self, node: Node, log: HookedLog, text: str) -> None:
        """An illegal move or a body without sense raises LogCorruptError naming the position."""
        node.execute(creation())
        append_text(log, text, task=1)

        with pytest.raises(LogCorruptError, match="position 2") as caught:
            node.execute(cancellation("1"))
        assert caught.value.position == 2

    def test_a_changed_body_is_told_by_its_seal(self, log: HookedLog) -> None:
        """A body that is fine in itself, but not what was sealed, is damage."""
        producer = Node(log, clock=SystemClock())
        for _ in range(3):
            producer.execute(creation())
        commits = log.storage.commits["default"]
        bodies = [commits[1].bodies[0].replace("linear", "constant")]
        commits[1] = msgspec.structs.replace(commits[1], bodies=bodies)

        with pytest.raises(LogCorruptError, match="position 2") as caught:
            Node(log, clock=SystemClock()).execute(leasing(producer))
        assert "seal" in caught.value.problem

    def test_a_cut_chain_is_told(self, log: HookedLog) -> None:
        """A commit whose predecessor was taken away does not follow."""
        producer = Node(log, clock=SystemClock())
        for _ in range(3):
            producer.execute(creation())
        del log.storage.commits["default"][1]

        with (
            pytest.raises(LogCorruptError, match="position 3"),
            Node(log, clock=SystemClock()).reading(),
        ):
            pass


def test_a_read_that_fails_costs_no_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the log has been away for a moment, a node goes on from where it was."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    node.execute(creation(unconditional=False))
    with node.reading() as before:
        pass
    with monkeypatch.context() as away:
        away.setattr(log, "read", unavailable)
        with pytest.raises(LogUnavailableError), node.reading():
            pass

    with node.reading() as after:
        assert after is before


def unavailable(**_: object) -> list[Commit]:
    """A read that fails."""
    raise LogUnavailableError("away")


def append_text(log: HookedLog, text: str, *, task: int) -> None:
    """Appends a body as it is, well sealed."""
    head = log.head()
    log.append(
        seal_commit(
            commit_id="strange",
            first=head.seq + 1,
            at=head.at,
            prev=head.seal,
            tasks=[task],
            keys={},
            bodies=[text],
        )
    )


class TestTwoNodes:
    """Nodes on one log, and the time they share."""

    def test_two_nodes_see_each_other(self) -> None:
        """What one node appends, the other has read before it decides."""
        storage = MemoryStorage()
        one, two = (Node(HookedLog(storage), clock=SystemClock()) for _ in range(2))
        one.execute(creation())
        one.execute(leasing(one))

        second = two.execute(leasing(two))

        assert second.events == []
        with two.reading() as projection:
            assert projection.leases_of(one.name) == {1}
        assert one.name != two.name

    def test_two_nodes_never_lease_one_task_twice(self) -> None:
        """Nodes that grab leases as fast as they can share the tasks without overlap."""
        storage = MemoryStorage()
        nodes = [Node(HookedLog(storage), clock=SystemClock()) for _ in range(3)]
        nodes[0].execute(creation(300))
        draw = random.Random(1)

        def grab(node: Node) -> None:
            while node.execute(leasing(node, draw.randint(1, 7))).events:
                pass

        threads = [Spawned(grab, node) for node in nodes]
        for thread in threads:
            thread.result()

        report = check_log(nodes[0].log)
        assert report.kinds["leased"] == 300
        assert report.states == {"leased": 300}

    def test_unconditional_appends_leave_the_projection_behind_and_reading_catches_up(
        self, node: Node, log: HookedLog
    ) -> None:
        """A producer folds nothing; the first question afterwards folds all there is."""
        other = Node(HookedLog(log.storage), clock=SystemClock())
        node.execute(creation())
        other.execute(creation())
        command = node.execute(creation())

        assert command.tasks[0] is not None
        assert command.tasks[0].number == 3
        with node.reading() as projection:
            assert projection.seq == 3
            projection.check()

    def test_time_never_runs_backwards_when_the_clock_does(self) -> None:
        """Events after a jump back are stamped with the latest instant so far, not an earlier."""
        log, clock = HookedLog(), ManualClock()
        node = Node(log, clock=clock)
        node.execute(creation())
        clock.jump(-3_600)

        node.execute(creation())

        assert [commit.at for commit in log.appended] == [log.appended[0].at] * 2
        check_log(log)

    def test_time_goes_on_after_the_clock_was_set_back(self) -> None:
        """A delay does not wait out the less than a minute by which a clock is set back."""
        log, clock = HookedLog(), ManualClock()
        queue = queue_on(log, clock=clock)
        [task] = queue.new_many([{}], delay=5)
        clock.jump(-50)

        clock.advance(6)

        assert queue.get(task.key) is not None
        assert [ready.key for ready in queue.tasks(state="ready")] == [task.key]

    def test_nodes_that_take_turns_do_not_hurry_time(self) -> None:
        """Time that both have seen pass is counted once, however seldom each of them looks."""
        storage, clock = MemoryStorage(), ManualClock()
        nodes = [Node(HookedLog(storage), clock=clock) for _ in range(2)]
        began = clock.us
        nodes[0].execute(creation())
        clock.jump(-50)

        for turn in range(1, 21):
            clock.advance(10)
            nodes[turn % 2].execute(creation())

        assert HookedLog(storage).head().at == began + 200 * 1_000_000

    def test_a_node_whose_clock_is_behind_the_log_reads_and_decides(self) -> None:
        """A node keeps to the log's time when its clock is a little behind, from the first look."""
        storage = MemoryStorage()
        ahead, behind = ManualClock(), ManualClock()
        ahead.advance(50)
        Node(HookedLog(storage), clock=ahead).execute(creation())
        queue = queue_on(HookedLog(storage), clock=behind)

        [task] = queue.tasks()

        assert task.seen_at_us == ahead.us
        assert queue.cancel(task.key).state is TaskState.CANCELLED

    def test_a_process_suspended_between_two_clocks_does_not_hurry_time(self) -> None:
        """A pause while the node reads its clocks is counted once: nobody's time runs ahead."""
        clock = PausedClock()
        node = Node(HookedLog(), clock=clock)
        clock.pause_s = 3_600
        node.now()

        now = node.now()

        assert now == clock.us


class PausedClock(ManualClock):
    """A clock whose reader is held up once, behind the first of the two clocks it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.pause_s = 0.0

    def now_us(self) -> int:
        """See Clock.now_us."""
        return self._held_up(lambda: self.us)

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self._held_up(lambda: self.seconds)

    def _held_up(self, read: Callable[[], T]) -> T:
        value = read()
        pause_s, self.pause_s = self.pause_s, 0.0
        self.advance(pause_s)
        return value
