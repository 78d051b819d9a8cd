"""A queue in memory for tests: its time is moved, its work is done when asked, its log is verified.

It decides and folds by the same code as any queue; only the calls of handlers are its own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from eventq.core.audience import Audience
from eventq.core.create import NewTask
from eventq.core.durations import SECOND_US, Duration, parse_duration
from eventq.core.events import Created
from eventq.core.manage import CancelTask, RetryTask, UpdateTask
from eventq.core.moves import create
from eventq.core.policy import DEFAULT_BACKOFF, Backoff
from eventq.core.task import FINAL, Task, TaskState
from eventq.core.validation import check_count, check_duration, check_instant
from eventq.errors import (
    AlreadyRunningError,
    ArgumentError,
    TaskNotFoundError,
    WaitTimeoutError,
)
from eventq.handlers.around import Call
from eventq.handlers.collection import Handlers
from eventq.handlers.context import Context, running
from eventq.handlers.work import AnyHandler, Work, unpacking
from eventq.host.bell import Bell
from eventq.host.clock import LogClock
from eventq.node.end_watch import EndWatch
from eventq.queue import Queue
from eventq.runner.attempts import LOST
from eventq.runner.options import RunOptions
from eventq.runner.pool import Pool
from eventq.runner.runner import Runner, RunReport
from eventq.runner.workload import Workload, rules_of
from eventq.testing.clock import START, ManualClock
from eventq.testing.created import AnyTarget, CreatedSearch, name_of
from eventq.testing.faults import Faults, NodeDiedError
from eventq.testing.inline import (
    InlineExecutor,
    OneByOne,
    VirtualAsyncContext,
    VirtualContext,
)
from eventq.testing.loop import VirtualLoop
from eventq.verify import verify

# As `Queue.run` has it: so long after a node's death others take its tasks over.
LEASE_TTL_US = 30 * SECOND_US
# Findings of the verifier that a failing test names.
FINDINGS = 20
NESTED = "a handler cannot have the harness work: it goes on when the handler has returned"


class HarnessQueue(Queue):
    """The queue of a harness. What it makes is run at once while `Harness.inline` lasts."""

    harness: Harness

    def _create(self, orders: list[NewTask]) -> list[Task]:
        return self.harness.note_created(super()._create(orders))

    def _manage(self, key: str, edit: CancelTask | RetryTask | UpdateTask) -> Task:
        return self.harness.note_changed(super()._manage(key, edit))


class HarnessEndWatch(EndWatch):
    """Whoever waits for a task has the harness work and its time pass until the task has ended."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness.queue._node)  # noqa: SLF001 - the harness is its other half
        self._harness = harness

    def wait(self, key: str, timeout_us: int | None) -> Task:
        """See EndWatch.wait."""
        return self._harness.wait(key, timeout_us)

    async def wait_in_loop(self, key: str, timeout_us: int | None) -> Task:
        """See EndWatch.wait_in_loop."""
        return self._harness.wait(key, timeout_us)


