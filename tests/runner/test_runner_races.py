"""What comes between two moments of a run: a task leased anew, a close, workers that end late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from eventq import AttemptCancelledError, LogUnavailableError, Queue, Task
from eventq.core.commits import Commit
from eventq.core.events import Refused
from eventq.eventlog.contract import READ_EVENTS, Decide, StoredEvent
from eventq.handlers.context import Context
from eventq.host.bell import Bell
from eventq.runner.executors import ThreadExecutor, thread
from eventq.runner.executors.crew import Crew
from eventq.runner.lookout import Lookout
from eventq.runner.settling import LINGER_S
from tests.checker import check_log
from tests.support import (
    PATIENCE_S,
    Gate,
    HookedLog,
    ManualClock,
    Spawned,
    final,
    kinds,
    nudge,
    queue_on,
    runner_of,
    running,
    slot_of,
    wait_until,
)


class TurnLog(HookedLog):
    """A log with a hook before each turn: after a look at it, before the next decision."""

    def __init__(self) -> None:
        super().__init__()
        self.before_slot: Callable[[], None] = lambda: None
        self.before_read: Callable[[int], object] = lambda _: None
        self.before_history: Callable[[int], object] = lambda _: None

    def append_next(self, decide: Decide) -> Commit | None:
        """See EventLog.append_next."""
        hook, self.before_slot = self.before_slot, lambda: None
        hook()
        return super().append_next(decide)

    def read(self, *, after: int, limit: int = READ_EVENTS) -> list[Commit]:
        """See EventLog.read."""
        self.before_read(after)
        return super().read(after=after, limit=limit)

    def history(self, task: int) -> list[StoredEvent]:
        """See EventLog.history."""
        self.before_history(task)
        return super().history(task)


@pytest.fixture
def log() -> TurnLog:
    """The log that the queues share."""
    return TurnLog()


@pytest.fixture
def clock() -> ManualClock:
    """A clock to move."""
    return ManualClock()


@pytest.fixture
def queue(log: TurnLog, clock: ManualClock) -> Iterator[Queue]:
    """A queue of two workers; what it leaves must be a good log."""
    with queue_on(log, clock=clock, workers=2) as queue:
        yield queue
    check_log(HookedLog(log.storage))


@pytest.fixture
def other(log: TurnLog, clock: ManualClock) -> Iterator[Queue]:
    """Another node on the same log."""
    with queue_on(HookedLog(log.storage), clock=clock) as other:
        yield other


def test_a_task_leased_anew_while_its_first_attempt_runs(
    queue: Queue, other: Queue, log: TurnLog
) -> None:
    """The first attempt is told and its outcome refused; the second keeps its lease to the end."""
    gates = [Gate(), Gate()]
    contexts: list[Context] = []

    def worker(ctx: Context, task: Task) -> None:
        if task.key == "again":
            contexts.append(ctx)
            gates[len(contexts) - 1]()

    def reopen() -> None:
        other.cancel("again")
        other.retry("again")

    queue.new(key="again", priority=1)
    with running(queue, worker):
        wait_until(gates[0].reached.is_set)
        log.before_slot = reopen
        other.new(key="next")
        wait_until(gates[1].reached.is_set)
        assert contexts[0].cancelled
        gates[0].open()
        wait_until(lambda: other.stats().refused)
        wait_until(lambda: kinds(other, "next")[-1] == "completed")
        assert not contexts[1].cancelled
        gates[1].open()
        wait_until(lambda: not other.tasks())

    reopened = ["created", "leased", "cancelled", "retried"]
    assert kinds(queue, "again") == [*reopened, "leased", "refused", "completed"]


@pytest.mark.parametrize("ends", ["returns", "raises", "stops"])
def test_an_attempt_that_is_late_and_cancelled_is_refused_once(
    queue: Queue, other: Queue, clock: ManualClock, ends: str
) -> None:
    """The passed deadline is no outcome of its own, once the lease is gone."""
    gate = Gate()

    def worker(ctx: Context, _task: Task) -> None:
        gate()
        if ends == "stops":
            ctx.check()
        assert ends == "returns"

    queue.new(key="k", deadline="30s")
    with running(queue, worker) as run:
        wait_until(gate.reached.is_set)
        runner = runner_of(queue)
        clock.advance(30)
        other.cancel("k")
        wait_until(lambda: runner.attempts.strays and not runner.attempts.unsettled)
        gate.open()
        wait_until(lambda: not runner.attempts.strays)
        queue.stop()
        run.result()

    assert (
        kinds(other, "k") == ["created", "leased", "cancelled", "refused"][: 3 + (ends != "stops")]
    )
    outcomes = [e.body.outcome for e in other.events() if isinstance(e.body, Refused)]
    assert outcomes == {"returns": ["completed"], "raises": ["failed"], "stops": []}[ends]


def test_a_late_outcome_at_the_end_of_a_run_leases_nothing(
    queue: Queue, clock: ManualClock
) -> None:
    """A task that comes when no worker is left waits for the next run, not for its lease's end."""
    queue.new(deadline="30s", max_retries=0)
    gate = Gate()

    with running(queue, lambda _ctx, _task: gate(), until="idle") as run:
        wait_until(gate.reached.is_set)
        runner = runner_of(queue)
        clock.advance(30)
        nudge(queue)
        wait_until(lambda: getattr(runner.executors[0], "_stopped"))  # noqa: B009 - of either kind
        queue.new(key="late")
        gate.open()
        report = run.result()

    assert report.refused == 1
    assert kinds(queue, "late") == ["created"]


