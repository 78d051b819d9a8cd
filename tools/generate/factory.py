"""The maker: nodes that take turns in virtual time, each deciding and appending as real ones do.

Every event comes from the deciding functions on a real projection; nothing here makes up an event,
reads a clock, or draws chance from anything but the seed.
"""

from __future__ import annotations

import heapq
from collections import deque
from math import pi, sin
from random import Random

from msgspec import Struct

from eventq.core.asking import Asking
from eventq.core.command import NEW, NO_PAST, Draft
from eventq.core.commits import Commit, encode_bodies
from eventq.core.create_tasks import creating
from eventq.core.durations import SECOND_US
from eventq.core.events import Leased
from eventq.core.lease import Renew, lease
from eventq.core.manage import CancelTask, RetryTask, UpdateTask
from eventq.core.places import Vacancy
from eventq.core.projection import Projection
from eventq.core.seal import seal_commit
from eventq.core.settle import Lapse, Outcome, settle
from eventq.core.task import REOPENABLE, Task
from eventq.core.values import COMMIT_EVENTS
from eventq.errors import ArgumentError, NotAllowedError
from eventq.eventlog import EventLog, Head
from eventq.node.commit_plan import CommitPlan
from eventq.node.logged_past import LoggedPast
from tools.generate.mix import HOUR_US, MINUTE_US, draw_order, draw_outcome, draw_run_us

LIVE_TASKS = 2_000
NODES = 6
SLOTS = 32
TTL_US = 30 * SECOND_US
RENEW_US = 10 * SECOND_US
# 2026-01-01T00:00:00Z
START_US = 1_767_225_600 * SECOND_US

# Seconds between two turns of a node: never so long that its leases lapse.
TURNS_S = [0.2, 4.0, 12.0]
TURN_WEIGHTS = [30, 45, 25]
BATCHES = [1, 2, 5, 20, 100, 400]
BATCH_WEIGHTS = [30, 15, 20, 20, 10, 5]
# How often in a turn a node falls silent, and a person does something by hand.
SILENCE_SHARE = 0.002
EDIT_SHARE = 0.35
# Final tasks a person may still reopen.
REMEMBERED = 200


class Made(Struct, frozen=True):
    """What a made log holds."""

    tasks: int
    events: int
    commits: int
    pending: int
    kinds: dict[str, int]


class Maker(Struct):
    """A made node: when its turn comes, and the attempts it runs, by the instant they end."""

    worker: str
    turn_at: int
    renewed_at: int = 0
    running: list[tuple[int, int, Outcome]] = []


def generate(
    log: EventLog, *, tasks: int, seed: int = 1, pending: int = 0, live: int = LIVE_TASKS
) -> Made:
    """Fills an empty log with this many tasks, ``pending`` of them still to do at the end.

    Raises ArgumentError for a log that holds something.
    """
    if log.head().seq:
        raise ArgumentError("log", log.url, "an empty namespace")
    factory = Factory(log, tasks=tasks - pending, seed=seed, live=live)
    while not factory.done:
        factory.take_turn()
    factory.leave_pending(pending)
    projection = factory.projection
    return Made(
        tasks=projection.counts["created"],
        events=projection.seq,
        commits=factory.commits,
        pending=projection.pending_count,
        kinds=projection.counts,
    )


