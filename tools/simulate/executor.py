"""Attempts that take virtual time: each begins when a slot is free, and ends when its time comes.

The worker itself is called at its attempt's end; what it told on the way comes before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.durations import SECOND_US
from eventq.core.values import ProcessExit
from eventq.errors import (
    AttemptCancelledError,
    DeadlineExceededError,
    EventqError,
    ProcessDiedError,
)
from eventq.handlers.context import LATE
from eventq.handlers.work import Work
from eventq.runner.attempt import Attempt, raised, returned
from eventq.runner.executors import Executor
from eventq.runner.lookout import Lookout
from tools.simulate.world import Finding, PlaceClock, World

NEVER_US = 2**62
# Two clocks that are set right differ by less, in microseconds.
RIGHT_US = 10_000


class Effect(Struct, frozen=True):
    """A line of a worker's journal, which is outside the log and outlives its process."""

    what: str
    """``start`` or ``end``."""
    task: int
    fence: int
    node: str
    at_us: int
    """The true time."""
    outcome: str = ""
    """How it ended; empty for one that has begun."""


class Running(Struct, eq=False):
    """One attempt that goes on."""

    attempt: Attempt
    ends_us: int
    tells_us: int
    is_stubborn: bool
    """It goes on whatever it is told; in a process of its own, until that is killed."""
    told_us: int | None = None
    """When it was told to end."""
    is_late: bool = False
    """Because its deadline had passed."""