def test_a_task_without_an_attempt_to_spare_is_never_leased_ahead(queue: Queue) -> None:
    """Should the process fall, it takes along only tasks that have begun."""
    queue.new_many([{}] * 100, max_retries=0)

    queue.run(lambda _ctx, _task: None, until="idle")

    held, most = 0, 0
    for event in queue.events():
        held += (event.kind == "leased") - (event.kind == "completed")
        most = max(held, most)
    assert most <= 2 * queue.workers


def test_attempts_begin_beside_one_whose_results_cannot_be_read(queue: Queue, log: TurnLog) -> None:
    """They were leased in the same commit, and held; it is given back, and comes later."""
    firsts = [queue.new(key=key) for key in ("a", "b")]
    queue.run(lambda _ctx, task: task.key, until="idle")
    seconds = [queue.new(key=f"after {first.key}", after=[first.key]) for first in firsts]

    def fail(number: int) -> None:
        if number == firsts[1].number:
            log.before_history = lambda _: None
            raise LogUnavailableError("away")

    log.before_history = fail
    with running(queue, lambda ctx, _task: ctx.results):
        wait_until(lambda: all(final(queue, each.key).result for each in seconds))

    assert [final(queue, each.key).result for each in seconds] == [{"a": "a"}, {"b": "b"}]
    assert kinds(queue, "after b").count("leased") == 2


