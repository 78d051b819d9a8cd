"""The look around: what the log and the time call for beside the attempts that run.

Leases that were lost, nodes that lapsed, tasks that are due, and how long nothing will happen.
"""

from __future__ import annotations

from collections.abc import Callable

from eventq.core.durations import SECOND_US
from eventq.core.lease import can_lease
from eventq.core.newer import newer_queue
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.errors import WorkersStuckError
from eventq.host.clock import Clock
from eventq.host.logger import SafeLogger
from eventq.host.switching import Switching
from eventq.node.node import Node
from eventq.runner.attempts import LOST, Attempts
from eventq.runner.lapses import LapseWatch
from eventq.runner.options import RunOptions
from eventq.runner.resting import Resting
from eventq.runner.settling import LINGER_S, Settler
from eventq.runner.snapshots import SnapshotKeeper
from eventq.runner.stopping import Stopping
from eventq.runner.stuck import StuckWatch
from eventq.runner.ticking import Ticking
from eventq.runner.unhandled import UnhandledWatch

logger = SafeLogger("eventq.runner")

# Even a busy runner looks this often for cancelled tasks, lapsed nodes and its own renewal.
LOOK_EVERY_S = 0.25
# An attempt that goes on for longer may compute, and then what else comes in should start soon.
LONG_S = 0.1
# After a look at what the last own commit left, the log itself is looked at this soon.
GLANCE_S = 0.005
# Longest wait when nothing is due; bells wake it earlier.
IDLE_S = 60.0
# Tasks held ahead are given back when no worker has become free for this long.
STUCK_S = 0.5


