"""What a run appends: outcomes with the next leases, signs of life, the lapses of other nodes.

Each is one command, which decides at the moment of its commit. What the commit says is counted and
reported here, once the log holds it.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.durations import SECOND_US
from eventq.core.events import Cancelled, Completed, Expired, Failed, Leased, Refused, Released
from eventq.core.lease import Leave, Renew
from eventq.core.new_task import event_count
from eventq.core.new_task import size_bytes as order_bytes
from eventq.core.places import Vacancy
from eventq.core.queue_events import Joined
from eventq.core.settle import Lapse, Outcome, SettleAndLease
from eventq.core.task import Task
from eventq.core.values import COMMIT_BYTES, COMMIT_EVENTS, ERROR_BYTES
from eventq.handlers.telling import told_bytes
from eventq.host.logger import SafeLogger
from eventq.node.node import Node
from eventq.node.waiting_line import Committed
from eventq.runner import news
from eventq.runner.attempt import Attempt, LeaseTime
from eventq.runner.attempts import Attempts
from eventq.runner.options import RunOptions
from eventq.runner.pacing import BLOCK
from eventq.runner.pool import Pool

logger = SafeLogger("eventq.runner")

# An outcome waits at most this long for others to share its commit, and only while workers
# have tasks to go on with.
LINGER_S = 0.010
# Outcomes are cut into commits of about this many bytes, well under the cap of a commit, and of so
# many events. One that makes tasks may be larger by itself.
SETTLE_BYTES = 512 * 1024
SETTLE_EVENTS = 700
# All but leases: what outcomes leave of it is for what attempts tell that go on.
FULL_BYTES = COMMIT_BYTES - 64 * 1024
# A node says this often what it can run; one that has not for five minutes is taken for dead.
JOIN_EVERY_S = 60.0
FULL = Vacancy(0, 0)
LAPSED_LEASES = "node %(node)s stopped renewing; leases of it that lapsed: %(attempts)s"

COUNTED = {
    kind: kind.__name__.lower()
    for kind in (Completed, Failed, Cancelled, Released, Refused, Expired)
}


class Settler:
    """Settles the attempts of one run and leases the next, on one node."""

    def __init__(self, node: Node, attempts: Attempts, options: RunOptions) -> None:
        self.counts = dict.fromkeys(COUNTED.values(), 0)
        """How many attempts ended in each way; ``expired`` counts tasks."""
        self.renew_every_s = options.lease_ttl_us / SECOND_US / 3
        """Renewing three times within a ttl bears two that come late."""
        self.lease = LeaseTime(options.lease_ttl_us / SECOND_US)
        self.as_left = False
        """The projection stands where the last commit of this run left it."""
        self._node = node
        self._attempts = attempts
        self._clock = node.clock
        self._chance = options.chance
        self._ttl_us = options.lease_ttl_us
        self._settled_s = 0.0
        # When the node last said what it can run, and what. Monotonic seconds.
        self._said: tuple[float, Joined] | None = None

    def is_due(self) -> bool:
        """Whether outcomes should be committed now: workers are, or will soon be, out of tasks."""
        if not self._attempts.unsettled:
            return False
        if any(pool.is_low() for pool in self._attempts.pools):
            return True
        return self._clock.monotonic() - self._settled_s >= LINGER_S

    def settle_and_lease(self, *, leases: bool = True) -> None:
        """Commits the outcomes of the last tasks together with the leases of the next."""
        held = self._attempts
        batch = _batch(held.unsettled)
        # Only a failure needs chance, for the jitter of its backoff.
        outcomes = [
            each if each.error is None else replace(each, draw=self._chance())
            for each in batch.outcomes
        ]
        begun_s = self._clock.monotonic()
        heard = held.hearing.take(
            begun_s, most_events=batch.left_events, most_bytes=batch.left_bytes
        )
        command = SettleAndLease(
            self._node.name,
            outcomes,
            self._ttl_us,
            held.wanted() if leases else FULL,
            held.workload.audience,
            self._joined(begun_s) if leases else None,
            tuple((each.telling.number, body) for each in heard for body in each.bodies),
            held.in_lanes() if leases else (),
        )
        committed = self._node.execute(command)
        del held.unsettled[: len(outcomes)]
        self._settled_s = self._clock.monotonic()
        held.hearing.settle(heard, begun_s)
        self._take_in(committed, begun_s)

    def _take_in(self, committed: Committed[None], begun_s: float) -> None:
        """Counts and reports what the log holds now, and begins what is leased."""
        self.as_left = bool(committed.events)
        leased: list[Task] = []
        is_news, completed_count = False, 0
        for (_, body), task in zip(committed.events, committed.tasks, strict=True):
            kind = type(body)
            if kind is Leased:
                assert task is not None
                leased.append(task)
            elif type(body) is Completed and body.result_missing is None:
                # So do most tasks end, and there is nothing to report.
                completed_count += 1
            elif type(body) is Joined:
                # A log that is ahead of the clock says when: that is no part of what the node is.
                self._said = begun_s, replace(body, decided_at=None)
            elif kind in COUNTED:
                is_news = True
                if type(body) is Cancelled:
                    if body.by is None:
                        # The end of another task has cancelled it: no attempt has ended.
                        continue
                    # A worker's Cancel is a failure in the log, right before this event.
                    self.counts["failed"] -= 1
                self.counts[COUNTED[kind]] += 1
        self.counts["completed"] += completed_count
        if leased:
            # Other nodes may see the sign of life before this one hears of its commit.
            self._begin(leased, signed_s=begun_s)
        if is_news:
            news.report(self._node, committed)

    def begin(self, leased: list[Task]) -> None:
        """Begins the tasks that were leased as they were created, for workers that are free.

        Not where that is longer ago than the leases last, since the log was away: a look gives back
        what nobody has begun.
        """
        leased_s = self._node.standby.leased_s
        if leased and self._clock.monotonic() - leased_s < self._ttl_us / SECOND_US:
            self._begin(leased, signed_s=leased_s)

    def _begin(self, leased: list[Task], *, signed_s: float) -> None:
        self.lease.signed_s = signed_s
        attempts: list[Attempt] = []
        try:
            attempts.extend(self._attempts.hold(task, self.lease) for task in leased)
        finally:
            # Those before one whose results the log does not give are in the list, and held: a look
            # gives back only what is not.
            self._submit(attempts)

    def _submit(self, attempts: list[Attempt]) -> None:
        by_pool: dict[Pool, list[Attempt]] = {}
        for attempt in attempts:
            by_pool.setdefault(self._attempts.pool_of(attempt.task), []).append(attempt)
        for pool, own in by_pool.items():
            if not pool.waiting_count():
                pool.progress_s = self._clock.monotonic()
            pool.submit(own)

    def has_said(self, now_s: float) -> bool:
        """Whether the node has said lately what it can run, or has nothing to say.

        Where time has made a leap, the log may have forgotten what it said before.
        """
        if self._said is None:
            return self._attempts.workload.is_plain
        return now_s - self._said[0] < JOIN_EVERY_S

    def must_say(self, now_s: float) -> bool:
        """Whether the node has not said for a while what it can run, or can run something else."""
        return self._joined(now_s) is not None

    def says_s(self) -> float | None:
        """When the node will say again what it can run; None for never. Monotonic seconds."""
        return None if self._said is None else self._said[0] + JOIN_EVERY_S

    def leave(self) -> None:
        """Says that the node runs nothing more, where it has said what it can run."""
        if self._said is not None:
            self._said = None
            self._node.execute(Leave(self._node.name))

    def _joined(self, now_s: float) -> Joined | None:
        """What the node has to say of itself in its next commit, if anything."""
        workload = self._attempts.workload
        if workload.is_plain:
            return None
        joined = workload.joined(
            self._node.name, ttl_us=self._ttl_us, taken=self._attempts.taken_by_strays()
        )
        if self._said is not None:
            said_s, before = self._said
            if joined == before and now_s - said_s < JOIN_EVERY_S:
                return None
        return joined

    def settle_late(self) -> None:
        """Keeps what cancelled workers returned all the same: it is evidence."""
        self._attempts.collect()
        while self._attempts.unsettled:
            # No worker is left for a task that has become ready meanwhile.
            self.settle_and_lease(leases=False)

    def renew_if_due(self, now_s: float, *, unproven_seq: int | None) -> None:
        """Gives a sign of life when it is time, or when the log must be proven to take one."""
        due = self._attempts.held and now_s - self.lease.signed_s >= self.renew_every_s
        if due or unproven_seq is not None:
            self._node.execute(Renew(self._node.name, self._ttl_us, unproven_seq))
            self.lease.signed_s = now_s

    def lapse(self, worker: str, *, seen_seq: int) -> None:
        """Fails the attempts of a node that stopped renewing."""
        committed = self._node.execute(Lapse(worker, seen_seq))
        if committed.events:
            failed = sum(type(body) is Failed for _, body in committed.events)
            values = {"node": worker, "attempts": failed}
            logger.warning(LAPSED_LEASES, values, extra=values)
            self.counts["expired"] += sum(type(body) is Expired for _, body in committed.events)
            news.report(self._node, committed)


class Batch(Struct, frozen=True):
    """Outcomes that one commit settles, and the room that they leave."""

    outcomes: list[Outcome]
    left_events: int
    left_bytes: int


def _batch(outcomes: list[Outcome]) -> Batch:
    """The first outcomes that fit into one commit beside a block of leases."""
    size_bytes = events = count = 0
    for outcome in outcomes[:BLOCK]:
        more_bytes, more_events = _size_of(outcome)
        is_full = size_bytes + more_bytes > SETTLE_BYTES or events + more_events > SETTLE_EVENTS
        if is_full and count:
            break
        size_bytes += more_bytes
        events += more_events
        count += 1
    return Batch(outcomes[:count], COMMIT_EVENTS - events, FULL_BYTES - size_bytes)


def _size_of(outcome: Outcome) -> tuple[int, int]:
    """How many bytes and events an outcome takes at the most."""
    size_bytes = 0 if outcome.result_json is None else len(outcome.result_json)
    events = 1
    if outcome.error is not None:
        size_bytes += ERROR_BYTES
        events = 2
    if outcome.told or outcome.children:
        size_bytes += told_bytes(outcome.told) + sum(map(order_bytes, outcome.children))
        events += len(outcome.told) + sum(map(event_count, outcome.children))
    return size_bytes, events