def test_an_end_that_the_bell_was_not_rung_for_is_soon_looked_for(
    log: TurnLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came as others waited to begin, of which none waits at the look; others need no haste."""
    queue = queue_on(log, clock=clock, workers=1)
    gates = [Gate() for _ in range(3)]
    before_look: list[Callable[[], object]] = []
    pauses: list[float | None] = []
    look = Lookout.look

    def hooked(lookout: Lookout) -> float | None:
        hooks = list(before_look)
        before_look.clear()
        for hook in hooks:
            hook()
        pause_s = look(lookout)
        if hooks:
            pauses.append(pause_s)
        return pause_s

    def look_after(*hooks: Callable[[], object]) -> None:
        seen_count = len(pauses)
        before_look.extend(hooks)
        nudge(queue)
        wait_until(lambda: len(pauses) > seen_count)

    def completed_count() -> int:
        return sum(event.kind == "completed" for event in queue.events())

    monkeypatch.setattr(Lookout, "look", hooked)
    with queue, running(queue, lambda _, task: task.tags and gates[task.tags["gate"]]()):
        # Tasks that are over at once: some are held ahead from now on.
        queue.new()
        wait_until(lambda: completed_count() == 1)
        queue.new({"gate": 0})
        wait_until(gates[0].reached.is_set)
        queue.new_many([{"gate": 1}, {"gate": 2}])
        (pool,) = runner_of(queue).attempts.pools
        wait_until(lambda: pool.waiting_count() == 2)

        look_after(gates[0].open, lambda: gates[1].reached.wait(PATIENCE_S))
        wait_until(lambda: completed_count() == 2)
        look_after(lambda: None)
        for gate in gates:
            gate.open()

    assert [pause_s is not None and pause_s <= LINGER_S for pause_s in pauses] == [True, False]


def test_an_end_is_told_although_others_have_not_begun() -> None:
    """Another thread is about to take them, and may have them in hand for long."""
    bell, gate = Bell(), Gate()
    executor = SimpleNamespace(bell=bell, ring_below=0)
    crew = Crew(executor, 1, lambda _, attempt: attempt())  # type: ignore[arg-type, operator]

    crew.submit([lambda: None, gate])  # type: ignore[list-item]
    crew.start()
    assert gate.reached.wait(PATIENCE_S)

    assert bell.wait(0)
    gate.open()
    crew.end()


def test_a_thread_that_was_stuck_ends_when_it_comes_back(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that outlives its run takes its thread along in the end."""
    monkeypatch.setattr(thread, "JOIN_S", 0.0)
    queue.new(deadline="30s", max_retries=0)
    gate = Gate()

    with running(queue, lambda _ctx, _task: gate(), until="idle") as run:
        wait_until(gate.reached.is_set)
        executor = runner_of(queue).executors[0]
        clock.advance(30)
        nudge(queue)
        run.result()
    gate.open()

    assert isinstance(executor, ThreadExecutor)
    wait_until(lambda: not any(thread.is_alive() for thread in executor.crew.threads))


def test_a_close_that_comes_as_a_run_begins_stops_it(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that cannot be asked to stop yet is asked once it can be."""
    asked: list[bool] = []
    began, slot = Gate(), slot_of(queue)
    monkeypatch.setattr(slot, "_lock", SlowLock(slot._lock, began))
    ask = slot.stop
    monkeypatch.setattr(slot, "stop", lambda: asked.append(ask()))

    run = Spawned(queue.run, lambda _ctx, _task: None)
    wait_until(began.reached.is_set)
    close = Spawned(queue.close)
    wait_until(lambda: asked)
    began.open()

    assert run.result().completed == 0
    close.result()
    assert asked == [False]


def test_a_long_look_at_final_tasks_holds_nobody_up(queue: Queue, log: TurnLog) -> None:
    """Leases are renewed and outcomes recorded while `tasks` reads the whole log."""
    [done, _] = queue.new_many([{}, {}])
    queue.cancel(done.key)
    gate = Gate()
    log.before_read = lambda after: None if after else gate()
    looking = Spawned(queue.tasks, state="cancelled")
    wait_until(gate.reached.is_set)

    report = Spawned(queue.run, lambda _ctx, _task: None, until="idle").result()

    gate.open()
    assert report.completed == 1
    assert [task.key for task in looking.result()] == [done.key]


def test_two_threads_that_begin_to_sleep_together_are_both_woken(
    queue: Queue, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever threads a worker starts, all that sleep are told when the attempt should stop."""
    ctx = Context(queue.new(), clock)
    sleepers: list[Spawned[None]] = []
    second, made = threading.Event(), threading.Event()

    def make() -> threading.Event:
        if sleepers:
            second.set()
        else:
            sleepers.append(Spawned(ctx.sleep, "1h"))
            # In vain, when one thread at a time makes it.
            second.wait(0.1)
            made.set()
        return threading.Event()

    monkeypatch.setattr("eventq.handlers.context.threading", SimpleNamespace(Event=make))
    first = Spawned(ctx.sleep, "1h")
    wait_until(made.is_set)
    wait_until(lambda: ctx._stopped is not None)
    ctx.stop("enough")
    for sleeper in (first, *sleepers):
        sleeper.wait()

    assert [type(each.error) for each in (first, *sleepers)] == [AttemptCancelledError] * 2


class SlowLock:
    """A lock whose first taker is held up right behind it."""

    def __init__(self, lock: threading.Lock, gate: Gate) -> None:
        self._lock = lock
        self._gate: Gate | None = gate
        self.release = lock.release

    def acquire(self, blocking: bool = True) -> bool:  # noqa: FBT001, FBT002 - as a lock has it
        """Takes the lock; see Gate."""
        taken = self._lock.acquire(blocking)
        gate, self._gate = self._gate, None
        if gate is not None:
            gate()
        return taken

    def __enter__(self) -> None:
        """Takes the lock."""
        self.acquire()

    def __exit__(self, *_: object) -> None:
        """Gives it back."""
        self.release()
