"""Running a worker: leasing ahead, settling outcomes, deadlines, renewal, lapses, graceful stop.

One thread, the caller of `Runner.run`, does all of it; workers run in the executor. Everything
that lasts goes through the node; what is kept here may be lost at any moment.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.decide import Outcome, can_lease
from eventq.core.durations import SECOND_US
from eventq.core.events import Cancelled, Completed, Expired, Failed, Leased, Refused, Released
from eventq.core.projection import Projection
from eventq.core.task import Task
from eventq.errors import (
    DeadlineExceededError,
    LogUnavailableError,
    LoopEndedError,
    WorkersStuckError,
)
from eventq.eventlog.wakeup import Bell, ring_on_append
from eventq.host.clock import LogClock, MovedClock, UnmovedClock
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.runner import news
from eventq.runner import operations as commands
from eventq.runner.attempt import Attempt, describe, failed, released
from eventq.runner.earlier import BROKE_OFF, Earlier
from eventq.runner.executors import Executor
from eventq.runner.lapses import LapseWatch
from eventq.runner.pacing import GLANCE_S, Pace
from eventq.runner.snapshots import SnapshotKeeper
from eventq.runner.stuck import StuckWatch

logger = SafeLogger("eventq.runner")

# An outcome waits at most this long for others to share its commit, and only while workers
# have tasks to go on with.
LINGER_S = 0.010
# Tasks held ahead are given back when no worker has become free for this long.
STUCK_S = 0.5
# Pause after the log could not be reached.
UNAVAILABLE_S = 0.5
# Even a busy runner looks this often for cancelled tasks, lapsed nodes and its own renewal.
LOOK_EVERY_S = 0.25
# Longest wait when nothing is due; bells wake it earlier.
IDLE_S = 60.0
LAPSED_LEASES = "node %(node)s stopped renewing: %(attempts)s leases lapsed"
# Threads and loops of the executor are looked after this often, also while nothing is due.
MEND_S = 0.5
# What the worker is told when the log has ended its attempt.
LOST = "the task was cancelled or its lease was lost"


class RunReport(Struct, frozen=True):
    """What one `run` did, counted by outcome; ``expired`` counts tasks that it gave up."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    released: int = 0
    refused: int = 0
    expired: int = 0


class RunOptions(Struct, frozen=True):
    """How to run. Times in microseconds."""

    workers: int
    lease_ttl_us: int
    grace_us: int
    until_idle: bool
    max_stuck_us: int | None = None


ExecutorFactory = Callable[[Bell], Executor]


