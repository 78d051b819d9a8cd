"""Running a worker: one thread, the caller of `Runner.run`, does all of it but the workers' own.

Everything that lasts goes through the node; what is kept here may be lost at any moment.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.errors import LogUnavailableError, LoopEndedError
from eventq.eventlog import Watch
from eventq.host.bell import Bell
from eventq.host.clock import LogClock
from eventq.host.interrupts import raise_interrupt
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.runner.attempts import Attempts
from eventq.runner.defining import Defining
from eventq.runner.following import Following
from eventq.runner.health import HealthFile
from eventq.runner.hearing import Hearing
from eventq.runner.lookout import Lookout
from eventq.runner.options import RunOptions
from eventq.runner.pool import Pool
from eventq.runner.settling import Settler
from eventq.runner.stopping import Stopping
from eventq.runner.workload import Workload

logger = SafeLogger("eventq.runner")

# Pause after the log could not be reached.
UNAVAILABLE_S = 0.5
# Threads and loops of the executor are looked after this often, also while nothing is due.
MEND_S = 0.5
UNENDED = "workers of an earlier run have not ended: %(tasks)s"


class RunReport(Struct, frozen=True):
    """What one `run` did, counted by outcome; ``expired`` counts tasks that it gave up.

    ``left`` is how many tasks were open when it ended: scheduled for later, or not for this run.
    """

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    released: int = 0
    refused: int = 0
    expired: int = 0
    left: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing was done."""
        return self == RunReport(left=self.left)

    def plus(self, later: RunReport) -> RunReport:
        """The sums of two reports; ``left`` is that of the later one."""
        names = self.__struct_fields__
        sums = {name: getattr(self, name) + getattr(later, name) for name in names}
        return RunReport(**{**sums, "left": later.left})


