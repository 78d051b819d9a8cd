"""What a signal handler raises, of whatever type, strikes its own thread and locks nobody out.

The usual time-out pattern: `signal.setitimer`, and a handler that raises.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import cycle
from pathlib import Path
from types import FrameType

import pytest

from eventq import Queue
from eventq.archive.folder import Archive
from eventq.core.command import Draft
from eventq.core.projection import Projection
from eventq.errors import AlreadyRunningError, LogUnavailableError
from eventq.eventlog import open_log
from eventq.eventlog.contract import Kept, SnapshotEntry
from eventq.host.clock import SystemClock
from eventq.host.interrupts import Holding, interrupt_in
from eventq.node.node import Node
from tests.checker import check_log
from tests.commands import MadeCommand, creation
from tests.node.test_interrupts import Interrupted, behind_nobody, each_moment
from tests.support import HookedLog, Spawned, wait_until

# How many alarms are to strike, and how long that may take on a slow machine.
ALARMS = 150
ALARMS_S = 6.0
# Each trial writes to a disk several times.
STRIDE = 3


class AlarmError(Exception):
    """Of the program's own."""


KINDS: list[Callable[[], BaseException]] = [
    AlarmError,
    TimeoutError,
    ValueError,
    lambda: LogUnavailableError("alarm"),
    KeyboardInterrupt,
    SystemExit,
]