class Harness:
    """A queue on ``memory://``, its clock, and what a test asks of them; made by `harness`."""

    def __init__(
        self,
        handlers: Iterable[Handlers | Queue],
        *,
        start: datetime | str,
        seed: int,
        **options: Any,  # noqa: ANN401 - those of Queue
    ) -> None:
        given = _listed(handlers)
        self.clock = ManualClock(_instant(start))
        self.random = random.Random(check_count(seed, "seed", least=0, most=2**63))  # noqa: S311
        """What the jitter of retries is drawn from; for tests to draw from, too."""
        self.queue = HarnessQueue(
            "memory://",
            handlers=[each for each in given if isinstance(each, Handlers)],
            clock=self.clock,
            chance=self.random.random,
            **{"workers": 1, **options},
        )
        self.queue.harness = self
        queue = self.queue
        # The harness is the other half of its queue, and of those whose handlers it borrows.
        self._node, self._slot, self._policy = queue._node, queue._slot, queue._policy  # noqa: SLF001
        self._registries = [
            each._registry  # noqa: SLF001
            for each in (queue, *given)
            if isinstance(each, Queue)
        ]
        queue._ends = HarnessEndWatch(self)  # noqa: SLF001
        self._faults = Faults()
        self._loop = VirtualLoop(self.clock)
        self._inline_count = 0
        self._nodes_count = 0
        self._name_node()
        self.executor = self._make_executor(Bell())
        """Calls the handlers of the last run, or of the one that goes on."""
        self._runner: Runner | None = None
        self._workload()
        for registry in self._registries:
            registry.lend(queue)

    # Time and work.

    @property
    def now(self) -> datetime:
        """What time it is."""
        return self.clock.now

    def run(self) -> RunReport:
        """Works off all that is due and what comes of it; no time passes but what handlers sleep.

        Raises AlreadyRunningError in a handler.
        """
        return self._work(self._node.now())

    def forward(self, duration: Duration) -> RunReport:
        """Lets time pass: all that becomes due on the way runs at its instant, in order.

        No real time passes. Raises as `run`, and ArgumentError.
        """
        return self._work(self._node.now() + parse_duration(duration))

    @contextmanager
    def inline(self) -> Iterator[None]:
        """While the block lasts, whoever makes a task gets it back run, if it is due.

        So is all else that is due. What a handler makes runs when the handler has returned.
        """
        self._inline_count += 1
        try:
            yield
        finally:
            self._inline_count -= 1

    def wait(self, key: str, timeout_us: int | None) -> Task:
        """For the queue: works, and lets time pass, until the task has ended."""
        now = self._node.now()
        ends_at = None if timeout_us is None else now + timeout_us
        next_at: int | None = now
        while next_at is not None and (ends_at is None or next_at <= ends_at):
            self._work(next_at)
            if (task := self._get(key)).state in FINAL:
                return task
            next_at = self._next_instant()
        if ends_at is not None:
            self._work(ends_at)
        task = self._get(key)
        raise WaitTimeoutError(key, task.state)

    # What goes wrong.

    def fail_next(
        self, handler: AnyTarget, error: BaseException | type[BaseException], *, times: int = 1
    ) -> None:
        """Has the next call of the handler raise the error instead, or the next ``times`` calls.

        What is wrapped around the attempt sees it. Raises ArgumentError.
        """
        self._faults.fail(name_of(handler), error, check_count(times, "times", least=1, most=1_000))

    def crash_node(self, handler: AnyTarget | None = None, *, after: bool = False) -> None:
        """Has the process of the queue die with the next attempt, of the handler if one is named.

        As a rule before its function is called; ``after``: once that has returned, and before the
        outcome is in the log. Called by a handler, at once. Another node goes on, and takes the
        task over when the lease has lapsed, 30 s later. Raises ArgumentError.
        """
        if handler is None and self.executor.attempt is not None:
            raise NodeDiedError
        self._faults.crash(None if handler is None else name_of(handler), after=after)

    # What has been made.

    def all_created(self, handler: AnyTarget | None = None, /, **arguments: object) -> list[Task]:
        """The tasks made for the handler (None: all) with these arguments, as they stand now.

        In the order in which they were made; final ones, too. Raises TypeError for an argument that
        the handler does not take.
        """
        found = CreatedSearch(handler, arguments).find(self.queue)
        return [self._get(event.key) for event in found]

    def assert_created(self, handler: AnyTarget, /, **arguments: object) -> Task:
        """The last task made for the handler with these arguments, others not looked at.

        Raises AssertionError where there is none, with those that there are; else as `all_created`.
        """
        wanted = CreatedSearch(handler, arguments)
        for key in reversed([event.key for event in wanted.find(self.queue)]):
            return self._get(key)
        raise AssertionError(
            f"no task {wanted.text()} was made; of {wanted.name} there are:\n"
            f"{wanted.others(self.queue)}"
        )

    def refute_created(self, handler: AnyTarget, /, **arguments: object) -> None:
        """Raises AssertionError if a task was made for the handler with these arguments."""
        wanted = CreatedSearch(handler, arguments)
        if found := [event.key for event in wanted.find(self.queue)]:
            raise AssertionError(f"{wanted.text()} was made: task {', '.join(found)}")

    @contextmanager
    def context(
        self,
        task: Task | None = None,
        *,
        deadline: Duration | None = None,
        is_async: bool = False,
    ) -> Iterator[Context]:
        """While the block lasts, plain calls of handlers are given the context that it yields.

        ``task``: the one that runs; None is a made-up one that no log holds. ``is_async`` is for
        calls of ``async def`` handlers. Its `sleep` moves the clock.
        """
        kind = VirtualAsyncContext if is_async else VirtualContext
        task = self._stand_in() if task is None else task
        context = kind(task, LogClock(self.clock, self._node.now))
        context.set_deadline(check_duration(deadline, "deadline", least_us=1))
        token = running.set(context)
        try:
            yield context
        finally:
            running.reset(token)

    # The end, and what the queue asks.

    def note_created(self, tasks: list[Task]) -> list[Task]:
        """For the queue: the tasks it has just made, as they are to be returned."""
        if not self._inline_count or self.executor.attempt is not None:
            return tasks
        self.run()
        return [self._get(task.key) for task in tasks]

    def note_changed(self, task: Task) -> Task:
        """For the queue: the task after somebody has changed it; what ran on it has lost its lease.

        A run would notice when it looks around, which it cannot while it calls a handler.
        """
        attempt = self.executor.attempt
        if attempt is not None and attempt.task.number == task.number and not attempt.revoked:
            assert self._runner is not None, "an attempt is one of a run"
            self._runner.attempts.revoke(attempt, LOST, None)
        return task

    def problems(self) -> list[str]:
        """What is wrong: rules that the log breaks, and faults that have not happened."""
        verdict = verify(self.queue.log, limit=FINDINGS)
        broken = [f"{each.rule} at {each.seq}: {each.problem}" for each in verdict.findings]
        return [*broken, *(f"{fault} has not happened" for fault in self._faults.left())]

    def close(self) -> None:
        """Gives the handlers back, and closes the queue."""
        for registry in self._registries:
            registry.take_back(self.queue)
        self.queue.close()
        self._loop.end()

    def _work(self, until_at: int) -> RunReport:
        if self.executor.attempt is not None:
            raise AlreadyRunningError(NESTED)
        report = RunReport()
        while True:
            runner = self._runner = self._make_runner(until_at)
            try:
                return report.plus(self._slot.run_with(runner, signals=False))
            except NodeDiedError:
                report = report.plus(RunReport(**runner.settler.counts))
                self._node.after_fork()
                self._slot.after_fork()
                self._name_node()

    def _make_runner(self, until_at: int) -> Runner:
        bell = Bell()
        self.executor = self._make_executor(bell)
        pool = Pool([self.executor], bell, workers=1)
        pool.pace = OneByOne(1)
        options = RunOptions(
            lease_ttl_us=LEASE_TTL_US,
            grace_s=0.0,
            max_stuck_s=None,
            until=until_at,
            chance=self.random.random,
        )
        return Runner(self._node, {None: pool}, bell, self._workload(), options)

    def _make_executor(self, bell: Bell) -> InlineExecutor:
        return InlineExecutor(self._loop, self._faults, workers=1, bell=bell, clock=self.clock)

    def _workload(self) -> Workload:
        named: dict[str, Work] = {}
        signatures = {}
        for registry in self._registries:
            for name, work in registry.works(None, self._call_of).items():
                if name in named:
                    raise ArgumentError("handlers", name, "a name that no other handler has")
                named[name] = work
            signatures.update({each.name: each.signature.text for each in registry})
        audience = Audience(tuple(sorted(named)), unnamed=False)
        signatures = {name: signatures[name] for name in audience.names}
        rules = tuple(rule for registry in self._registries for rule in rules_of(registry))
        return Workload(
            audience,
            {None: 1},
            named,
            None,
            signatures,
            self._policy,
            is_plain=False,
            rules=rules,
        )

    def _call_of(self, handler: AnyHandler) -> Call:
        call = unpacking(handler)

        def call_or_fail(context: Context, task: Task) -> object:
            self._faults.raise_planned(handler.name)
            return call(context, task)

        return call_or_fail

    def _name_node(self) -> None:
        """Not at random, so that equal tests make equal logs."""
        self._nodes_count += 1
        self._node.name = f"node-{self._nodes_count}"

    def _get(self, key: str) -> Task:
        task = self.queue.get(key)
        if task is None:
            raise TaskNotFoundError(key)
        return task

    def _next_instant(self) -> int | None:
        """When something may happen next; None when nothing will by itself."""
        with self._node.reading() as projection:
            ends = [projection.next_instant()]
            if projection.leased_count:
                ends.append(self._node.now() + LEASE_TTL_US)
        return min((at for at in ends if at is not None), default=None)

    def _stand_in(self) -> Task:
        now = self._node.now()
        policy = Backoff.linear(DEFAULT_BACKOFF).policy()
        task = create(self.queue.namespace, 1, now, Created(policy=policy))
        return replace(
            task, recorded_state=TaskState.LEASED, attempt=1, fence=2, worker=self._node.name
        )


