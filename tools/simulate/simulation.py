"""One simulation: what a seed draws, faults among it; then calm, in which all must drain.

A step is one thing that happens at an instant: a wake-up, the begin or the end of an attempt, a
call, a fault, a start of a process, an append, or a commit that a process hears of. A turn draws
what happens next; where nothing does, time passes.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection

from msgspec import Struct
from msgspec.structs import replace

from eventq.catalog import plan
from eventq.catalog.plan import PORTION
from eventq.core import cascade
from eventq.core.cascade import REVIVED_BYTES
from eventq.core.durations import SECOND_US
from eventq.core.govern import ResumeTasks
from eventq.core.queue_events import Resumed
from eventq.node import commit_plan
from tools.simulate.checks import FASTEST, check_all, open_left
from tools.simulate.clients import Clients
from tools.simulate.faults import Faults
from tools.simulate.folds import check_nodes
from tools.simulate.hosts import Host, HostPlan
from tools.simulate.once import Once
from tools.simulate.workloads import FEATURES, Workloads, lengths_of
from tools.simulate.world import Finding, PlaceClock, World

# Of the turns, so many are faults, and calls of clients.
FAULTS, CALLS = 0.04, 0.25
# No more tasks are made while so many are open.
OPEN_TASKS = 25
# So many turns a step, where little happens.
MOST_TURNS = 4
# What a process does that goes on in the moment in which it is taken for dead.
ROUSED_ACTS = 3
# Turns in which all must have drained.
CALM_TURNS = 20_000
# And so many more for each that is open then: hundreds may have been retried at a rate, and time
# passes slowly again after each of them.
TURNS_A_TASK = 100
# Once nothing was appended about a task in so many calm turns, all come later to what they do: by
# twice as much each time, up to this.
IDLE_TURNS = 16
LONGEST_IDLE_US = 60 * SECOND_US
# So long after a lease time was over, once faults are, another node has noticed it.
LAPSES_US = 2 * SECOND_US
# It is looked this often whether they have.
DRAIN_LOOKS = 8


class Played(Struct, frozen=True):
    """What came of one seed."""

    seed: int
    turns: int
    calm_turns: int
    commits: int
    sometimes: dict[str, int]
    findings: list[Finding]


# Features and calls that say who may run when.
GOVERNING = ("rules", "new_governed", "contend", "rule", "pause")


class Simulation:
    """One seed's hosts, and what happens to them."""

    def __init__(
        self,
        seed: int,
        *,
        without: Collection[str] = (),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """``without``: what is left out of `parts`."""
        commit_plan._ids.seed(seed)  # noqa: SLF001 - else seals would be of chance
        self.world = world = World(seed, tell=tell)
        world.chance.begin_turn(0)
        if world.chance.one_in(4):
            # Who comes first is found in another way where no rule says who may run when.
            without = {*without, *GOVERNING}
            world.sometimes["nothing governed"] += 1
        # A revival of so many bytes is one commit; less than any has makes portions of it.
        self._revived_bytes = world.chance.pick((REVIVED_BYTES, REVIVED_BYTES, 400))
        # As with the tasks that one commit of a change to many is about.
        self._portion = world.chance.pick((PORTION, 1, 3, 10))
        self.workloads = Workloads(world, without=without)
        self.hosts = _hosts(world, self.workloads, without=without)
        self.clients = Clients(world, without=without)
        self.faults = Faults(world, self.hosts, without=without)
        self.turn = 0
        self._orphans: frozenset[int] = frozenset()
        # When none of them may be left.
        self._lapsed_by_us: int | None = None
        self.calm_us = 0
        """When faults ended."""
        self.is_drained = False
        """All has ended that could."""
        self.left: list[int] = []
        """The tasks that should have ended when the calm turns were over, and had not."""
        # All come too late by so much, since nothing is to be done but to wait.
        self._idle_us = 0
        # How much was appended when it was last looked, and in which turn.
        self._appended_count = self._last_turn = 0
        self.drained_seq = 0
        """Up to here followers have had time to come."""
        self._is_interloping = False
        self._once = Once()
        world.interlope, world.rouse = self._interlope, self._rouse
        world.on_commit = self._wake_watchers

    def parts(self) -> list[str]:
        """What can be left out: hosts, features, kinds of faults and of calls."""
        hosts = [host.name for host in self.hosts[1:]]
        return [*hosts, *FEATURES, *self.faults.names, *self.clients.names]

    def play(
        self, steps: int, *, turns: int | None = None, skipped: Collection[int] = ()
    ) -> Played:
        """Does so many steps; then calms down, drains and checks.

        With ``turns`` it takes so many of them instead, whatever happens in each, but for those
        that are skipped.
        """
        cascade.REVIVED_BYTES, plan.PORTION = self._revived_bytes, self._portion
        try:
            with self._once.shared():
                taken, calm_turns = self._pass_turns(steps, turns, skipped)
            return self._judged(taken, calm_turns)
        finally:
            cascade.REVIVED_BYTES, plan.PORTION = REVIVED_BYTES, PORTION
            commit_plan._ids.seed()  # noqa: SLF001 - by chance again
            # A process that goes on has folders of its own.
            self.faults.close()
            for host in self.hosts:
                if host.process is not None and host.process.runner is not None:
                    host.process.runner.vanish()

    def _pass_turns(
        self, steps: int, turns: int | None, skipped: Collection[int]
    ) -> tuple[int, int]:
        """Returns how many turns were taken, and how many calm ones."""
        world, chance, findings = self.world, self.world.chance, self.world.found
        taken = calm_turns = 0
        most = MOST_TURNS * steps if turns is None else turns
        working = [host for host in self.hosts if host.plan.workload is not None]
        try:
            while self.turn < most and (turns is not None or world.happenings < steps):
                if all(host.is_retired for host in working):
                    break
                self.turn = taken = self.turn + 1
                if self.turn not in skipped:
                    chance.begin_turn(self.turn)
                    self._take_turn()
            findings += check_nodes(self)
            self._calm_down()
            calm_turns = self._drain()
        except Exception as error:  # noqa: BLE001 - whatever breaks is a finding
            text = "".join(traceback.format_exception(error)[-6:])
            findings.append(Finding("broke", self.turn, text))
            # Whoever judges must reach the log.
            self.faults.end()
        return taken, calm_turns

    def _judged(self, taken: int, calm_turns: int) -> Played:
        world, findings = self.world, self.world.found
        if not findings and not self.is_drained:
            text = f"{self.left} had not ended after {calm_turns} calm turns"
            findings.append(Finding("drain", len(world.appended), text))
        findings += check_all(self)
        return Played(
            world.seed, taken, calm_turns, len(world.appended), dict(world.sometimes), findings
        )

    def _take_turn(self) -> None:
        draw = self.world.chance.random()
        if draw < FAULTS:
            self.faults.strike()
        elif draw < FAULTS + CALLS:
            self._call()
        else:
            self._go_on()

    def _call(self) -> None:
        host = self.world.chance.pick(self.hosts)
        if host.process is not None and host.stalled_until_us <= self.world.now_us:
            self.clients.act(host, is_full=self._is_full(host))

    def _go_on(self) -> None:
        """Whoever has something to do does it; if nobody has, time passes."""
        world = self.world
        now_us = world.now_us
        dues = [(host.next_us(), host) for host in self.hosts]
        due = [host for at_us, host in dues if at_us <= now_us]
        if due:
            world.chance.pick(due).act()
            return
        next_us = min(at_us for at_us, _ in dues)
        if world.is_calm:
            next_us += self._idle_us
        elif world.chance.one_in(8):
            next_us += int(world.chance.random() * 3 * SECOND_US)
        world.now_us = max(now_us, min(next_us, now_us + 600 * SECOND_US))

    def _interlope(self, name: str) -> None:
        """Another host acts, in the middle of what a process does."""
        others = [
            host
            for host in self.hosts
            if host.process is not None
            and host.process.name != name
            and host.stalled_until_us <= self.world.now_us
        ]
        if not others or self._is_interloping:
            return
        self._is_interloping = True
        try:
            host = self.world.chance.pick(others)
            if host.process is not None and host.process.runner and self.world.chance.one_in(2):
                host.act()
            else:
                self.clients.act(host, is_full=False)
        finally:
            self._is_interloping = False

    def _rouse(self, name: str) -> None:
        """A process that stood still goes on, in the moment in which it is taken for dead."""
        world = self.world
        host = next((h for h in self.hosts if h.process and h.process.name == name), None)
        if host is None or host.stalled_until_us <= world.now_us or self._is_interloping:
            return
        self._is_interloping, before = True, len(world.appended)
        host.stalled_until_us = 0
        try:
            for _ in range(ROUSED_ACTS):
                if host.process is not None and host.process.runner is not None:
                    host.process.wake(world.now_us)
                    host.act()
        finally:
            self._is_interloping = False
        world.sometimes["a sign of life beside a lapse"] += len(world.appended) > before

    def _wake_watchers(self) -> None:
        """A commit is heard of soon, as a rule."""
        world = self.world
        for host in self.hosts:
            if host.process is not None and host.process.runner is not None:
                delay_us = 0 if world.is_calm else world.chance.pick((0, 20_000, SECOND_US))
                world.happenings += 1
                host.process.wake(world.now_us + delay_us)

    @staticmethod
    def _is_full(host: Host) -> bool:
        assert host.process is not None, "its process is asked"
        known = host.process.node._folded.projection  # noqa: SLF001 - a look that reads nothing
        return known is not None and len(known.tasks) > OPEN_TASKS

    # The end.

    def _calm_down(self) -> None:
        """No more faults, and nothing that makes tasks without end."""
        world = self.world
        world.is_calm, self.calm_us = True, world.now_us
        self.faults.end()
        for host in self.hosts:
            if host.process is None and not host.is_retired:
                host.start()
        self._note_orphans()
        if self.faults.has_newer_queue:
            return
        for host in self.hosts:
            if host.process is not None and host.process.runner is not None:
                host.process.runner.defining.define()
            if host.plan.workload is not None:
                # A run that begins from here on must not bring them back.
                host.plan.workload = replace(host.plan.workload, schedules=(), rules=())
        queue = next(host.process.queue for host in self.hosts if host.process is not None)
        for schedule in list(queue.schedules):
            schedule.drop()
        for pause in queue.pauses():
            resuming = ResumeTasks(Resumed(scope=pause.scope))
            queue._node.execute(resuming)  # noqa: SLF001 - any scope, as it stands
        for name in ("l0", "l1", "l2"):
            with queue._node.reading() as projection:  # noqa: SLF001 - as it stands
                per = projection.governing.limits.per_of(name)
            # One that nobody has defined blocks for good, and a rate takes its time.
            queue.set_limit(name, running=2, per=per)
        self.clients.changes.finish_all(queue)
        self.clients.outboxes.drain(queue)

    def _note_orphans(self) -> None:
        """Notes the leases of processes that are gone, and until when they must have lapsed."""
        world = self.world
        live = {host.process.name for host in self.hosts if host.process is not None}
        node = next((h.process.node for h in self.hosts if h.process is not None), None)
        if node is None or self.faults.has_newer_queue:
            return
        with node.reading() as projection:
            gone = [each for name, each in projection.holders.items() if name not in live]
            fences = (projection.tasks[number].fence for each in gone for number in each.tasks)
            self._orphans = frozenset(fences)
            longest_us = max((each.ttl_us for each in gone), default=0)
        if self._orphans:
            self._lapsed_by_us = world.now_us + int(longest_us * FASTEST) + LAPSES_US

    def _judge_orphans(self) -> None:
        """Rule 13: what a dead process held is ready again, in time."""
        world, self._lapsed_by_us = self.world, None
        node = next(host.process.node for host in self.hosts if host.process is not None)
        with node.reading() as projection:
            left = [t.number for t in projection.tasks.values() if t.fence in self._orphans]
        world.sometimes["orphans lapsed in time"] += len(self._orphans) - len(left)
        if left:
            text = f"tasks {left} of processes that are gone have not lapsed in time"
            world.found.append(Finding("late lapse", len(world.appended), text))

    @property
    def are_clocks_right(self) -> bool:
        """Whether the log's stamps can be trusted, but for what clocks differ by a moment."""
        return not any(host.clock.was_wrong for host in self.hosts)

    def _drain(self) -> int:
        """Goes on until nothing is left that can go on; returns how many turns that took."""
        world, begun = self.world, self.turn
        most = CALM_TURNS + TURNS_A_TASK * len(open_left(self))
        while self.turn - begun < most:
            if (self.turn - begun) % DRAIN_LOOKS == 0:
                self.left = open_left(self)
                if not self.left and self._lapsed_by_us is None:
                    self.is_drained = True
                    break
            self._go_on_calmly()
        self.drained_seq = world.appended[-1].commit.last if world.appended else 0
        while not self._have_followed() and self.turn - begun < most + CALM_TURNS:
            self._go_on_calmly()
        return self.turn - begun

    def _go_on_calmly(self) -> None:
        """One turn; the longer nothing but waiting was done, the faster time passes."""
        self.turn += 1
        self.world.chance.begin_turn(self.turn)
        if self._lapsed_by_us is not None:
            self._idle_us = 0
            if self.world.now_us > self._lapsed_by_us:
                self._judge_orphans()
        self._go_on()
        appended = self.world.appended
        new = appended[self._appended_count :]
        if new and any(any(each.commit.tasks) for each in new):
            self._last_turn, self._idle_us = self.turn, 0
        elif self.turn - self._last_turn >= IDLE_TURNS:
            self._last_turn = self.turn
            self._idle_us = min(2 * self._idle_us + SECOND_US, LONGEST_IDLE_US)
        self._appended_count = len(appended)

    def _have_followed(self) -> bool:
        """Whether each follower has come to where all had drained, on one node or another."""
        come: dict[str, int] = {}
        for host in self.hosts:
            if host.is_retired:
                continue
            if host.process is None:
                if host.plan.follows:
                    # It starts again, and goes on.
                    return False
                continue
            for run in host.process.followers:
                if run.is_over:
                    continue
                come[run.follow.name] = max(come.get(run.follow.name, 0), run.done)
        return all(seq >= self.drained_seq for seq in come.values())


def _hosts(world: World, workloads: Workloads, *, without: Collection[str]) -> list[Host]:
    chance = world.chance
    count = 2 + chance.below(3)
    ttl_us = chance.pick((2, 5, 30)) * SECOND_US
    is_remote = chance.one_in(2)
    lengths = lengths_of(world)
    hosts = []
    for index in range(count):
        workers = 1 + chance.below(3)
        # One does nothing but make tasks, where there are many.
        makes_only = index == count - 1 and count > 2
        workload = (
            None
            if makes_only
            else workloads.workload(chance, workers=workers, takes_all=index == 0)
        )
        plan = HostPlan(
            f"n{index}",
            workload,
            [] if makes_only else workloads.follows(chance),
            workers=workers,
            ttl_us=ttl_us,
            lengths=lengths,
        )
        host = Host(world, plan, _clock(world, is_remote=is_remote), is_remote=is_remote)
        if host.name not in without:
            hosts.append(host)
    for host in hosts:
        host.start()
    return hosts


def _clock(world: World, *, is_remote: bool) -> PlaceClock:
    """A clock that is right, or not: by milliseconds, or by an hour where the log corrects it."""
    chance = world.chance
    offset_us, rate = int(chance.random() * 5_000), 1.0
    was_wrong = False
    if chance.one_in(3):
        was_wrong = not is_remote
        rate = 0.9 + chance.random() * 0.2
        world.sometimes["clock drifts"] += 1
    if is_remote and chance.one_in(3):
        offset_us = chance.pick((-3_600, 3_600)) * SECOND_US
        world.sometimes["clock an hour off"] += 1
    elif chance.one_in(6):
        was_wrong = not is_remote
        offset_us = chance.pick((-3_600, 3_600, 20, -90)) * SECOND_US
        world.sometimes["clock wrong on its own"] += 1
    clock = PlaceClock(world, offset_us=offset_us, rate=rate)
    clock.was_wrong = was_wrong
    return clock
