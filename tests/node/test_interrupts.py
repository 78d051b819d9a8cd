"""Ctrl-C at every moment at which Python can deliver it: no thread hangs, no outcome is a guess.

CPython looks for signals when a function begins, at a jump back, and after a call. A tracing
function raises KeyboardInterrupt at one of these moments after the other.
"""

from __future__ import annotations

import dis
import functools
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

import pytest

import eventq
from eventq.core.command import Command
from eventq.core.commits import Commit
from eventq.core.task import Task
from eventq.errors import LogOutcomeUnknownError, LogUnavailableError
from eventq.host.clock import SystemClock
from eventq.node.node import Node
from eventq.node.waiting_line import Committed, PendingCommand
from eventq.replay.fold import replay
from eventq.testing import ManualClock
from tests.checker import check_log
from tests.commands import MadeCommand, creation, edit, leasing
from tests.replays import assert_same
from tests.support import PATIENCE_S, Gate, HookedLog, Spawned, wait_until, waiting_count

PACKAGE = str(Path(eventq.__file__).parent)
# The code of one command has fewer moments than this.
MOMENTS_MOST = 2_000


@functools.cache
def moments_of(code: CodeType) -> frozenset[int]:
    """The offsets of the code before which a signal may be delivered."""
    found = set()
    bytecode: Any = dis.Bytecode(code)
    instructions = list(bytecode)

    def handler_at(offset: int) -> list[int]:
        return [e.target for e in bytecode.exception_entries if e.start <= offset < e.end]

    for index, instruction in enumerate(instructions):
        if instruction.opname in {"RESUME", "JUMP_BACKWARD"}:
            found.add(instruction.offset)
        elif instruction.opname.startswith("CALL") and not _ends_a_block(instructions[:index]):
            found.add(instruction.offset)
            following = instructions[index + 1].offset
            # What comes right after a call counts as the call's own, and is caught where that is.
            if handler_at(following) == handler_at(instruction.offset):
                found.add(following)
    return frozenset(found)


def _ends_a_block(before: list[dis.Instruction]) -> bool:
    """Whether the call is a with block's __exit__, which no signal can come before."""
    last = [one for one in before[-5:] if one.opname not in {"PRECALL", "PUSH_NULL", "CACHE"}]
    return [one.opname for one in last[-3:]] == ["LOAD_CONST"] * 3 and all(
        one.argval is None for one in last[-3:]
    )


class Interrupted:
    """Calls a function with an interrupt at its n-th moment: a KeyboardInterrupt, or ``error``.

    Only in the rooms above the logs; ``everywhere``, in the logs and in contextlib as well.
    """

    def __init__(
        self,
        function: Callable[[], object],
        moment: int,
        *,
        error: BaseException | None = None,
        everywhere: bool = False,
    ) -> None:
        self.moment = moment
        self.error = error or KeyboardInterrupt()
        self.everywhere = everywhere
        self.passed = 0
        self.hit = False
        self.returned = False
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            function()
            self.returned = True
        except BaseException as raised:
            # Kept, with all its frames: nothing may lean on their end.
            self.raised = raised
            if raised is not self.error:
                raise
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401
        name = frame.f_code.co_filename
        is_ours = name.startswith(PACKAGE)
        if self.everywhere:
            is_traced = is_ours or name.endswith("contextlib.py")
        else:
            is_traced = is_ours and "eventlog" not in name
        if not is_traced:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.hit and frame.f_lasti in moments_of(frame.f_code):
            self.passed += 1
            if self.passed > self.moment:
                self.hit = True
                sys.settrace(None)
                raise self.error
        return self._trace


def each_moment(trial: Callable[[int], Interrupted], *, stride: int = 1) -> int:
    """Runs the trial with an interrupt at each moment in turn; gives how many there were.

    With a ``stride``, only at some of them, where a trial takes long.
    """
    for moment in range(0, MOMENTS_MOST, stride):
        if not trial(moment).hit:
            return moment
    raise AssertionError("the trial never gets through")


def test_an_interrupt_of_a_lone_caller_leaves_the_node_usable() -> None:
    """Wherever the interrupt strikes, the next caller is served and the log is whole."""

    def trial(moment: int) -> Interrupted:
        log = HookedLog()
        node = Node(log, clock=SystemClock())
        node.execute(creation(unconditional=False))
        interrupted = Interrupted(lambda: node.execute(creation(unconditional=False)), moment)
        Spawned(node.execute, creation(unconditional=False)).result()
        with node.reading() as projection:
            projection.check()
            assert projection.seq == log.head().seq
        check_log(log)
        assert log.head().seq == 3 or interrupted.hit
        return interrupted

    assert each_moment(trial) > 50


