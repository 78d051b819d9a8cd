"""A host and the process on it: a real queue, node and runner, whose time is the world's.

A crash takes the process away with all that it remembers; the host stays, with its clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventq.core.durations import SECOND_US
from eventq.errors import LogTooNewError, LogUnavailableError
from eventq.handlers.follow import Follow
from eventq.host.bell import Bell
from eventq.node import node as node_module
from eventq.queue import Queue
from eventq.runner.follower import FollowerRun
from eventq.runner.options import RunOptions
from eventq.runner.pool import Pool
from eventq.runner.runner import Runner
from eventq.runner.workload import Workload
from tools.simulate.executor import NEVER_US, Effect, VirtualExecutor
from tools.simulate.view import View
from tools.simulate.world import Finding, NodeDiedError, PlaceClock, World

# A follower looks again this soon after the log was away, in seconds.
AWAY_S = 0.5


class VirtualBell(Bell):
    """A bell that never waits: it notes for how long its owner would."""

    def __init__(self) -> None:
        self.is_rung = False
        self.asked_s: float | None = None

    def begin_round(self) -> None:
        """What rang before is heard by the round that begins."""
        self.is_rung = False
        self.asked_s = None

    def ring(self) -> None:
        """See Bell.ring."""
        self.is_rung = True

    def heard(self) -> bool:
        """See Bell.heard."""
        return not self.is_rung

    def wait(self, timeout_s: float | None) -> bool:
        """See Bell.wait; it returns at once, and the round with it."""
        self.asked_s = timeout_s
        return True


class RoundRunner(Runner):
    """A runner whose rounds are done one by one."""

    looks = 0
    """How often it has looked at the log and at what it holds."""

    def _look_around(self) -> float | None:
        pause_s = super()._look_around()
        self.looks += 1
        return pause_s

    def round(self) -> bool:
        """Does one round; returns whether to go on."""
        return self._step()

    def finish(self) -> None:
        """What `run` does when its rounds are over."""
        self._end_workers()
        self.settler.settle_late()
        self.settler.leave()
        self.vanish()

    def vanish(self) -> None:
        """Takes back what it has wished of the one process that is real."""
        self.lookout.switching.relax()

    def _rest(self, pause_s: float) -> None:
        self.bell.wait(pause_s)


class HostPlan:
    """What one host runs, the same in each of its processes."""

    def __init__(
        self,
        name: str,
        workload: Workload | None,
        follows: Sequence[Follow],
        *,
        workers: int,
        ttl_us: int,
        lengths: Callable[[], int],
    ) -> None:
        self.name = name
        self.workload = workload
        """None: it only makes tasks."""
        self.follows = follows
        self.workers = workers
        self.ttl_us = ttl_us
        self.lengths = lengths


class Process:
    """A queue and its run; in memory, so that it can be lost."""

    def __init__(
        self, world: World, name: str, plan: HostPlan, clock: PlaceClock, view: View
    ) -> None:
        self.name = name
        self.view = view
        self.due_us = world.now_us
        """When the run does its next round."""
        self.follower_due_us = NEVER_US
        self.bell = VirtualBell()
        self._world = world
        self._plan = plan
        named = node_module._node_name  # noqa: SLF001 - names would be of chance
        node_module._node_name = lambda: name  # noqa: SLF001
        try:
            self.queue = Queue(log=view, clock=clock, chance=world.chance.random, workers=1)
        finally:
            node_module._node_name = named  # noqa: SLF001
        self.node = self.queue._node  # noqa: SLF001 - the other half of its queue
        self.runner: RoundRunner | None = None
        self.executors: list[VirtualExecutor] = []
        """Those of all its runs: attempts may outlive theirs."""
        self.followers: list[FollowerRun] = []
        self._follower_dues: dict[FollowerRun, int] = {}
        self._unworked: set[int] = set()
        """Its leases that it did not work for when it had last looked."""
        self._clock = clock

    def begin_run(self, effects: list[Effect]) -> None:
        """Begins a run, or the next one, which goes on with what the one before left."""
        plan, world = self._plan, self._world
        if plan.workload is None:
            return
        before = self.runner
        self.bell = VirtualBell()
        pools, executors = {}, []
        for lane, workers in plan.workload.slots.items():
            executor = VirtualExecutor(
                world,
                self.name,
                effects,
                plan.lengths,
                workers=workers,
                bell=self.bell,
                clock=self._clock,
            )
            executors.append(executor)
            pools[lane] = Pool([executor], self.bell, workers=workers)
        options = RunOptions(plan.ttl_us, 3.0, None, None, world.chance.random)
        self.runner = RoundRunner(self.node, pools, self.bell, plan.workload, options)
        for executor in executors:
            executor.lookout = self.runner.lookout
        self.executors += executors
        if before is not None:
            self.runner.take_over(before)
        self.node.on_append(self.bell.ring)
        self.followers = [FollowerRun(each, self.node, ttl_us=plan.ttl_us) for each in plan.follows]
        self._follower_dues = {}
        self._unworked = set()
        self.wake(world.now_us)

    def next_us(self) -> int:
        """When it has something to do."""
        if self.runner is None:
            return NEVER_US
        # Asked of all processes in each turn, hence no generator.
        due_us = min(self.due_us, self.follower_due_us)
        for each in self.executors:
            due_us = min(due_us, each.due_us)
        return due_us

    def act(self) -> bool:
        """Does one of the things that are due; returns whether the run goes on."""
        world, runner = self._world, self.runner
        assert runner is not None, "only a run acts"
        now_us = world.now_us
        due = [each.act for each in self.executors if each.due_us <= now_us]
        if self.follower_due_us <= now_us:
            due.append(self._follow)
        # Where nothing is due, it is woken for nothing.
        if due and (self.due_us > now_us or world.chance.one_in(2)):
            world.chance.pick(due)()
            if self.bell.is_rung:
                self.due_us = now_us
            return True
        return self._round(runner)

    def end_run(self) -> None:
        """Ends a run that has stopped. Raises LogUnavailableError."""
        assert self.runner is not None, "it has just stopped"
        self.node.off_append(self.bell.ring)
        self.node.standby.ttl_us = None
        for each in self.followers:
            each.leave()
        self.runner.finish()

    def wake(self, at_us: int) -> None:
        """Something has happened that it hears of then."""
        self.due_us = min(self.due_us, at_us)
        for each in self.followers:
            self._follower_dues[each] = min(self._follower_dues.get(each, NEVER_US), at_us)
        self.follower_due_us = min(self._follower_dues.values(), default=NEVER_US)

    def _round(self, runner: RoundRunner) -> bool:
        bell, world = self.bell, self._world
        if runner.lookout.lapses._looked_s is None:  # noqa: SLF001 - a look that changes nothing
            world.looks_since_us[self.name] = world.now_us
        bell.begin_round()
        looks = runner.looks
        goes_on = runner.round()
        has_ended = not goes_on and not runner.stopping.is_forced()
        if runner.looks > looks or has_ended:
            self._judge_leases(runner, has_ended=has_ended)
        pause_us = 0 if bell.asked_s is None else self._clock.true_us(bell.asked_s)
        if bell.is_rung:
            pause_us = 0
        elif not world.is_calm and pause_us and world.chance.one_in(2):
            # A thread that sleeps is woken when the machine gets round to it.
            pause_us += int(world.chance.random() * world.chance.pick((0.1, 1.5, 4.0)) * SECOND_US)
        self.due_us = world.now_us + pause_us
        return goes_on

    def _judge_leases(self, runner: RoundRunner, *, has_ended: bool) -> None:
        """Rule 14: whoever has looked twice works for what it has leased, or gives it back.

        A run that ends has given all back.
        """
        world, view = self._world, self.view
        known = self.node._folded.projection  # noqa: SLF001 - a look that reads nothing
        can_look = world.now_us >= view.away_until_us and view.frozen is None
        if known is None or not can_look:
            return
        unworked = known.leases_of(self.name) - worked_for(runner)
        before, self._unworked = self._unworked, {known.tasks[each].fence for each in unworked}
        kept = self._unworked if has_ended else before & self._unworked
        if kept and not world.found:
            world.found.append(Finding("lease", min(kept), f"{self.name} does not work for it"))

    def _follow(self) -> None:
        """Lets one follower do a step."""
        world = self._world
        run = min(self.followers, key=self._follower_dues.__getitem__)
        self._follower_dues[run] = NEVER_US
        try:
            pause_s = None if run.is_over else run.step(lambda: False)
        except LogUnavailableError:
            pause_s = AWAY_S
        except LogTooNewError:
            # Its thread ends.
            pause_s = None
        due_us = NEVER_US if pause_s is None else world.now_us + self._clock.true_us(pause_s)
        # It may have been woken meanwhile.
        self._follower_dues[run] = min(self._follower_dues[run], due_us)
        self.follower_due_us = min(self._follower_dues.values())


def worked_for(runner: Runner) -> set[int]:
    """The tasks that a run has attempts or outcomes of."""
    attempts = runner.attempts
    return attempts.held.keys() | {each.task for each in attempts.unsettled}


class Host:
    """A machine: its clocks, and one process after the other."""

    def __init__(self, world: World, plan: HostPlan, clock: PlaceClock, *, is_remote: bool) -> None:
        self.plan = plan
        self.clock = clock
        self.process: Process | None = None
        self.stalled_until_us = 0
        """Nothing of the process goes on before that."""
        self.starts_us = world.now_us
        """When the next process starts, while there is none."""
        self.is_retired = False
        """It runs nothing more: the log was written by a newer eventq."""
        self.effects: list[Effect] = []
        self.processes: list[str] = []
        """The names of all its processes, one after the other."""
        self._world = world
        self.is_remote = is_remote

    @property
    def name(self) -> str:
        """What it is called."""
        return self.plan.name

    def next_us(self) -> int:
        """When it has something to do."""
        if self.is_retired:
            return NEVER_US
        due_us = self.starts_us if self.process is None else self.process.next_us()
        return max(due_us, self.stalled_until_us)

    def act(self) -> None:
        """Does one of the things that are due."""
        self._world.happenings += 1
        process = self.process
        if process is None:
            self.start()
            return
        try:
            if not process.act():
                self._end_run(process)
        except NodeDiedError:
            self.lose()
        except LogUnavailableError:
            # A run that cannot end as it should ends by an error.
            self.lose()
        except LogTooNewError:
            # So does one that cannot even define what its code says.
            self._retire()

    def start(self) -> None:
        """A new process, which knows nothing but what the log holds."""
        world = self._world
        name = f"{self.name}-{len(self.processes)}"
        self.processes.append(name)
        view = View(world, name, self.clock, is_remote=self.is_remote)
        self.process = Process(world, name, self.plan, self.clock, view)
        self.process.begin_run(self.effects)
        world.tell(f"{name} starts")

    def lose(self) -> None:
        """Its process dies; another one comes some time later."""
        world = self._world
        if self.process is None:
            return
        world.tell(f"{self.process.name} dies")
        world.dead.add(self.process.name)
        runner = self.process.runner
        if runner is not None:
            world.sometimes["crash with leases"] += bool(runner.attempts.held)
            runner.vanish()
        self.process = None
        delay_s = world.chance.pick((0.0, 0.5, 5.0, 45.0))
        self.starts_us = world.now_us + int(delay_s * SECOND_US)

    def call(self, ask: Callable[[Queue], object]) -> object:
        """Has its process ask something of the queue. Raises as that does; see `act`."""
        process = self.process
        assert process is not None, "only a process asks"
        try:
            return ask(process.queue)
        except NodeDiedError:
            self.lose()
            raise
        finally:
            if process.bell.is_rung:
                process.due_us = self._world.now_us

    def _retire(self) -> None:
        self._world.sometimes["stopped by a newer log"] += 1
        self.is_retired = True

    def _end_run(self, process: Process) -> None:
        process.end_run()
        assert process.runner is not None, "it has just ended"
        if isinstance(process.runner.stopping.cause, LogTooNewError):
            self._retire()
        elif self._world.chance.one_in(2):
            self._world.sometimes["run after a run"] += 1
            process.begin_run(self.effects)
        else:
            self.process = None
            self.starts_us = self._world.now_us + SECOND_US