@pytest.fixture(params=["memory", "sqlite", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each log that needs no server."""
    return {
        "memory": f"memory://{tmp_path.name}",
        "sqlite": f"sqlite:///{tmp_path}/log.db",
        "file": f"file:///{tmp_path}/log.jsonl",
    }[str(request.param)]


@contextmanager
def alarms(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handles SIGALRM while the block lasts; an alarm that Python itself dropped is no failure."""
    rung: list[BaseException] = []

    def ring(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except BaseException as error:
            rung.append(error)
            raise

    def report(dropped: sys.UnraisableHookArgs) -> None:
        # It struck in what nobody called: a finaliser, or a callback of a weak reference.
        if not any(dropped.exc_value is error for error in rung):
            reports(dropped)

    # Hypothesis leaves a callback there, in which Python reports an alarm and drops it.
    callbacks = [*gc.callbacks]
    gc.callbacks.clear()
    reports, sys.unraisablehook = sys.unraisablehook, report
    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        gc.callbacks += callbacks
        # Twice in a row: an alarm may strike right here.
        for _ in range(2):
            signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = reports


def test_an_alarm_that_python_drops_fails_no_test() -> None:
    """One that strikes in the callback of a weak reference is dropped; another error is told."""

    class Thing:
        """That dies."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise AlarmError

    def callback(_dead: object) -> None:
        signal.raise_signal(signal.SIGALRM)

    told: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, lambda args: told.append(args.exc_value)
    try:
        with alarms(ring):
            thing = Thing()
            _kept = weakref.ref(thing, callback)
            del thing
            other = Thing()
            _also = weakref.ref(other, lambda _dead: int("none"))
            del other
    finally:
        sys.unraisablehook = before
    assert [type(error) for error in told] == [ValueError]


@pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)
def test_alarms_in_one_thread_trouble_no_other(url: str) -> None:
    """Three threads create and one runs, undisturbed, while alarms strike the main thread."""
    raised: list[BaseException] = []
    kinds, over = cycle(KINDS), threading.Event()

    def ring(_number: int, _frame: FrameType | None) -> None:
        # Kept, with all the frames they came through: no lock may lean on those.
        raised.append(next(kinds)())
        raise raised[-1]

    def create() -> int:
        made = 0
        while not over.is_set():
            queue.new()
            made += 1
        return made

    queue = Queue(url, workers=1)
    producers = [Spawned(create) for _ in range(3)]
    run = Spawned(queue.run, lambda _ctx, _task: None)
    with alarms(ring):
        struck = strike(queue, raised)
    before = queue.log.head().seq
    wait_until(lambda: queue.log.head().seq > before + 10)
    over.set()

    assert [error for error in struck if not any(error is each for each in raised)] == []
    assert min(producer.result() for producer in producers) > 0
    queue.stop()
    run.result()
    assert len(struck) > ALARMS // 10
    queue.close()


def strike(queue: Queue, raised: list[BaseException]) -> list[BaseException]:
    """Creates tasks with alarms at all moments; gives what that raised."""
    struck: list[BaseException] = []
    ends_s = time.monotonic() + ALARMS_S
    while len(raised) < ALARMS and time.monotonic() < ends_s:
        try:
            try:
                # Some ring again while the node still cleans up after the first.
                again_s = 0.0003 if len(raised) % 3 == 0 else 0
                signal.setitimer(signal.ITIMER_REAL, 0.00005 * (1 + len(raised) % 30), again_s)
                queue.new()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            struck.append(error)
    return struck


def test_an_alarm_at_any_moment_of_an_append_locks_nobody_out(url: str) -> None:
    """Wherever it strikes, other threads and other logs append, and the log is whole."""
    with (
        closing(open_log(url, namespace="default", create=True)) as log,
        closing(open_log(url, namespace="default", create=True)) as other_log,
    ):
        node, other = (Node(each, clock=SystemClock()) for each in (log, other_log))
        kept = []

        def trial(moment: int) -> Interrupted:
            key = f"key{moment}"
            interrupted = Interrupted(
                lambda: node.execute(creation(key=key, unconditional=False)),
                moment,
                error=KINDS[moment % len(KINDS)](),
                everywhere=True,
            )
            kept.append(interrupted)
            Spawned(other.execute, creation(unconditional=False)).result()
            Spawned(node.execute, creation(unconditional=False)).result()
            assert interrupted.returned != interrupted.hit
            return interrupted

        assert each_moment(trial, stride=STRIDE) > 100
        keys = check_log(log).keys
        assert len(keys) > 1
        assert log.find_keys(list(keys)) == other_log.find_keys(list(keys))


@pytest.mark.parametrize("url", ["memory", "sqlite"], indirect=True)
def test_an_alarm_at_any_moment_of_a_look_locks_nobody_out(url: str) -> None:
    """Whoever was interrupted while it looked at the queue holds nothing afterwards."""
    queue = Queue(url)
    queue.new()
    kept = []

    def trial(moment: int) -> Interrupted:
        look = Interrupted(lambda: queue.get("1"), moment, error=TimeoutError(), everywhere=True)
        kept.append(look)
        Spawned(queue.stats).result()
        return look

    assert each_moment(trial) > 50
    queue.close()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_alarm_at_any_moment_of_other_changes_locks_nobody_out(url: str, tmp_path: Path) -> None:
    """Snapshots, what is kept of tasks, and the archive's lock: all are free afterwards."""
    with closing(open_log(url, namespace="default", create=True)) as log:
        node = Node(log, clock=SystemClock())
        node.execute(creation())
        head = log.head()
        entry = SnapshotEntry(head.seq, head.at, head.seal, head.at, 1)
        archive = Archive(tmp_path, namespace="default")

        def change() -> None:
            log.snapshots.put(entry, b"x")
            log.snapshots.delete(entry.seq)
            log.keep([Kept(1, head.seq, None, "{}")])
            with archive.locked():
                pass

        kept = []

        def trial(moment: int) -> Interrupted:
            interrupted = Interrupted(change, moment, error=AlarmError(), everywhere=True)
            kept.append(interrupted)
            Spawned(change).result()
            Spawned(node.execute, creation()).result()
            return interrupted

        assert each_moment(trial, stride=STRIDE) > 100


def test_an_alarm_in_another_callers_decision_is_not_that_callers() -> None:
    """The leader is interrupted, and the other's command is decided under another leader."""
    node = Node(HookedLog(), clock=SystemClock())
    armed = [True]

    def decision(projection: Projection) -> list[Draft]:
        if armed:
            armed.clear()
            signal.raise_signal(signal.SIGALRM)
        return creation().draft(projection)

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise ValueError("alarm")

    [other] = behind_nobody(node, [MadeCommand(decision)])
    with alarms(ring), pytest.raises(ValueError, match="alarm"):
        node.execute(creation())

    assert other.result().first > 0


def test_a_wrong_decision_is_its_own_callers() -> None:
    """What a decision raises by itself is no interrupt of the thread that leads."""
    node = Node(HookedLog(), clock=SystemClock())

    def wrong(_: Projection) -> list[Draft]:
        raise ValueError("wrong")

    [other] = behind_nobody(node, [MadeCommand(wrong)])

    assert node.execute(creation()).first == 1
    with pytest.raises(ValueError, match="wrong"):
        other.result()


def test_what_the_log_says_is_told_to_all_who_share_the_commit() -> None:
    """A log that is away is no interrupt: nobody tries again in vain."""
    log = HookedLog()
    node = Node(log, clock=SystemClock())
    others = behind_nobody(node, [creation(), creation()])
    asked: list[object] = []

    def refuse(commit: object) -> None:
        asked.append(commit)
        raise LogUnavailableError("gone")

    log.before_append = refuse
    with pytest.raises(LogUnavailableError):
        node.execute(creation())
    for thread in others:
        thread.wait()

    assert [type(thread.error) for thread in others] == [LogUnavailableError] * 2
    assert len(asked) == 1


def ask_in_vain() -> None:
    """As a log does whose driver failed."""
    try:
        signal.raise_signal(signal.SIGALRM)
    except Exception as caught:
        raise LogUnavailableError("the log is away") from caught


def handler_of(error: BaseException) -> Callable[..., None]:
    """A handler that raises it, with its arguments as a tuple."""

    def handler(*_arguments: object) -> None:
        raise error

    return handler


@pytest.mark.parametrize("error", [TimeoutError("alarm"), LogUnavailableError("alarm")])
def test_an_alarm_is_known_by_the_frames_it_came_through(error: Exception) -> None:
    """Not by its type, and also where a driver's or a log's error was made from it."""
    with alarms(handler_of(error)), pytest.raises(LogUnavailableError) as raised:
        ask_in_vain()

    assert interrupt_in(raised.value) is error

    assert interrupt_in(LogUnavailableError("the log is away")) is None
    assert interrupt_in(OSError()) is None
    assert isinstance(interrupt_in(MemoryError()), MemoryError)


def test_holding_a_lock_that_another_has() -> None:
    """It raises what it was told to, and leaves the lock to the other."""
    lock = threading.Lock()
    with Holding(lock, lambda: 1) as entered:
        assert entered == 1
        with pytest.raises(AlreadyRunningError), Holding(lock, lambda: 2, busy=AlreadyRunningError):
            pass
        assert lock.locked()
    assert not lock.locked()