class VirtualExecutor(Executor):
    """Runs attempts in a few slots, in virtual time."""

    def __init__(
        self,
        world: World,
        node: str,
        effects: list[Effect],
        lengths: Callable[[], int],
        clock: PlaceClock,
        **options: Any,  # noqa: ANN401 - those of Executor
    ) -> None:
        """``lengths`` draws how long an attempt takes, in microseconds."""
        super().__init__(clock=clock, **options)
        self.due_us = NEVER_US
        """When there is something to do."""
        self.lookout: Lookout | None = None
        """That of its run, once there is one."""
        self._world = world
        self._node = node
        self._effects = effects
        self._lengths = lengths
        self._place = clock
        self._waiting: deque[Attempt] = deque()
        self._running: list[Running] = []

    def calls(self, work: Work) -> bool:  # noqa: ARG002 - all of it
        """See Executor.calls."""
        return True

    def start(self) -> None:
        """See Executor.start."""

    def submit(self, attempts: list[Attempt]) -> None:
        """See Executor.submit."""
        self._waiting.extend(attempts)
        self._fill()

    def take_back(self) -> list[Attempt]:
        """See Executor.take_back."""
        back = list(self._waiting)
        self._waiting.clear()
        return back

    def waiting_count(self) -> int:
        """See Executor.waiting_count."""
        return len(self._waiting)

    def works_here(self) -> bool:
        """See Executor.works_here."""
        return False

    def is_alive(self) -> bool:
        """See Executor.is_alive."""
        return bool(self._running)

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost: there is no loop."""

    def end(self) -> None:
        """See Executor.end: attempts go on that ignore it."""

    def act(self) -> None:
        """One attempt ends, or tells something."""
        now_us = self._world.now_us
        for each in self._running:
            if each.tells_us <= now_us:
                each.tells_us = NEVER_US
                self._tell(each)
                break
            if each.ends_us <= now_us:
                self._running.remove(each)
                self._finish(each)
                self._fill()
                break
        self._set_due()

    def hasten(self) -> None:
        """All that runs ends soon."""
        for each in self._running:
            each.ends_us = min(each.ends_us, self._world.now_us + SECOND_US // 10)
        self._set_due()

    def _fill(self) -> None:
        world = self._world
        while self._waiting and len(self._running) < self._workers:
            attempt = self._waiting.popleft()
            world.happenings += 1
            try:
                attempt.begin(self._clock.monotonic())
            except AttemptCancelledError:
                self.note_end(attempt)
                self.bell.ring()
                continue
            self._effects.append(
                Effect("start", attempt.task.number, attempt.task.fence, self._node, world.now_us)
            )
            length_us = self._lengths()
            tells_us = NEVER_US
            if not world.is_calm and world.chance.one_in(6):
                tells_us = world.now_us + length_us // 2
            running = Running(attempt, world.now_us + length_us, tells_us, world.chance.one_in(3))
            attempt.interrupt = self._hurry
            self._running.append(running)
        self._set_due()

    def _hurry(self, attempt: Attempt) -> None:
        """An attempt is told to end: it soon does, unless it is stubborn."""
        now_us, isolated = self._world.now_us, attempt.work.isolated
        for each in self._running:
            if each.attempt is not attempt:
                continue
            if each.told_us is None:
                each.told_us, each.is_late = now_us, attempt.context.is_late()
            if not each.is_stubborn:
                each.ends_us = min(each.ends_us, now_us + SECOND_US // 10)
            elif isolated is not None:
                patience_us = isolated.isolation.kill_after_us
                if attempt.hurried:
                    patience_us = min(patience_us, SECOND_US // 2)
                each.ends_us = min(each.ends_us, each.told_us + patience_us)
        self._set_due()

    def _tell(self, running: Running) -> None:
        context = running.attempt.context
        try:
            context.progress(1, 2)
            context.save({"half": True})
        except EventqError:
            return
        self._world.sometimes["progress told"] += 1

    def _finish(self, running: Running) -> None:
        attempt = running.attempt
        if attempt.work.isolated is None:
            self._call(running)
        else:
            self._end_isolated(running)
        attempt.ended_s = self._clock.monotonic()
        assert attempt.outcome is not None, "it has just ended"
        task, kind = attempt.task, attempt.outcome.kind
        self._effects.append(
            Effect("end", task.number, task.fence, self._node, self._world.now_us, kind)
        )
        self.note_end(attempt)
        if len(self._waiting) <= self.ring_below:
            self.bell.ring()

    def _call(self, running: Running) -> None:
        attempt = running.attempt
        context = attempt.context
        try:
            if not running.is_stubborn:
                context.check()
            value = attempt.work.call(context, attempt.task)
            attempt.outcome = returned(attempt.task, value, attempt.work)
            self._judge_deadline(attempt)
        except Exception as error:  # noqa: BLE001 - whatever a worker raises is its outcome
            attempt.fail(error)

    def _judge_deadline(self, attempt: Attempt) -> None:
        """Rule of deadlines: whoever looks once one is over fails the attempt at once."""
        begun_s = attempt.begun_s
        assert begun_s is not None, "it has just ended"
        deadline_s = self._deadline_s(attempt, begun_s)
        if deadline_s is None or attempt.revoked or attempt.work.isolated is not None:
            return
        assert self.lookout is not None, "its run has given it"
        if self.lookout.looked_s > begun_s and self.lookout.looked_s >= deadline_s:
            text = "an attempt was done though its run saw that it is late"
            self._world.found.append(Finding("deadline", attempt.task.fence, text))
        elif self._clock.monotonic() >= deadline_s:
            self._world.sometimes["done before anybody saw that it was late"] += 1

    def _deadline_s(self, attempt: Attempt, begun_s: float) -> float | None:
        """When it must have ended, by its task alone: whatever eventq has made of that is judged.

        The end of its task's time cannot be told by a clock that is wrong, or drifts.
        """
        task, place = attempt.task, self._place
        found = []
        if task.policy.deadline_us is not None:
            found.append(begun_s + task.policy.deadline_us / SECOND_US)
        if task.expires_at_us is not None and place.rate == 1 and not place.was_wrong:
            left_us = task.expires_at_us + RIGHT_US - self._world.now_us
            found.append(place.monotonic() + left_us / SECOND_US)
        return min(found, default=None)

    def _end_isolated(self, running: Running) -> None:
        """As `runner.isolation.supervision` does, whose process is played here."""
        attempt, world = running.attempt, self._world
        is_told = running.told_us is not None
        is_killed = is_told and running.is_stubborn
        if not is_killed and (world.is_calm or not world.chance.one_in(12)):
            self._call(running)
            if running.is_late and attempt.outcome is not None:
                late = raised(attempt.task, DeadlineExceededError(LATE), attempt.work)
                attempt.outcome = replace(late, exit=attempt.outcome.exit)
                attempt.stopped = False
            return
        world.sometimes["isolated process killed" if is_killed else "isolated process died"] += 1
        found = ProcessExit(signal="SIGSEGV")
        if running.told_us is not None and is_killed:
            found = ProcessExit(signal="SIGKILL", killed_after_us=world.now_us - running.told_us)
        error: EventqError = ProcessDiedError("its process is gone", signal=found.signal)
        if running.is_late:
            error = DeadlineExceededError(LATE)
        attempt.stopped = is_told and not running.is_late
        attempt.outcome = replace(raised(attempt.task, error, attempt.work), exit=found)

    def _set_due(self) -> None:
        self.due_us = min(
            (min(each.ends_us, each.tells_us) for each in self._running), default=NEVER_US
        )