def test_an_interrupt_of_a_lease_leaves_no_trace_of_half_a_fold() -> None:
    """Wherever it strikes, whoever looks next takes the queue for what its log says."""

    def trial(moment: int) -> Interrupted:
        log = HookedLog()
        node = Node(log, clock=SystemClock())
        node.execute(creation(3, unconditional=False))
        interrupted = Interrupted(lambda: node.execute(leasing(node, 2)), moment)
        assert log.head().seq == 5 or interrupted.hit
        with node.reading(as_left=True) as projection:
            assert_same(replay(log), projection, now=node.now())
        return interrupted

    assert each_moment(trial) > 50


def test_nobody_sees_a_commit_that_an_interrupt_tore_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks before the interrupted thread has cleaned up is told what the log holds."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    node.execute(creation(3, unconditional=False))
    seen = []

    def tear(_: Commit) -> None:
        raise KeyboardInterrupt

    def position() -> int:
        with node.reading(as_left=True) as projection:
            return projection.seq

    def look(pending: PendingCommand[Any]) -> None:
        seen.append(Spawned(position).result())
        leave(pending)

    leave = node._leave
    monkeypatch.setattr(node, "_leave", look)
    log.before_append = tear
    with pytest.raises(KeyboardInterrupt):
        node.execute(leasing(node, 2))

    assert seen == [3]
    with node.reading() as projection:
        assert_same(replay(log), projection, now=node.now())


def test_an_interrupt_of_the_leader_tells_the_others_the_truth() -> None:
    """What those want who waited for the interrupted thread's commit is done all the same, once."""

    def trial(moment: int) -> Interrupted:
        log = HookedLog()
        node = Node(log, clock=SystemClock())
        node.execute(creation())
        # All on one task, so that all but the first are put back in line.
        others = behind_nobody(node, [edit("1", priority) for priority in (1, 2, 3)])
        interrupted = Interrupted(lambda: node.execute(creation()), moment)
        Spawned(node.execute, creation()).result()
        made = sorted(thread.result().first for thread in others)
        report = check_log(log)
        assert report.kinds["updated"] == len(made)
        assert {stored.seq for stored in log.history(1)} == {1, *made}
        return interrupted

    assert each_moment(trial) > 50


def test_an_interrupt_of_the_leader_tells_all_in_one_commit_the_same() -> None:
    """Each of those who shared the commit has what it wanted, once."""

    def trial(moment: int) -> Interrupted:
        log = HookedLog()
        node = Node(log, clock=SystemClock())
        node.execute(creation())
        others = behind_nobody(node, [creation(key=key) for key in "abc"])
        interrupted = Interrupted(lambda: node.execute(creation()), moment)
        Spawned(node.execute, creation()).result()
        for thread in others:
            thread.result()
        assert len(check_log(log).keys) == 3
        return interrupted

    assert each_moment(trial) > 50


def test_a_second_interrupt_leaves_the_node_usable() -> None:
    """An interrupt of whoever reads back what became of the first is that thread's own."""
    log = UnreadableLog(KeyboardInterrupt())
    node = Node(log, clock=SystemClock())
    others = behind_nobody(node, [creation(), creation()])

    with pytest.raises(KeyboardInterrupt):
        node.execute(creation())
    for thread in others:
        thread.wait()

    assert [type(thread.error) for thread in others] == [KeyboardInterrupt, type(None)]
    assert Spawned(node.execute, creation()).result().first == 4


def behind_nobody(node: Node, commands: Sequence[Command[Any]]) -> list[Spawned[Committed[Any]]]:
    """Threads that wait with their commands for whoever comes next to lead."""
    nobody = PendingCommand(creation())
    node._line.leader = nobody
    node._line.waiting.append(nobody)
    threads = [Spawned(node.execute, command) for command in commands]
    wait_until(lambda: waiting_count(node) == len(commands) + 1)
    node._line.waiting.popleft()
    node._line.leader = None
    return threads


def test_an_interrupt_of_a_waiter_takes_its_wish_back_or_passes_the_lead_on() -> None:
    """Whoever is interrupted before or after it was chosen to lead, the others are served."""

    def trial(moment: int) -> Interrupted:
        log = HookedLog()
        node = Node(log, clock=SystemClock())
        gate = Gate()
        log.before_append = gate
        leader = Spawned(node.execute, creation())
        assert gate.reached.wait(PATIENCE_S)
        wish = creation(key="mine")

        def waits(command: MadeCommand) -> bool:
            return any(pending.command is command for pending in [*node._line.waiting])

        def let_go() -> None:
            wait_until(lambda: waits(wish) or done.is_set())
            gate.open()

        done = threading.Event()
        opener = Spawned(let_go)
        interrupted = Interrupted(lambda: node.execute(wish), moment)
        done.set()
        opener.result()
        leader.result()
        Spawned(node.execute, creation()).result()
        report = check_log(log)
        assert "mine" in report.keys or interrupted.hit
        return interrupted

    assert each_moment(trial) > 50