@contextmanager
def harness(
    handlers: Iterable[Handlers | Queue] = (),
    *,
    start: datetime | str = START,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - those of Queue
) -> Iterator[Harness]:
    """A queue in memory for the block, which makes and runs the tasks of these handlers.

    ``handlers``: collections, or queues whose handlers are meant; `Handler.new` makes tasks on the
    queue of the harness meanwhile. ``start``: what time it is, an instant with a time zone.
    ``seed``: of what chance decides. ``options`` are those of `Queue`: ``max_retries=3``.

    At the end the log is verified: AssertionError says what is wrong. Raises ArgumentError.
    """
    made = Harness(handlers, start=start, seed=seed, **options)
    try:
        yield made
    except BaseException as error:
        for problem in made.problems():
            error.add_note(problem)
        raise
    else:
        if problems := made.problems():
            raise AssertionError("\n".join(problems))
    finally:
        made.close()


def _listed(handlers: object) -> list[Handlers | Queue]:
    expected = "a list of eventq.Handlers, or of queues that have handlers"
    if isinstance(handlers, (Handlers, Queue)) or not isinstance(handlers, Iterable):
        raise ArgumentError("handlers", handlers, expected)
    given = list(handlers)
    for each in given:
        if not isinstance(each, (Handlers, Queue)):
            raise ArgumentError("handlers", each, expected)
    return given


def _instant(start: datetime | str) -> datetime:
    expected = "an instant with its time zone, like 2027-03-28T00:00:00+01:00"
    try:
        at = datetime.fromisoformat(start) if isinstance(start, str) else start
    except ValueError:
        raise ArgumentError("start", start, expected) from None
    check_instant(at, "start")
    return at