class Lookout:
    """Looks around for one run, and does what it sees to be due."""

    def __init__(
        self,
        node: Node,
        attempts: Attempts,
        settler: Settler,
        stopping: Stopping,
        options: RunOptions,
        *,
        ring: Callable[[], None],
    ) -> None:
        self.looked_s = 0.0
        """When it last looked. Monotonic seconds."""
        self.lapses = LapseWatch()
        workers = sum(pool.workers for pool in attempts.pools)
        self.stuck = StuckWatch(workers=workers, most_s=options.max_stuck_s)
        self.snapshots = SnapshotKeeper(node)
        self.unhandled = UnhandledWatch()
        self.switching = Switching()
        self.resting = Resting(node, attempts, options, ring=ring)
        self.ticking = Ticking(node)
        self._node = node
        self._clock: Clock = node.clock
        self._attempts = attempts
        self._settler = settler
        self._stopping = stopping
        self._options = options

    def is_due(self) -> bool:
        """Whether the last look is so long ago that even a busy run looks again.

        Also where a task may be leased for it meanwhile: before it leases more, it must know.
        """
        return self._node.standby.is_on or self._clock.monotonic() - self.looked_s >= LOOK_EVERY_S

    def stand_down(self) -> None:
        """Has nothing more leased for this run by those who create tasks; takes what was."""
        if self._node.standby.is_on:
            with self._node.reading(as_left=True) as projection:
                self._settler.begin(self._node.standby.take(projection))

    def look(self) -> float | None:
        """Does what the log and the time call for.

        Returns the seconds to wait then (0 for none), or None when there is nothing left to do.
        """
        attempts, settler, stopping = self._attempts, self._settler, self._stopping
        self.resting.end()
        self.looked_s = now_s = self._clock.monotonic()
        self._note_pace(now_s)
        # First all that is to be seen in the projection, then what comes of it.
        with self._node.reading(as_left=settler.as_left) as projection:
            now = self._node.now()
            settler.begin(self._node.standby.take(projection))
            newer = projection.unknown
            lapsed = [] if newer else self._lapsed(projection, now)
            lost = attempts.lost(projection)
            orphans = attempts.orphans(projection, projection.leases_of(self._node.name))
            has_chores = not newer and (
                projection.waits.has_work() or next(projection.past_expiry(now), None) is not None
            )
            has_next = not stopping.asked_count and can_lease(
                projection,
                attempts.wanted(),
                audience=attempts.workload.audience,
                now=now,
            )
            is_over = newer or stopping.asked_count
            ticks = () if is_over else self.ticking.look(projection, now=now)
            is_busy = has_chores or has_next or bool(ticks) or settler.is_due()
            ticks_at = self.ticking.next_instant(projection)
            # It asks each attempt, and who is busy makes no pause.
            pause_s = 0.0 if is_busy else self._pause_s(projection, ticks_at, now=now, now_s=now_s)
            rest = (
                None
                if is_busy
                else self.resting.look(projection, ticks_at, now=now, pause_s=pause_s)
            )
            self.snapshots.look(projection, idle=not (attempts.held or has_next))
            self.unhandled.look(projection, now=now, now_s=now_s, said=settler.has_said(now_s))
        settler.as_left = False
        if newer is not None:
            stopping.give_up(newer_queue(newer))
        for attempt in lost:
            attempts.revoke(attempt, LOST, None)
        attempts.unsettled += orphans
        # First: nobody is judged before the log is known to take appends, or by rules of a newer.
        settler.renew_if_due(now_s, unproven_seq=None if newer else self.lapses.unproven_seq)
        for worker, seen_seq in lapsed:
            settler.lapse(worker, seen_seq=seen_seq)
        if ticks:
            self.ticking.tick(ticks)
            # Its tasks are seen by the next look.
            return 0
        self._unblock(now_s)
        if attempts.strays or self.stuck.strays:
            if self.stuck.look(attempts.strays, now_s):
                stopping.give_up(WorkersStuckError(self.stuck.workers))
            pause_s = min(pause_s, self.stuck.pause_s(now_s))
        heard_s = attempts.hearing.due_s()
        must_say = (heard_s is not None and heard_s <= now_s) or (
            not stopping.asked_count and settler.must_say(now_s)
        )
        if settler.is_due() or has_chores or has_next or must_say:
            settler.settle_and_lease(leases=not stopping.asked_count)
        elif not lapsed:
            if not self.resting.begin(rest):
                return None
            self._stand_by()
            return pause_s
        return 0

    def _note_pace(self, now_s: float) -> None:
        """Whether executors begin what they are given, and whether an attempt takes long."""
        for pool in self._attempts.pools:
            pool.pace.stalled = pool.pace.stalled and pool.is_behind()
        if self._attempts.longest_s(now_s) > LONG_S:
            self.switching.hurry()
        else:
            self.switching.relax()

    def _stand_by(self) -> None:
        """Has a task that is created while the run rests leased for a free worker at once.

        Not where lanes have slots of their own, of which only this run knows the free ones.
        """
        attempts = self._attempts
        wanted = attempts.wanted()
        if self._stopping.asked_count or not isinstance(wanted, Vacancy):
            return
        if (wanted.free or 0) > 0 and not attempts.pools[0].pace.stalled:
            self._node.standby.offer(attempts.workload.audience, self._options.lease_ttl_us)

    def _lapsed(self, projection: Projection, now: int) -> list[tuple[str, int]]:
        """The nodes that have stopped renewing, each with its last sign of life."""
        return self.lapses.look(
            projection.holders,
            me=self._node.name,
            seq=projection.seq,
            # A new look at the clock: reading may have taken long, and what was read is newer.
            monotonic_s=self._clock.monotonic(),
            now=now,
        )

    def _pause_s(
        self, projection: Projection, ticks_at: int | None, *, now: int, now_s: float
    ) -> float:
        """How long nothing will happen that rings no bell."""
        attempts, settler = self._attempts, self._settler
        ends = [now_s + (GLANCE_S if settler.as_left else IDLE_S)]
        instants = (projection.next_instant(), ticks_at)
        # Of what is due already nothing is to be done: a run that stops leases nothing more.
        ends += [now_s + (at - now) / SECOND_US for at in instants if at is not None and at > now]
        if attempts.held:
            if not self.switching.is_quick:
                ends.append(now_s + LOOK_EVERY_S)
            dues = (a.due_s(now=now, monotonic_s=now_s) for a in attempts.held.values())
            ends += [due for due in dues if due is not None]
            ends.append(settler.lease.signed_s + settler.renew_every_s)
            if attempts.unsettled or any(pool.is_quiet() for pool in attempts.pools):
                ends.append(now_s + LINGER_S)
            ends += [pool.progress_s + STUCK_S for pool in attempts.pools if pool.waiting_count()]
        others = len(projection.holders) > (self._node.name in projection.holders)
        if others or attempts.earlier or any(pool.pace.stalled for pool in attempts.pools):
            ends.append(now_s + LOOK_EVERY_S)
        ends += [s for s in (settler.says_s(), attempts.hearing.due_s()) if s is not None]
        if self._stopping.ends_s is not None and not self._stopping.is_forced():
            ends.append(self._stopping.ends_s)
        # At least a millisecond: a timer that fires early must not spin.
        return max(0.001, min(ends) - now_s)

    def _unblock(self, now_s: float) -> None:
        """Gives back what waits behind tasks that turned out slow, so that others can take it."""
        for pool in self._attempts.pools:
            if not pool.waiting_count() or now_s - pool.progress_s < STUCK_S:
                continue
            self._attempts.give_back_of(pool, "all workers are busy")
            pool.pace.measure(now_s - pool.progress_s, 1)
            pool.expect_nothing()
            pool.pace.stalled = pool.is_behind()
            if pool.pace.stalled:
                logger.warning("the event loop is blocked: nothing is leased until it goes on")