def test_an_abandoned_wish_that_finds_no_room_is_dropped() -> None:
    """A wish whose thread has gone is not put back in line, where it would keep the lead."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    gates = [Gate(), Gate()]
    turns = iter(gates)
    log.before_append = lambda _: next(turns, open_gate)()
    first = Spawned(node.execute, creation())
    assert gates[0].reached.wait(PATIENCE_S)
    second = Spawned(node.execute, creation(key="twin"))
    wait_until(lambda: waiting_count(node) == 1)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        wait_until(lambda: waiting_count(node) == 2)
        gates[0].open()
        assert gates[1].reached.wait(PATIENCE_S)
        signal.pthread_kill(main, signal.SIGINT)

    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupter = Spawned(interrupt)
        with pytest.raises(KeyboardInterrupt):
            node.execute(creation(key="twin"))
        interrupter.result()
    finally:
        signal.signal(signal.SIGINT, old)
    gates[1].open()
    first.result()
    second.result()

    assert Spawned(node.execute, creation()).result().first == 3
    assert node._line.leader is None


def open_gate(*_: object) -> None:
    """Lets everybody through."""


@pytest.mark.parametrize("committed", [False, True])
def test_an_interrupt_inside_the_append_is_resolved_by_reading_back(
    committed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Whether or not a commit torn off in the driver is in the log, the others are served once."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    gate = Gate()

    def tear(commit: Commit) -> None:
        if len(commit.bodies) == 3:
            raise KeyboardInterrupt

    def hold(commit: Commit) -> None:
        gate()
        if not committed:
            tear(commit)

    log.before_append = hold
    log.after_append = tear
    first = Spawned(node.execute, creation())
    assert gate.reached.wait(PATIENCE_S)
    others = [Spawned(node.execute, creation()) for _ in range(3)]
    wait_until(lambda: waiting_count(node) == 3)
    gate.open()
    first.result()
    for thread in others:
        thread.wait()

    errors = sorted(type(thread.error).__name__ for thread in others)
    assert errors == ["KeyboardInterrupt", "NoneType", "NoneType"]
    assert log.head().seq == (4 if committed else 3)
    log.before_append = log.after_append = open_gate
    with node.reading() as projection:
        assert projection.seq == log.head().seq
        projection.check()


def test_an_outcome_that_cannot_be_read_back_is_called_unknown() -> None:
    """When the log is away right after an interrupt, nobody is told that all went well."""
    log = UnreadableLog(LogUnavailableError("gone"))
    node = Node(log, clock=SystemClock())
    others = behind_nobody(node, [creation(), creation()])

    with pytest.raises(KeyboardInterrupt):
        node.execute(creation())
    for thread in others:
        thread.wait()

    assert [type(thread.error) for thread in others] == [LogOutcomeUnknownError] * 2
    assert "not known" in str(others[0].error)
    assert Spawned(node.execute, creation()).result().first == 4


class UnreadableLog(HookedLog):
    """A log whose append is interrupted after it committed, and whose next read fails."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.broken = True
        self._error = error
        self.after_append = self._interrupt

    def read(self, *, after: int, limit: int = 10_000) -> list[Commit]:
        """See EventLog.read."""
        if self.broken and self.appended:
            self.broken = False
            raise self._error
        return super().read(after=after, limit=limit)

    def _interrupt(self, _: Commit) -> None:
        if self.broken:
            raise KeyboardInterrupt


def test_an_interrupt_while_tasks_become_ready_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them moved to the ready ones is a projection that is given up, not used."""
    clock = ManualClock()
    with eventq.Queue("memory://", clock=clock) as queue:
        queue.new_many([{"n": 1}, {"n": 2}], delay="1s")
        assert queue.tasks(state="ready") == []
        clock.forward("2s")

        def strike(_task: Task) -> NoReturn:
            raise KeyboardInterrupt

        monkeypatch.setattr("eventq.core.dispatch_index.rank", strike)
        with pytest.raises(KeyboardInterrupt):
            queue.tasks(state="ready")
        monkeypatch.undo()

        assert [task.tags["n"] for task in queue.tasks(state="ready")] == [1, 2]