class Factory:
    """A log in the making."""

    def __init__(self, log: EventLog, *, tasks: int, seed: int, live: int) -> None:
        self.projection = Projection(log.namespace)
        self.commits = 0
        self.now = START_US
        self._log = log
        self._past = LoggedPast(log)
        self._rng = Random(seed)
        self._left = tasks
        self._live = live
        self._ordered = 0
        self._named = 0
        self._finals: deque[Task] = deque(maxlen=REMEMBERED)
        self._makers = [Maker(self._new_name(), START_US + index) for index in range(NODES)]

    @property
    def done(self) -> bool:
        """Whether all tasks have been created and have come to their end."""
        return self._left == 0 and not self.projection.tasks

    def take_turn(self) -> None:
        """Lets the node whose turn is next make one commit, if it has anything to say."""
        maker = min(self._makers, key=lambda maker: maker.turn_at)
        self.now = max(self.now, maker.turn_at)
        if self._left == 0 and not any(maker.running for maker in self._makers):
            # Everybody waits: on to the instant at which something comes due.
            self.now = max(self.now, self.projection.next_instant() or 0)
        rng = self._rng
        self._commit(self._work_of(maker), maker)
        pause = rng.uniform(0.5, 1.0) * rng.choices(TURNS_S, TURN_WEIGHTS)[0]
        maker.turn_at = self.now + int(pause * SECOND_US)
        if rng.random() < SILENCE_SHARE:
            self._silence(maker)

    def leave_pending(self, count: int) -> None:
        """Creates tasks that nobody runs any more."""
        while count:
            batch = min(count, COMMIT_EVENTS)
            self._left = batch
            self.now += SECOND_US
            self._commit([self._order(batch)])
            count -= batch

    def _work_of(self, maker: Maker) -> list[list[Draft]]:
        """What the node would say now, each part decided on the projection as it stands."""
        projection, now = self.projection, self.now
        due = []
        while maker.running and maker.running[0][0] <= now:
            due.append(heapq.heappop(maker.running))
        free = SLOTS - len(maker.running)
        work = [
            lease(
                projection,
                worker=maker.worker,
                ttl_us=TTL_US,
                wanted=Vacancy(free),
                room=300,
                now=now,
            )
        ]
        touched = {number for number, _ in work[0]}
        for entry in due:
            outcome = entry[2]
            if outcome.task in touched:
                # A late outcome of a task that is leased in this commit waits for the next.
                heapq.heappush(maker.running, entry)
                continue
            touched.add(outcome.task)
            work.append(settle(projection, [outcome], worker=maker.worker, now=now))
        work += self._lapses(maker)
        if now - maker.renewed_at >= RENEW_US:
            work.append(Renew(maker.worker, TTL_US).decide(projection, self._past, now).events)
            maker.renewed_at = now
        if self._rng.random() < EDIT_SHARE:
            work.append(self._edit())
        if self._left and (wanted := self._wanted()) > 0:
            [batch] = self._rng.choices(BATCHES, BATCH_WEIGHTS)
            work.append(self._order(min(batch, wanted, self._left)))
        return work

    def _lapses(self, judge: Maker) -> list[list[Draft]]:
        found = []
        for worker, holder in self.projection.holders.items():
            if worker != judge.worker and holder.seen_at + TTL_US < self.now:
                lapse = Lapse(worker, holder.seen_seq, room=100)
                found.append(lapse.decide(self.projection, self._past, self.now).events)
        return found

    def _edit(self) -> list[Draft]:
        """What people do by hand: reopen, cancel, hurry on, update."""
        tasks, finals, rng = self.projection.tasks, self._finals, self._rng
        chance = rng.random()
        if chance < 0.2 and finals:
            task = finals[rng.randrange(len(finals))]
            finals.remove(task)
            return RetryTask(Asking("ada@desk")).events(task, self.projection, NO_PAST, self.now)
        if not tasks:
            return []
        try:
            return self._edited(tasks[rng.choice(list(tasks))], chance)
        except (NotAllowedError, ArgumentError):
            return []

    def _edited(self, task: Task, chance: float) -> list[Draft]:
        if chance < 0.5:
            return CancelTask(Asking("ada@desk", "ordered by mistake")).events(task, self.now)
        if chance < 0.7:
            return RetryTask(Asking("bob@desk")).events(task, self.projection, NO_PAST, self.now)
        edit = UpdateTask(
            priority=self._rng.choice([0, 3, 7]) if chance < 0.9 else None,
            tags_json=b'{"kind":"mail","urgent":"yes"}' if chance > 0.85 else None,
            scheduled_at=self.now + self._rng.randrange(MINUTE_US) if chance > 0.95 else None,
            # By the same draw, so that nothing else of a generated log changes.
            lane="heavy" if 0.75 < chance < 0.85 else "default" if chance < 0.75 else None,
            asking=Asking("ada@desk"),
        )
        return edit.events(task, self.now)

    def _wanted(self) -> int:
        """How many more tasks there should be now: arrivals come and go in waves of two hours."""
        wave = (1 + sin((self.now - START_US) * pi / HOUR_US)) / 2
        return int(self._live * (0.1 + 0.9 * wave)) - len(self.projection.tasks)

    def _order(self, count: int) -> list[Draft]:
        orders = []
        for _ in range(count):
            self._ordered += 1
            orders.append(draw_order(self._rng, self._ordered, self.now))
        return creating(orders).decide(self.projection, self._past, self.now).events

    def _silence(self, maker: Maker) -> None:
        """The node stops renewing: it wakes too late, or is replaced by another process."""
        maker.turn_at += self._rng.randrange(TTL_US, 3 * TTL_US)
        if self._rng.random() < 0.5:
            maker.worker = self._new_name()
            maker.running = []

    def _new_name(self) -> str:
        self._named += 1
        host = (self._named - 1) % NODES + 1
        return f"host{host}-{1_000 + 7 * self._named}-{self._rng.getrandbits(32):08x}"

    def _commit(self, work: list[list[Draft]], maker: Maker | None = None) -> None:
        planned: list[Draft] = []

        def decide(head: Head) -> Commit | None:
            plan, planned[:] = self._plan(head, work)
            if not plan.bodies:
                return None
            return seal_commit(
                commit_id=f"{self._rng.getrandbits(128):032x}",
                first=head.seq + 1,
                at=self.now,
                prev=head.seal,
                tasks=plan.tasks,
                keys=plan.keys,
                bodies=plan.bodies,
            )

        commit = self._log.append_next(decide)
        if commit is not None:
            self.commits += 1
            self._learn(planned, self.projection.apply(commit), maker)

    def _plan(self, head: Head, work: list[list[Draft]]) -> tuple[CommitPlan, list[Draft]]:
        plan, planned = CommitPlan(head, self.now), []
        for drafts in work:
            texts = encode_bodies([body for _, body in drafts])
            if drafts and plan.add(drafts, texts) is not None:
                planned += drafts
        return plan, planned

    def _learn(self, drafts: list[Draft], after: list[Task | None], maker: Maker | None) -> None:
        """Starts the attempts leased, counts the tasks created, remembers some that are final."""
        self._finals.extend(task for task in after if task and task.recorded_state in REOPENABLE)
        for (_, body), task in zip(drafts, after, strict=True):
            if type(body) is Leased and task is not None and maker is not None:
                end = self.now + draw_run_us(self._rng, task.tags_json)
                outcome = draw_outcome(self._rng, task.number, task.fence)
                heapq.heappush(maker.running, (end, task.fence, outcome))
        self._left -= sum(number == NEW for number, _ in drafts)