class Runner:
    """Runs tasks of one node until stopped, or until nothing is left to do."""

    def __init__(
        self,
        node: Node,
        pools: dict[str | None, Pool],
        bell: Bell,
        workload: Workload,
        options: RunOptions,
    ) -> None:
        self.bell = bell
        self.executors = [executor for pool in pools.values() for executor in pool.executors]
        clock = LogClock(node.clock, node.now)
        self.attempts = Attempts(pools, workload, clock, Hearing(bell.ring), node)
        self.settler = Settler(node, self.attempts, options)
        self.defining = Defining(node, workload, options)
        self.stopping = Stopping(self.bell, node.clock, grace_s=options.grace_s)
        self.lookout = Lookout(
            node, self.attempts, self.settler, self.stopping, options, ring=self.bell.ring
        )
        self.following = Following(node, workload.follows, ttl_us=options.lease_ttl_us)
        self._grace_s = options.grace_s
        path = options.health_path
        slots = sum(pool.workers for pool in pools.values())
        self._health = (
            None if path is None else HealthFile(path, node.name, node.clock, slots=slots)
        )
        self._node = node

    def take_over(self, before: Runner) -> None:
        """Goes on with what an earlier run on the node left; before `run`."""
        self.attempts.take_over(before.attempts)
        self.following.take_over(before.following)
        if self.attempts.earlier:
            values = {"tasks": [attempt.task.key for attempt in self.attempts.earlier]}
            logger.warning(UNENDED, values, extra=values)

    def run(self) -> RunReport:
        """Works until `stop`, or until idle if so asked. Raises what makes the log unusable.

        Idle means: nothing is ready, leased by any node, or waiting for a retry. Tasks scheduled
        for later that were never attempted are left.
        """
        node, ring = self._node, self.bell.ring
        node.warn_again()
        watch = self._watch()
        node.on_append(ring)
        if self.lookout.resting.moved is not None:
            self.lookout.resting.moved.on_move(ring)
        try:
            for executor in self.executors:
                executor.start()
            self.following.start()
            self._work()
            self._end_workers()
            self.settler.settle_late()
            self.settler.leave()
            self.following.stop(within_s=self._grace_s)
        finally:
            node.standby.ttl_us = None
            # Workers end first, so that none begins anew; then the wake-ups, which lean on the log.
            self.attempts.break_off()
            self._end_workers()
            self.following.stop(within_s=0.0)
            self.lookout.snapshots.stop()
            self.lookout.switching.relax()
            if self.lookout.resting.moved is not None:
                self.lookout.resting.moved.off_move(ring)
            node.off_append(ring)
            watch.close()
            if self._health is not None:
                self._health.end()
        if self.stopping.cause is not None:
            raise self.stopping.cause
        with node.reading(as_left=True) as projection:
            counts = dict(self.settler.counts)
            counts["completed"] += self.attempts.settled_count
            return RunReport(**counts, left=len(projection.tasks))

    def stop(self) -> None:
        """Asks to stop; the second call forces. May be called from anywhere, also a handler.

        First: no more leases, what has not begun is given back, what runs may finish within the
        grace period. Second, or at the period's end: attempts are cancelled and given back.
        """
        self.stopping.ask()

    def works_here(self) -> bool:
        """Whether one of this run's workers calls this."""
        return self.attempts.works_here()

    def _work(self) -> None:
        """Does rounds until there is nothing left to do, also for what followers have made."""
        while True:
            while self._step():
                pass
            if not self.following.drain(stopping=lambda: bool(self.stopping.asked_count)):
                return

    def _watch(self) -> Watch:
        """Has the bell rung soon after any process has appended; see EventLog.watch."""
        log, bell = self._node.log, self.bell
        if log.remote is None:
            return log.watch(bell.ring)
        # Its next ring may wait until the last one was heard.
        return log.remote.watch(bell.ring, heard=bell.heard)

    def _end_workers(self) -> None:
        for executor in self.executors:
            executor.stop()

    def _step(self) -> bool:
        """Does one round; returns whether to go on."""
        try:
            self.defining.define()
            self.attempts.collect()
            self.attempts.fail_late()
            if self.stopping.asked_count and self._wind_down():
                return False
            if not self.lookout.is_due() and self.settler.is_due():
                self.settler.settle_and_lease(leases=not self.stopping.asked_count)
            elif (pause_s := self._look_around()) is None:
                return False
            elif pause_s > 0:
                self._rest(pause_s)
        except LogUnavailableError as error:
            raise_interrupt(error)
            self.lookout.lapses.fail()
            self._tell_health(f"the log is unavailable: {error}")
            if self.stopping.is_forced():
                raise
            values = {"error": str(error)}
            logger.warning("log unavailable, trying again: %(error)s", values, extra=values)
            self.bell.wait(UNAVAILABLE_S)
        return True

    def _wind_down(self) -> bool:
        """Takes the steps of stopping; returns whether all is done.

        First back goes what has not begun, since it costs nothing and others may be free. Then
        what runs has the grace period. Last, whoever is still running is cancelled and its lease
        given back, so that another node can begin before the ttl is over.
        """
        attempts = self.attempts
        self.lookout.stand_down()
        self.stopping.begin(running_count=len(attempts.held))
        attempts.give_back("stopped before it began")
        if self.stopping.is_forced():
            attempts.end_all()
        if attempts.held or attempts.unsettled:
            return False
        if not self.stopping.is_forced():
            # What a commit has leased whose reply was lost: nobody else takes it before its time.
            with self._node.reading() as projection:
                mine = projection.leases_of(self._node.name)
                attempts.unsettled += attempts.orphans(projection, mine)
        return not attempts.unsettled

    def _look_around(self) -> float | None:
        # Before anything is renewed: a lease must not outlive what works on its task.
        if self._mend():
            self.attempts.collect()
        pause_s = self.lookout.look()
        if self._health is None or pause_s is None:
            return pause_s
        self._tell_health(self._problem())
        return min(pause_s, self._health.pause_s())

    def _problem(self) -> str | None:
        """What keeps all slots from being used, if anything does."""
        if self.lookout.stuck.is_total:
            return "all workers are stuck: they ignore that they should end"
        if all(pool.pace.stalled for pool in self.attempts.pools):
            return "the event loop is blocked"
        return None

    def _tell_health(self, problem: str | None) -> None:
        if self._health is not None:
            self._health.tell(problem, running=len(self.attempts.held))

    def _rest(self, pause_s: float) -> None:
        """Waits for the bell, and meanwhile has the executors replace what dies."""
        while pause_s > MEND_S:
            if self.bell.wait(MEND_S) or self._mend():
                return
            pause_s -= MEND_S
        self.bell.wait(pause_s)

    def _mend(self) -> bool:
        """Has the executors replace what died; where it cannot, the run winds down by force."""
        try:
            # Each of them, also behind one that had something to mend.
            mended = [executor.mend() for executor in self.executors]
        except LoopEndedError as error:
            self.stopping.lose_loop(error)
            return True
        return any(mended)
