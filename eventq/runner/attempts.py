"""The attempts of one run: whose lease this node holds, who keeps a worker without one, what ended.

They are kept in memory alone. Outcomes wait here until they are settled. Attempts may outlive their
run: the next one of the node goes on with them, so that no task is run a second time beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from msgspec.structs import replace

from eventq.core.places import Vacancy, Wanted
from eventq.core.projection import Projection
from eventq.core.settle import Outcome
from eventq.core.task import Task
from eventq.errors import DeadlineExceededError
from eventq.handlers.context import LATE, AsyncContext, Context
from eventq.handlers.telling import Setting
from eventq.host.clock import Clock, LogClock
from eventq.node.node import Node
from eventq.runner.attempt import Attempt, LeaseTime, raised, released
from eventq.runner.hearing import Hearing
from eventq.runner.pool import Pool
from eventq.runner.results import with_results
from eventq.runner.workload import Workload

# What the worker is told when the log has ended its attempt.
LOST = "the task was cancelled or its lease was lost"
# What workers are told, and why a lease is given back, when a run ends by an error.
BROKE_OFF = "the run broke off"
PAST_DEADLINE = "deadline exceeded"
NODE_STOPS = "the node stops"
STOPPED = "stopped while running"


class Attempts:
    """The attempts that the pools of one run work on, and those that earlier runs left."""

    def __init__(
        self,
        pools: dict[str | None, Pool],
        workload: Workload,
        clock: LogClock,
        hearing: Hearing,
        node: Node,
    ) -> None:
        self.pools = list(pools.values())
        self.held: dict[int, Attempt] = {}
        """By task, the attempts whose lease this node holds."""
        self.strays: set[Attempt] = set()
        """Attempts that keep a worker without a lease."""
        self.earlier: dict[Attempt, Pool] = {}
        """Attempts of earlier runs that have not ended, and where they work.

        Those not revoked keep their lease, and are held. None keeps a worker of this run.
        """
        self.unsettled: list[Outcome] = []
        self.settled_count = 0
        """How many attempts have completed in transactions of their own."""
        self.workload = workload
        self.hearing = hearing
        self._settings = {
            level: Setting(workload.policy, level, hearing.hear, node.visit)
            for level in {work.keeps_level for work in workload.works()}
        }
        self._by_lane = pools
        self._clock: Clock = clock
        self._log = node.log

    def pool_of(self, task: Task) -> Pool:
        """The pool that works on the task's lane."""
        return self._by_lane.get(task.lane) or self._by_lane[None]

    def take_over(self, before: Attempts) -> None:
        """Goes on with what an earlier run left in its executor, and what that had taken over."""
        for pool in before.pools:
            pool.take_back()
        self.hearing.take_over(before.hearing)
        self.unsettled = before.unsettled
        known = {id(outcome) for outcome in self.unsettled}
        left = {each: before.pool_of(each.task) for each in (*before.held.values(), *before.strays)}
        for attempt, pool in (left | before.earlier).items():
            # One that the executor has not begun will never begin.
            begun = attempt.begun_s is not None or attempt.interrupt is not None
            if begun and id(attempt.outcome) not in known:
                self.earlier[attempt] = pool
                if not attempt.revoked:
                    self.held[attempt.task.number] = attempt

    def works_here(self) -> bool:
        """Whether one of the workers calls this."""
        return any(pool.works_here() for pool in {*self.pools, *self.earlier.values()})

    def wanted(self) -> Wanted:
        """How many tasks to lease, and how many can begin at once; by lane where each has slots.

        Less than none can begin when tasks wait for a worker.
        """
        if None not in self._by_lane:
            return self._lanes_wanted()
        pool = self.pools[0]
        free = pool.workers - len(self.held) - len(self.strays)
        if self.earlier:
            free += sum(not attempt.revoked for attempt in self.earlier)
        return Vacancy(pool.pace.want(free), free)

    def _lanes_wanted(self) -> dict[str, Vacancy]:
        taken = self._taken([self.held[number] for number in self.in_lanes()])
        taken.update(self.taken_by_strays())
        wanted = {}
        for lane, pool in self._by_lane.items():
            assert lane is not None, "one without a lane stands alone"
            free = pool.workers - taken[lane]
            wanted[lane] = Vacancy(pool.pace.want(free), free)
        return wanted

    def in_lanes(self) -> tuple[int, ...]:
        """The tasks that take places of this run's lanes; none where lanes have no places."""
        if None in self._by_lane:
            return ()
        return tuple(number for number, a in self.held.items() if a not in self.earlier)

    def taken_by_strays(self) -> Counter[str]:
        """How many slots of each lane attempts keep that have lost their lease."""
        return self._taken(self.strays)

    def hold(self, task: Task, lease: LeaseTime) -> Attempt:
        """The attempt of a task that has just been leased; it has not begun."""
        before = self.held.get(task.number)
        if before is not None:  # It lost its lease since the last look.
            self.revoke(before, LOST, None)
        work = self.workload.work_of(task)
        kind = AsyncContext if work.is_async else Context
        setting = self._settings[work.keeps_level]
        if task.rarity is not None and task.after:
            task, results = with_results(self._log, task)
            setting = replace(setting, results=results)
        context = kind(task, self._clock, setting)
        attempt = Attempt(task, context, work, lease)
        self.held[task.number] = attempt
        return attempt

    def collect(self) -> None:
        """Takes in the attempts that have ended: their outcomes wait to be settled."""
        if self.earlier:
            self._collect_earlier()
        for pool in self.pools:
            if ended := pool.take_ended():
                self._collect(pool, ended)

    def _collect(self, pool: Pool, ended: list[Attempt]) -> None:
        total_s = 0.0
        for attempt in ended:
            assert attempt.outcome is not None
            if attempt.begun_s is not None:
                total_s += attempt.ended_s - attempt.begun_s
            number = attempt.task.number
            # First this, then the look; see Context.conclude.
            attempt.context.is_over = True
            if attempt.context.telling is not None or attempt.outcome.children:
                attempt.outcome = attempt.conclude(attempt.outcome)
            if attempt.settled:
                self._let_go(attempt)
                continue
            # The outcome first: should an interrupt come in between, it is not lost.
            if self.held.get(number) is attempt:
                is_given_back = attempt.hurried and attempt.stopped
                outcome = released(attempt, STOPPED) if is_given_back else attempt.outcome
                self.unsettled.append(outcome)
                del self.held[number]
            elif attempt in self.strays:
                if not attempt.stopped:
                    # It ignored that its lease was over: the log keeps the outcome as refused.
                    self.unsettled.append(attempt.outcome)
                self.strays.discard(attempt)
            # Else it was settled before it came: its thread died between two steps, or a stop.
        pool.pace.measure(total_s, len(ended))
        pool.progress_s = self._clock.monotonic()

    def _let_go(self, attempt: Attempt) -> None:
        """Forgets an attempt that needs no more settling."""
        self.settled_count += 1
        self.strays.discard(attempt)
        if self.held.get(attempt.task.number) is attempt:
            del self.held[attempt.task.number]

    def longest_s(self, now_s: float) -> float:
        """How long the attempt that began first has gone on; they begin in the order of `held`."""
        first = next(iter(self.held.values()), None)
        return 0.0 if first is None or first.begun_s is None else now_s - first.begun_s

    def fail_late(self) -> None:
        """Fails the attempts whose deadline has passed."""
        now_s = self._clock.monotonic()
        for attempt in list(self.held.values()):
            due_s = attempt.context.deadline_s
            # One that has an outcome ended in time, and is collected in the next round.
            if due_s is not None and due_s <= now_s and attempt.outcome is None:
                if attempt.work.isolated is not None:
                    # Its lease is kept until its process is gone.
                    if attempt.context.stopped_why is None:
                        attempt.stop(PAST_DEADLINE)
                    continue
                outcome = raised(attempt.task, DeadlineExceededError(LATE), attempt.work)
                self.revoke(attempt, PAST_DEADLINE, replace(outcome, verdict=True))

    def revoke(self, attempt: Attempt, why: str, outcome: Outcome | None) -> None:
        """Ends an attempt without its worker, which is told, and may still hold its thread."""
        attempt.revoked = True
        del self.held[attempt.task.number]
        if attempt not in self.earlier:
            self.strays.add(attempt)
        attempt.stop(why)
        if outcome is not None:
            self.unsettled.append(attempt.conclude(outcome))

    def give_back(self, reason: str) -> None:
        """Gives back what has not begun, so that other nodes can run it."""
        for pool in self.pools:
            self.give_back_of(pool, reason)

    def give_back_of(self, pool: Pool, reason: str) -> None:
        """Gives back what has not begun in one pool."""
        for attempt in pool.take_back():
            if not attempt.revoked:
                del self.held[attempt.task.number]
                self.unsettled.append(released(attempt, reason))
            self.strays.discard(attempt)

    def end_all(self) -> None:
        """Ends what is running: its lease is given back, and what has ended is settled.

        That of an isolated attempt only when its process is gone, for which the run waits.
        """
        for attempt in list(self.held.values()):
            if attempt.outcome is None and attempt.work.isolated is not None:
                if not attempt.hurried:
                    attempt.stop(NODE_STOPS, hurry=True)
            elif attempt.outcome is None:
                self.revoke(attempt, NODE_STOPS, released(attempt, STOPPED))
            else:
                # It ended, and is not waited for, whatever keeps it from being collected.
                attempt.outcome = attempt.conclude(attempt.outcome)
                del self.held[attempt.task.number]
                self.unsettled.append(attempt.outcome)

    def break_off(self) -> None:
        """After an error: cancels everything, since no outcome can be recorded any more."""
        for pool in self.pools:
            pool.take_back()
        for attempt in self.held.values():
            attempt.stop(BROKE_OFF)

    def lost(self, projection: Projection) -> list[Attempt]:
        """Attempts that go on although the log has ended their lease."""
        tasks = projection.tasks
        return [
            attempt
            for number, attempt in self.held.items()
            if number not in tasks or tasks[number].fence != attempt.task.fence
        ]

    def orphans(self, projection: Projection, leases: Collection[int]) -> list[Outcome]:
        """Ends for this node's leases without an attempt, left by a run that was torn away."""
        if len(leases) <= len(self.held):
            return []
        known = self.held.keys() | {outcome.task for outcome in self.unsettled}
        return [
            Outcome(number, projection.tasks[number].fence, "released", reason="nobody runs it")
            for number in leases
            if number not in known
        ]

    def _taken(self, attempts: Iterable[Attempt]) -> Counter[str]:
        return Counter(attempt.task.lane for attempt in attempts)

    def _collect_earlier(self) -> None:
        """Takes in what an earlier run began and has ended since."""
        for attempt, pool in list(self.earlier.items()):
            # Looked at first: what ended it while it lived has left an outcome.
            is_alive = pool.is_alive()
            outcome = attempt.outcome
            if outcome is None and is_alive:
                continue
            del self.earlier[attempt]
            if attempt.stopped:
                outcome = None if attempt.revoked else released(attempt, BROKE_OFF)
            is_held = self.held.get(attempt.task.number) is attempt
            if outcome is not None and (is_held or attempt.revoked):
                self.unsettled.append(attempt.conclude(outcome))
            if is_held:
                del self.held[attempt.task.number]
