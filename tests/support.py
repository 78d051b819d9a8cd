"""What tests above the pure core share: a clock to move, waiting with an end, logs that misbehave.

Nothing here sleeps: waiting means looking at a condition until it holds, or failing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from eventq import Queue, QueueClosedError, Task
from eventq.core.command import Draft
from eventq.core.commits import Commit
from eventq.core.events import Leased
from eventq.eventlog.memory import MemoryLog, MemoryStorage
from eventq.host.clock import Clock
from eventq.node.node import Node
from eventq.runner.runner import Runner
from eventq.runner.slot import RunSlot
from tests.commands import MadeCommand

T = TypeVar("T")

# Far longer than anything takes, so that only what never comes fails.
PATIENCE_S = 60.0


class ManualClock:
    """A Clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.us = 1_700_000_000_000_000
        self.seconds = 1_000.0

    def now_us(self) -> int:
        """See Clock.now_us."""
        return self.us

    def monotonic(self) -> float:
        """See Clock.monotonic."""
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Moves both senses of time on."""
        self.us += round(seconds * 1_000_000)
        self.seconds += seconds

    def jump(self, seconds: float) -> None:
        """Moves the wall time alone, as somebody who sets the clock does."""
        self.us += round(seconds * 1_000_000)


class HookedLog(MemoryLog):
    """A log in memory with a hook before and one after each append."""

    def __init__(self, storage: MemoryStorage | None = None, *, namespace: str = "default") -> None:
        super().__init__(storage or MemoryStorage(), url="memory://", namespace=namespace)
        self.before_append: Callable[[Commit], None] = lambda _: None
        self.after_append: Callable[[Commit], None] = lambda _: None
        self.appended: list[Commit] = []

    def append(self, commit: Commit) -> None:
        """See EventLog.append."""
        self.before_append(commit)
        super().append(commit)
        self.appended.append(commit)
        self.after_append(commit)


class Gate:
    """Holds whoever passes until it is opened, and tells that somebody has come."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *_: object) -> None:
        """Waits here; as a hook of a HookedLog it takes the commit too."""
        self.reached.set()
        assert self._open.wait(PATIENCE_S), "nobody opened the gate"

    def open(self) -> None:
        """Lets everybody through, now and later."""
        self._open.set()


class Spawned(Generic[T]):
    """A daemon thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self._call: Callable[[], T] = lambda: function(*args, **kwargs)
        self._value: list[T] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the function has not ended yet."""
        return self._thread.is_alive()

    def result(self) -> T:
        """What the function returned, once it has; raises what it raised."""
        self.wait()
        if self.error is not None:
            raise self.error
        return self._value[0]

    def join(self, longest_s: float) -> None:
        """Waits for the end, but no longer than this."""
        self._thread.join(longest_s)

    def wait(self) -> None:
        """Waits for the end, whichever way it ends."""
        self._thread.join(PATIENCE_S)
        assert not self.running, "the thread hangs"

    def _run(self) -> None:
        try:
            self._value.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            self.error = error


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Returns once the condition holds; fails when it does not within PATIENCE_S."""
    pause = threading.Event()
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s, f"waited {PATIENCE_S:.0f} s for {what}"
        pause.wait(0.002)


def queue_on(log: MemoryLog, *, clock: Clock | None = None, **options: Any) -> Queue:  # noqa: ANN401
    """A queue whose node stands on this very log."""
    return Queue(log=log, clock=clock, **options)


def node_of(queue: Queue) -> Node:
    """The queue's place on its log."""
    return queue._node


def waiting_count(node: Node) -> int:
    """How many commands wait for the commit in progress to end."""
    return len(node._line.waiting)


def wakes_of(queue: Queue) -> list[Callable[[], None]]:
    """What is called after each append of the queue's node."""
    return list(node_of(queue)._wakes)


def slot_of(queue: Queue) -> RunSlot:
    """The place of the queue's run."""
    return queue._slot


def is_closed(queue: Queue) -> bool:
    """Whether the queue has been closed."""
    try:
        queue.stats()
    except QueueClosedError:
        return True
    return False


def nudge(queue: Queue) -> None:
    """Has a running queue look around, as it would after an append."""
    for wake in wakes_of(queue):
        wake()


def runner_of(queue: Queue) -> Runner:
    """The runner of a queue that runs."""
    runner = slot_of(queue).runner
    assert isinstance(runner, Runner)
    return runner


@contextmanager
def running(
    queue: Queue,
    worker: Callable[..., object] | None,
    **options: Any,  # noqa: ANN401
) -> Iterator[Spawned[Any]]:
    """Runs the worker in a thread while the block lasts, then stops it, by force if need be."""
    spawned = Spawned(queue.run, worker, **options)
    wait_until(lambda: slot_of(queue).runner is not None or not spawned.running, "the run to begin")
    try:
        yield spawned
    finally:
        if spawned.running:
            queue.stop()
            queue.stop()
        spawned.wait()


def kinds(queue: Queue, key: str) -> list[str]:
    """The kinds of a task's events."""
    return [event.kind for event in queue.history(key)]


def final(queue: Queue, key: str) -> Task:
    """The task with this key."""
    task = queue.get(key)
    assert task is not None
    return task


def ends(queue: Queue, key: str) -> Callable[[], bool]:
    """Whether the task has come to its end."""
    return lambda: final(queue, key).state in {"completed", "expired", "cancelled"}


def pass_time(queue: Queue, clock: ManualClock, seconds: float) -> None:
    """Moves the clock and has the run look around."""
    clock.advance(seconds)
    nudge(queue)


def lease(queue: Queue, *, ttl_us: int) -> None:
    """Leases task 1 for a node that does nothing more, as one that was killed."""
    node = node_of(queue)
    drafts: list[Draft] = [(1, Leased(1, node.name, ttl_us))]
    node.execute(MadeCommand(lambda _: drafts, leasing=True))


def look(queue: Queue) -> None:
    """Has its run look twice at the present time: what the first look appends, the second sees."""
    bell = runner_of(queue).bell
    for _ in range(3):
        # It waits for the bell again only when it has done what the last ring called for.
        nudge(queue)
        wait_until(bell.heard)