class Runner:
    """Runs tasks of one node with one executor until stopped, or until nothing is left to do."""

    def __init__(self, node: Node, make_executor: ExecutorFactory, options: RunOptions) -> None:
        self._node = node
        self._options = options
        self._clock = node.clock
        self._log_clock = LogClock(node.clock, node.now)
        self._moves = node.clock if isinstance(node.clock, MovedClock) else UnmovedClock()
        self._bell = Bell()
        self._executor = make_executor(self._bell)
        self._pace = Pace(options.workers)
        self._lapses = LapseWatch()
        self._snapshots = SnapshotKeeper(node)
        most_s = None if options.max_stuck_us is None else options.max_stuck_us / SECOND_US
        self._stuck = StuckWatch(workers=options.workers, most_s=most_s)
        self._gave_up = False
        # Attempts whose lease this node holds, and those that keep a worker without one.
        self._held: dict[int, Attempt] = {}
        self._strays: set[Attempt] = set()
        self._earlier = Earlier()
        self._unsettled: list[Outcome] = []
        self._counts = dict.fromkeys(RunReport.__struct_fields__, 0)
        # Monotonic instants of the last commit, the last sign of life in one, and so on.
        self._settled_s = self._signed_s = 0.0
        self._looked_s = self._progress_s = 0.0
        self._committed = False
        self._stop_asked = 0
        self._stop_s: float | None = None
        self._loop_ended: LoopEndedError | None = None

    def run(self) -> RunReport:
        """Works until `stop`, or until idle if so asked. Raises what makes the log unusable.

        Idle means: nothing is ready, leased by any node, or waiting for a retry. Tasks scheduled
        for later that were never attempted are left.
        """
        self._node.warn_again()
        if isinstance(self._node.last_run, Runner):
            self._take_over(self._node.last_run)
        self._node.last_run = self
        watch = ring_on_append(self._node.log, self._bell)
        self._node.on_append(self._bell.ring)
        self._moves.on_move(self._bell.ring)
        try:
            self._executor.start()
            while self._step():
                pass
            self._executor.stop()
            self._record_late()
            if self._loop_ended is not None:
                raise self._loop_ended
        finally:
            # Workers end first, so that none begins anew; then the wake-ups, which lean on the log.
            self._tell_all(BROKE_OFF)
            self._executor.stop()
            self._snapshots.stop()
            self._moves.off_move(self._bell.ring)
            self._node.off_append(self._bell.ring)
            watch.close()
        if self._gave_up:
            raise WorkersStuckError(self._options.workers)
        return RunReport(**self._counts)

    def stop(self) -> None:
        """Asks to stop; the second call forces. May be called from anywhere, also a handler.

        First: no more leases, what has not begun is given back, what runs may finish within the
        grace period. Second, or at the period's end: attempts are cancelled and given back.
        """
        self._stop_asked += 1
        self._bell.ring()

    def works_here(self) -> bool:
        """Whether it is one of this run's workers that asks."""
        executors = self._earlier.executors() | {self._executor}
        return any(executor.works_here() for executor in executors)

    def _take_over(self, before: Runner) -> None:
        """Goes on with what an earlier run left, so that nothing is run a second time beside it."""
        self._unsettled = before._unsettled
        attempts = [*before._held.values(), *before._strays]
        held = self._earlier.take_over(before._executor, attempts, before._earlier, self._unsettled)
        self._held = {attempt.task.number: attempt for attempt in held}

    def _step(self) -> bool:
        """One round; tells whether to go on."""
        try:
            self._collect()
            self._fail_late()
            if self._stop_asked and self._wind_down():
                return False
            look_due = self._clock.monotonic() - self._looked_s >= LOOK_EVERY_S
            if not look_due and self._worth_settling():
                self._exchange()
            elif (pause_s := self._look_around()) is None:
                return False
            elif pause_s > 0:
                self._rest(pause_s)
        except LogUnavailableError as error:
            self._lapses.fail()
            if self._is_forced():
                raise
            values = {"error": str(error)}
            logger.warning("log unavailable, trying again: %(error)s", values, extra=values)
            self._bell.wait(UNAVAILABLE_S)
        return True

    # What ended, what is late, what is over.

    def _collect(self) -> None:
        """Takes in ended attempts: their outcomes wait to be settled."""
        if self._earlier:
            self._collect_earlier()
        ended = self._executor.take_ended()
        if not ended:
            return
        total_s = 0.0
        for attempt in ended:
            assert attempt.outcome is not None
            if attempt.begun_s is not None:
                total_s += attempt.ended_s - attempt.begun_s
            number = attempt.task.number
            # The outcome first: should an interrupt come in between, it is not lost.
            if self._held.get(number) is attempt:
                self._unsettled.append(attempt.outcome)
                del self._held[number]
            elif attempt in self._strays:
                if not attempt.stopped:
                    # It ignored that its lease was gone: kept in the log as refused.
                    self._unsettled.append(attempt.outcome)
                self._strays.discard(attempt)
            # Else it was settled before it came: its thread died between two steps, or a stop.
        self._pace.measure(total_s, len(ended))
        self._progress_s = self._clock.monotonic()

    def _collect_earlier(self) -> None:
        """Takes in what an earlier run began and has ended since."""
        for attempt, outcome in self._earlier.take_ended():
            is_held = self._held.get(attempt.task.number) is attempt
            if outcome is not None and (is_held or attempt.revoked):
                self._unsettled.append(outcome)
            if is_held:
                del self._held[attempt.task.number]

    def _record_late(self) -> None:
        """What cancelled workers returned all the same is evidence, so it is kept."""
        self._collect()
        while self._unsettled:
            # Nobody is left to work on a task that has become ready meanwhile.
            self._exchange(leases=False)

    def _tell_all(self, why: str) -> None:
        """After an error: nothing can be recorded any more, so nothing more should be done."""
        self._executor.take_back()
        for attempt in self._held.values():
            self._earlier.executor_of(attempt, self._executor).cancel(attempt, why)

    def _fail_late(self) -> None:
        now_s = self._clock.monotonic()
        for attempt in list(self._held.values()):
            due_s = attempt.context.deadline_s
            # One that has an outcome ended in time, and is collected in the next round.
            if due_s is not None and due_s <= now_s and attempt.outcome is None:
                error = DeadlineExceededError("the attempt ran past its deadline")
                outcome = failed(attempt.task, describe(error))
                self._revoke(attempt, "deadline exceeded", replace(outcome, verdict=True))

    def _revoke(self, attempt: Attempt, why: str, outcome: Outcome | None) -> None:
        """Ends an attempt without its worker, which is told, and may still hold its thread."""
        attempt.revoked = True
        del self._held[attempt.task.number]
        if attempt not in self._earlier:
            self._strays.add(attempt)
        self._earlier.executor_of(attempt, self._executor).cancel(attempt, why)
        if outcome is not None:
            self._unsettled.append(outcome)

    def _give_back(self, attempts: list[Attempt], reason: str) -> None:
        for attempt in attempts:
            if not attempt.revoked:
                del self._held[attempt.task.number]
                self._unsettled.append(released(attempt, reason))
            self._strays.discard(attempt)

    def _wind_down(self) -> bool:
        """The steps of stopping; tells whether all is done.

        First back goes what has not begun, since it costs nothing and others may be free. Then
        what runs has the grace period. Last, whoever is still running is cancelled and its lease
        given back, so that another node can begin before the ttl is over.
        """
        if self._stop_s is None:
            self._stop_s = self._clock.monotonic() + self._options.grace_us / SECOND_US
            logger.info("stopping", extra={"running": len(self._held)})
        self._give_back(self._executor.take_back(), "stopped before it began")
        if self._is_forced():
            for attempt in list(self._held.values()):
                if attempt.outcome is None:
                    end = released(attempt, "stopped while running")
                    self._revoke(attempt, "the node stops", end)
                else:
                    # It ended, and is not waited for, whatever keeps it from being collected.
                    del self._held[attempt.task.number]
                    self._unsettled.append(attempt.outcome)
        return not (self._held or self._unsettled)

    def _rest(self, pause_s: float) -> None:
        """Waits for the bell; meanwhile it sees to it that the executor lives."""
        while pause_s > MEND_S:
            if self._bell.wait(MEND_S) or self._mend():
                return
            pause_s -= MEND_S
        self._bell.wait(pause_s)

    def _mend(self) -> bool:
        """Has the executor replace what died; where it cannot, the run winds down by force."""
        try:
            return self._executor.mend()
        except LoopEndedError as error:
            if self._loop_ended is None:
                self._loop_ended = error
                values = {"error": error.problem}
                logger.error("the event loop has ended: %(error)s", values, extra=values)  # noqa: TRY400
                self.stop()
                self.stop()
            return True

    def _is_forced(self) -> bool:
        """Whether stopping bears no more waiting: asked twice, or past the grace period."""
        late = self._stop_s is not None and self._clock.monotonic() >= self._stop_s
        return late or self._stop_asked > 1

    # Committing.

    def _worth_settling(self) -> bool:
        """Whether outcomes should be committed now: workers are, or will soon be, out of tasks."""
        if not self._unsettled:
            return False
        waiting = self._executor.waiting_count()
        lingered_s = self._clock.monotonic() - self._settled_s
        return waiting <= self._executor.ring_below or lingered_s >= LINGER_S

    def _exchange(self, *, leases: bool = True) -> None:
        """One commit: the outcomes of the last tasks and the leases of the next."""
        outcomes = commands.portion(self._unsettled)
        want = self._want() if leases and not self._stop_asked else 0
        ttl_us, free = self._options.lease_ttl_us, self._free()
        begun_s = self._clock.monotonic()
        command = commands.exchange(self._node, outcomes, count=want, free=free, ttl_us=ttl_us)
        del self._unsettled[: len(outcomes)]
        self._settled_s = self._clock.monotonic()
        self._committed = bool(command.drafts)
        attempts, is_news = [], False
        for (_, body), task in zip(command.drafts, command.tasks, strict=True):
            kind = type(body)
            if kind is Leased:
                assert task is not None
                attempts.append(self._hold(task))
            elif kind in COUNTED:
                self._counts[COUNTED[kind]] += 1
                is_news = is_news or news.is_news(body)
                if kind is Cancelled:
                    # A worker's Cancel is a failure in the log, right before this event.
                    self._counts["failed"] -= 1
        if attempts:
            # Others may see the sign before its commit is told here.
            self._signed_s = begun_s
            if not self._executor.waiting_count():
                self._progress_s = self._settled_s
            self._executor.ring_below = len(attempts) // 2 if self._pace.ahead() else 0
            self._executor.submit(attempts)
        if is_news:
            news.report(self._node, command)

    def _hold(self, task: Task) -> Attempt:
        before = self._held.get(task.number)
        if before is not None:  # It lost its lease since the last look.
            self._revoke(before, LOST, None)
        attempt = Attempt(task, self._executor.context_type(task, self._log_clock))
        self._held[task.number] = attempt
        return attempt

    def _want(self) -> int:
        """How many more tasks to lease: free slots, and work ahead when tasks are fast."""
        return self._pace.want(self._free())

    def _free(self) -> int:
        """How many workers have nothing to do; negative when tasks wait for one."""
        earlier = self._earlier.held_count() if self._earlier else 0
        return self._options.workers - len(self._held) - len(self._strays) + earlier

    # Looking at the rest of the world.

    def _look_around(self) -> float | None:
        """Does what the log and the time call for.

        Gives the seconds to wait then (0 for none), or None when there is nothing left to do.
        """
        self._looked_s = now_s = self._clock.monotonic()
        self._pace.stalled = self._pace.stalled and self._executor.is_behind()
        # Before anything is renewed: a lease must not outlive what works on its task.
        if self._mend():
            self._collect()
        with self._node.reading(as_left=self._committed) as projection:
            now = self._node.now()
            lost = self._lost(projection)
            orphans = self._orphans(projection)
            lapsed = self._lapses.look(
                projection.holders,
                me=self._node.name,
                seq=projection.seq,
                # Not `now_s`: reading may have taken long, and what was read is newer than that.
                monotonic_s=self._clock.monotonic(),
                now=now,
            )
            overdue = next(projection.past_expiry(now), None) is not None
            leasable = not self._stop_asked and can_lease(
                projection, count=self._want(), free=self._free(), now=now
            )
            rests = self._options.until_idle and self._is_at_rest(projection, now)
            done = rests and not projection.retrying_count
            pause_s = self._pause_s(projection, now=now, now_s=now_s)
            self._snapshots.look(projection, idle=not (self._held or leasable))
        self._committed = False
        for attempt in lost:
            self._revoke(attempt, LOST, None)
        self._unsettled += orphans
        # First: when the log can be appended to again, nobody should be judged before that.
        self._renew_if_due(now_s)
        for worker, seen_seq in lapsed:
            self._lapse(worker, seen_seq)
        self._unstick(now_s)
        self._look_at_stuck(now_s)
        if self._worth_settling() or overdue or leasable:
            self._exchange()
        elif not lapsed:
            pause_s = min(pause_s, self._stuck.pause_s(now_s))
            if rests and not done:
                self._moves.skip(pause_s)
            return None if done and not self._unsettled else pause_s
        return 0

    def _lapse(self, worker: str, seen_seq: int) -> None:
        command = commands.lapse(self._node, worker, seen_seq=seen_seq)
        if command.drafts:
            failed = sum(type(body) is Failed for _, body in command.drafts)
            values = {"node": worker, "attempts": failed}
            logger.warning(LAPSED_LEASES, values, extra=values)
            self._counts["expired"] += sum(type(body) is Expired for _, body in command.drafts)
            news.report(self._node, command)

    def _look_at_stuck(self, now_s: float) -> None:
        """Ends the run when all workers have ignored for too long that they were told to end."""
        if self._stuck.look(self._strays, now_s) and not self._stop_asked:
            self._gave_up = True
            self.stop()

    def _lost(self, projection: Projection) -> list[Attempt]:
        """Attempts that go on although the log has ended their lease."""
        lost = []
        for number, attempt in self._held.items():
            task = projection.tasks.get(number)
            if task is None or task.fence != attempt.task.fence:
                lost.append(attempt)
        return lost

    def _orphans(self, projection: Projection) -> list[Outcome]:
        """Leases of this node that no attempt stands for, left by a run that was torn away."""
        mine = projection.leases_of(self._node.name)
        if len(mine) <= len(self._held):
            return []
        known = self._held.keys() | {outcome.task for outcome in self._unsettled}
        return [
            Outcome(number, projection.tasks[number].fence, "released", reason="nobody runs it")
            for number in mine - known
        ]

    def _is_at_rest(self, projection: Projection, now: int) -> bool:
        """Whether nothing is ready or leased: all that is left waits for its instant."""
        return not (self._held or projection.leased_count or projection.ready_count(now))

    def _pause_s(self, projection: Projection, *, now: int, now_s: float) -> float:
        """How long nothing will happen that no bell tells of."""
        ends = [now_s + (GLANCE_S if self._committed else IDLE_S)]
        instant = projection.next_instant()
        if instant is not None:
            ends.append(now_s + (instant - now) / SECOND_US)
        if self._held:
            dues = (a.due_s(now=now, monotonic_s=now_s) for a in self._held.values())
            ends += [due for due in dues if due is not None]
            ends.append(self._signed_s + self._renew_s())
            if self._unsettled or self._executor.ring_below:
                ends.append(now_s + LINGER_S)
            if self._executor.waiting_count():
                ends.append(self._progress_s + STUCK_S)
        others = len(projection.holders) > (self._node.name in projection.holders)
        if others or self._earlier or self._pace.stalled:
            ends.append(now_s + LOOK_EVERY_S)
        if self._stop_s is not None:
            ends.append(self._stop_s)
        # At least a millisecond: a timer that fires early must not spin.
        return max(0.001, min(ends) - now_s)

    def _renew_s(self) -> float:
        """Renewing three times within a ttl bears two that come late."""
        return self._options.lease_ttl_us / SECOND_US / 3

    def _renew_if_due(self, now_s: float) -> None:
        due = self._held and now_s - self._signed_s >= self._renew_s()
        unproven_seq = self._lapses.unproven_seq
        if due or unproven_seq is not None:
            ttl_us = self._options.lease_ttl_us
            commands.renew(self._node, ttl_us=ttl_us, unproven_seq=unproven_seq)
            self._signed_s = now_s

    def _unstick(self, now_s: float) -> None:
        """Gives back what waits behind tasks that turned out slow, so that others can take it."""
        if self._executor.waiting_count() and now_s - self._progress_s >= STUCK_S:
            self._give_back(self._executor.take_back(), "all workers are busy")
            self._pace.measure(now_s - self._progress_s, 1)
            self._executor.ring_below = 0
            self._pace.stalled = self._executor.is_behind()
            if self._pace.stalled:
                logger.warning("the event loop is blocked: nothing is leased until it goes on")


COUNTED = {
    kind: kind.__name__.lower()
    for kind in (Completed, Failed, Cancelled, Released, Refused, Expired)
}
