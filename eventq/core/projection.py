"""The projection: all open tasks by number, with the indexes that say which runs next.

It alone owns its tasks and changes them, and only by applying events; it reads no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import repeat

from eventq.core.audience import Audience
from eventq.core.commits import (
    KIND_OF,
    KINDS,
    OF_BULKS,
    OF_RULES,
    OF_SCHEDULES,
    AnyBody,
    AnyRule,
    Commit,
    Unknown,
    decode_at,
    time_of,
)
from eventq.core.events import Completed, Created, Leased, Refused, Retried, Revived, Told, Updated
from eventq.core.flows import Flows
from eventq.core.governing import Governing
from eventq.core.holders import Holders
from eventq.core.members import Follower, Member, Members
from eventq.core.moves import change, check_fence, create, lease, reopen, wait_over
from eventq.core.policy import SharedPolicies
from eventq.core.queue_events import Followed, Joined, Left, Renewed, Unfollowed
from eventq.core.schedules import Schedules
from eventq.core.seal import genesis
from eventq.core.task import FINAL, Route, Task, TaskState
from eventq.core.unique import uniques_of
from eventq.core.values import NODE
from eventq.core.waits import TaskWaits
from eventq.errors import LogCorruptError

SCHEDULED, LEASED, UNKNOWN = TaskState.SCHEDULED, TaskState.LEASED, TaskState.UNKNOWN
WAITING = TaskState.WAITING

# To be raised whenever equal logs fold to something else than before, so that no older snapshot is
# built upon.
FOLD_VERSION = 10

# Where a log is ahead of the clock, one node may decide a little earlier than another was asked
# about. Further back than this, the indexes go back as well.
NEAR_US = 60_000_000
# The kinds that end a task.
END_KINDS = ("completed", "expired", "cancelled")
# Events of a commit that are quicker counted one by one than by a counter, which has to be made.
FEW = 16


class Projection:
    """The fold of a namespace's events up to position `seq`.

    Deterministic: equal logs give equal projections, whatever the batches.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.seq = 0
        self.at = 0
        self.decided_at = 0
        """The instant that the last commit was decided by: `at`, or earlier (see `time_of`)."""
        self.seal = genesis(namespace)
        self.counts = dict.fromkeys(sorted(KINDS), 0)
        self.reopened = {"expired": 0, "cancelled": 0}
        self.tasks: dict[int, Task] = {}
        self.unknown: tuple[int, str] | None = None
        """The first event of a kind that only a newer eventq knows, about the queue or a node."""
        self.members = Members()
        """The nodes that have joined."""
        self.followers: dict[str, Follower] = {}
        """Who follows the log, by name."""
        self.schedules = Schedules()
        """What makes tasks at due instants."""
        self.unknown_count = 0
        """Open tasks of which a newer eventq alone knows where they stand."""
        self.strangers: dict[int, tuple[int, str]] = {}
        """Tasks that a newer eventq made, or touched and that have ended, by number, with the
        position and kind of its event. They are not open here, whatever follows."""
        self.strange_ends = dict.fromkeys(END_KINDS, 0)
        """How often strangers have ended since."""
        self.waits = TaskWaits(self.tasks)
        """The tasks that wait for others."""
        self.flows = Flows(self.tasks, self.waits)
        """The flows that go on."""
        # The waits' own, for the hot loop.
        self._awaited = self.waits.by_predecessor
        self.governing = Governing(self.tasks)
        """Limits, pauses and turns: who may run when."""
        self._pending = self.governing.pending
        self._leases = Holders()
        self.holders = self._leases.by_name
        """The nodes that hold leases, by name."""
        self._keys: dict[str, int] = {}
        self._uniques: dict[str, int] = {}
        self._policies = SharedPolicies()
        # What the commit that is applied has leased, as far as it is still in the index.
        self._leased: list[Task] = []
        self._is_applied = True

    def apply(
        self,
        commit: Commit,
        *,
        collect: bool = True,
        bodies: list[AnyBody | Unknown] | None = None,
    ) -> list[Task | None]:
        """Folds one commit; returns the task after each event (None for events of a node).

        Without ``collect`` it returns nothing, and leaves out final tasks, which are soon
        forgotten. ``bodies`` are the commit's own, where the caller has decoded them. Raises
        LogCorruptError when the commit does not follow this projection or makes an illegal move.
        The seal is not computed here (see `replay.fold`).
        """
        bodies = self._bodies_of(commit, bodies)
        tasks = self.tasks
        # What was decided by another instant than its stamp goes by that one in all things.
        at = time_of(commit.at, bodies[0]) if bodies else commit.at
        pending, leases, governing = self._pending, self._leases, self.governing
        is_governed = governing.is_on
        let_go = self._let_go if is_governed and pending.is_sorted else leases.let_go
        self._is_applied = False
        if at == commit.at or pending.advanced_to - at < NEAR_US:
            pending.advance_to(at)
        else:
            pending.go_back_to(at)
        if is_governed:
            governing.pauses.forget(at)
        after: list[Task | None] = []
        leased = self._leased
        # The loop that every node and every replay spends its time in, hence no call too many.
        for seq, (number, body) in enumerate(zip(commit.tasks, bodies, strict=True), commit.first):
            task = tasks.get(number)
            if task is None:
                after.append(self._apply_to_none(seq, at, number, body))
            elif type(body) is Leased and task.recorded_state is SCHEDULED:
                changed = tasks[number] = lease(task, seq, at, body)
                leased.append(task)
                holder = leases.hold(number, body.worker)
                holder.seen_seq, holder.seen_at, holder.ttl_us = seq, at, body.ttl_us
                after.append(changed)
            elif type(body) is Completed and task.recorded_state is LEASED:
                if collect:
                    after.append(change(task, seq, at, body))
                else:
                    check_fence(task, seq, body.fence)
                let_go(task)
                self._forget(task, body)
            else:
                after.append(self._replace(task, self._changed(task, seq, at, body), body))
        if leased:
            self._take_leased(at)
        if governing.is_on is not is_governed and pending.is_sorted:
            governing.recount()
        self._count(bodies)
        self.seq = commit.first + len(bodies) - 1
        self.at = commit.at
        self.decided_at = at
        self.seal = commit.seal
        self._is_applied = True
        return after if collect else []

    def _take_leased(self, at: int) -> None:
        """Takes what a commit has leased so far out of what is pending."""
        self._pending.remove_leased(self._leased)
        if self.governing.is_on:
            self.governing.leased(self._leased, at)
        self._leased.clear()

    def suspend_indexes(self) -> None:
        """Stops keeping the sorted indexes, for a long fold; ``rebuild_indexes`` ends it."""
        self._pending.suspend()

    def rebuild_indexes(self) -> None:
        """Sorts the indexes anew from the tasks: O(n log n), far less than n insertions."""
        self.governing.recount()
        self._pending.rebuild(
            (t for t in self.tasks.values() if t.recorded_state is SCHEDULED),
            governed=self.governing.is_on,
        )

    @property
    def is_whole(self) -> bool:
        """False in the middle of a change, and for good where one was broken off there."""
        is_tried = self.governing.is_tried
        return self._is_applied and self._pending.is_sorted and not is_tried

    @property
    def advanced_to(self) -> int:
        """The time asked about last."""
        return self._pending.advanced_to

    def rebuild(self) -> None:
        """Derives anew from the tasks all that is kept beside them; O(n log n)."""
        tasks = self.tasks.values()
        self._keys = {t.caller_key: t.number for t in tasks if t.caller_key is not None}
        self._uniques = uniques_of(tasks)
        self._leases.leased_count = sum(t.recorded_state is LEASED for t in tasks)
        self.governing.rebuild()
        self.unknown_count = sum(t.recorded_state is UNKNOWN for t in tasks)
        self.rebuild_indexes()

    def advance_to(self, now: int) -> None:
        """Makes tasks ready whose instant has come by then, and no others; O(log n) for each.

        It goes back in time only where a clock was wrong.
        """
        self._pending.advance_to(now)
        self._pending.go_back_to(now)

    def ready(self, now: int, audience: Audience | None = None) -> Iterator[Task]:
        """Pending tasks whose instant has come, in dispatch order; also those past expiry.

        Only those that the audience may run; None stands for all.
        """
        self.advance_to(now)
        return (self.tasks[number] for _, _, number in self._pending.first_ready(audience))

    def waiting(self) -> Iterator[Task]:
        """Pending tasks whose instant is to come, the next one first; call `advance_to` before."""
        return (self.tasks[number] for _, number in self._pending.waiting)

    def leased(self) -> Iterator[Task]:
        """Tasks that some node holds, in the order of their leases; O(n log n) in those."""
        held = (self.tasks[number] for number in self._leases.numbers())
        return iter(sorted(held, key=lambda task: task.fence))

    def ready_count(self, now: int) -> int:
        """How many pending tasks have their instant behind them."""
        self.advance_to(now)
        return self._pending.ready_count()

    def ready_routes(self, now: int) -> dict[Route, int]:
        """How many ready tasks there are of each route that has any."""
        self.advance_to(now)
        return self._pending.ready_routes()

    def oldest_ready(self, now: int) -> dict[Route, int]:
        """Since when the oldest ready task of each route may run, paused ones left out."""
        self.advance_to(now)
        return self._pending.oldest_ready()

    def scheduled_count(self, now: int) -> int:
        """How many pending tasks have their instant ahead of them."""
        self.advance_to(now)
        return len(self._pending.waiting)

    def past_expiry(self, now: int) -> Iterator[Task]:
        """Pending and waiting tasks to expire, the longest overdue first."""
        expiring: Iterable[tuple[int, int]] = self._pending.expiring
        if self.waits.expiring:
            expiring = merge(expiring, self.waits.expiring)
        for expires_at, number in expiring:
            if expires_at > now:
                return
            yield self.tasks[number]

    def next_instant(self) -> int | None:
        """The earliest coming instant at which a task becomes ready or expires.

        Or a rate gives room that is waited for, or a pause ends.
        """
        instant = self._pending.next_instant()
        if not self.waits.expiring:
            return instant
        expires_at = self.waits.expiring[0][0]
        return expires_at if instant is None else min(instant, expires_at)

    def number_of(self, key: str) -> int | None:
        """The number of the open task with this caller's key; O(1)."""
        return self._keys.get(key)

    def holder_of(self, unique: str) -> Task | None:
        """The open task with this unique value; O(1), unless a newer eventq has touched tasks."""
        if (number := self._uniques.get(unique)) is not None:
            return self.tasks[number]
        if not self.unknown_count:
            return None
        # Such a task may be open: to find it is to make no second one beside it.
        return next((t for t in self.tasks.values() if t.unique == unique), None)

    def leases_of(self, worker: str) -> set[int]:
        """Numbers of the tasks the node holds now. The set is live: do not keep or change it."""
        return self._leases.tasks_of(worker)

    def alive_members(self, now: int) -> list[Member]:
        """The nodes that have joined and run: they hold leases, or have joined lately."""
        alive = self.members.alive(now)
        return [
            member
            for name, member in self.members.by_name.items()
            if name in alive or name in self.holders
        ]

    @property
    def pending_count(self) -> int:
        """Open tasks that no node holds and nothing but their instant holds up."""
        waiting_count = len(self.waits.by_task)
        return len(self.tasks) - self._leases.leased_count - self.unknown_count - waiting_count

    @property
    def leased_count(self) -> int:
        """Open tasks that some node holds."""
        return self._leases.leased_count

    def retrying_count(self, audience: Audience | None = None) -> int:
        """Pending tasks that have been attempted before; only those that the audience may run."""
        return sum(
            count
            for route, count in self._pending.retrying.items()
            if audience is None or audience.accepts(route)
        )

    def final_counts(self) -> dict[str, int]:
        """How many tasks are in each final state now."""
        counts = self.counts
        strange = self.strange_ends
        return {
            "completed": counts["completed"] - strange["completed"],
            "expired": counts["expired"] - self.reopened["expired"] - strange["expired"],
            "cancelled": counts["cancelled"] - self.reopened["cancelled"] - strange["cancelled"],
        }

    def check(self) -> None:
        """Asserts every invariant of the indexes by a recount; O(n log n), for tests."""
        pending = [t for t in self.tasks.values() if t.recorded_state is SCHEDULED]
        leased = [t for t in self.tasks.values() if t.recorded_state is LEASED]
        self._pending.check(pending)
        unknown = [t for t in self.tasks.values() if t.recorded_state is UNKNOWN]
        assert self.unknown_count == len(unknown)
        self.waits.check()
        self.flows.check()
        waiting_count = len(self.waits.by_task)
        assert len(pending) + len(leased) + len(unknown) + waiting_count == len(self.tasks)
        assert all(t.number == number for number, t in self.tasks.items())
        tasks = self.tasks.values()
        assert self._keys == {t.caller_key: t.number for t in tasks if t.caller_key is not None}
        assert self._uniques == uniques_of(tasks)
        self._leases.check(leased)
        self.schedules.check()
        self.governing.check(leased)
        final = sum(self.final_counts().values())
        assert self.counts["created"] == len(self.tasks) + final

    def _bodies_of(
        self, commit: Commit, bodies: list[AnyBody | Unknown] | None
    ) -> list[AnyBody | Unknown]:
        """The bodies of a commit that is right behind."""
        if commit.first != self.seq + 1:
            raise LogCorruptError(commit.first, f"follows position {self.seq}")
        if commit.at < self.at:
            raise LogCorruptError(commit.first, "time runs backwards")
        return decode_at(commit.first, commit.bodies) if bodies is None else bodies

    def _apply_to_none(
        self, seq: int, at: int, number: int, body: AnyBody | Unknown
    ) -> Task | None:
        """Folds an event that is not about an open task."""
        if type(body) is Created:
            self._check_free(seq, body.unique)
            route = self.governing.route_for(body)
            shared = self._policies.share(body.policy), route
            task = create(self.namespace, seq, at, body, shared)
            self._add(seq, task)
            if task.rarity is not None and task.flow is not None:
                self.flows.note_created(task)
            return task
        if number == NODE:
            self._apply_to_node(seq, at, body)
            return None
        if number in self.strangers or type(body) is Unknown:
            self._apply_to_stranger(seq, number, body)
            return None
        return self._apply_to_final(seq, at, number, body)

    def _apply_to_stranger(self, seq: int, number: int, body: AnyBody | Unknown) -> None:
        """Folds an event about a task of which only a newer eventq knows what it is."""
        if type(body) is not Unknown:
            if (kind := KIND_OF[type(body)]) in END_KINDS:
                self.strange_ends[kind] += 1
        elif not body.skip:
            self.strangers.setdefault(number, (seq, body.kind))

    def _apply_to_node(self, seq: int, at: int, body: AnyBody | Unknown) -> None:
        """Folds an event about a node or the queue."""
        if type(body) is Renewed:
            self._leases.note_sign(body.worker, seq, at, body.ttl_us)
        elif isinstance(body, (Joined, Left)):
            self.members.apply(seq, at, body)
        elif type(body) is Followed:
            self.followers[body.follower] = Follower(body, seq, at)
        elif type(body) is Unfollowed:
            self.followers.pop(body.follower, None)
        elif isinstance(body, OF_SCHEDULES):
            self.schedules.apply(seq, at, body)
        elif isinstance(body, (Told, *OF_BULKS)):
            return
        elif isinstance(body, OF_RULES):
            self._apply_to_rules(seq, at, body)
        elif type(body) is not Unknown:
            raise LogCorruptError(seq, f"{body.kind} names no task")
        elif not body.skip:
            self.unknown = self.unknown or (seq, body.kind)

    def _apply_to_rules(self, seq: int, at: int, body: AnyRule) -> None:
        """Folds an event about who may run when; what was leased before it went by the others."""
        if self._leased:
            self._take_leased(at)
        self.governing.apply(seq, at, body)

    def _apply_to_final(self, seq: int, at: int, number: int, body: AnyBody) -> Task | None:
        if type(body) is Refused or isinstance(body, Told):
            return None
        if type(body) is Revived:
            self.waits.reviving.discard(number)
            return None
        if type(body) is not Retried or body.reopens is None:
            raise LogCorruptError(
                seq, f"task {number} is not open, so {body.kind} is no legal move"
            )
        self._check_free(seq, body.reopens.unique)
        route = self.governing.route_for(body.reopens)
        task = reopen(self.namespace, number, seq, at, body, route=route)
        self.reopened[body.reopens.was] += 1
        if task.flow is not None:
            task = self.flows.note_reopened(task)
        self._add(seq, task)
        self.waits.note_reopened(number)
        if body.revives:
            self.waits.reviving.add(number)
        return task

    def _check_free(self, seq: int, unique: str | None) -> None:
        if unique is not None and (there := self._uniques.get(unique)) is not None:
            raise LogCorruptError(seq, f"task {there} is open and has the same unique value")

    def _add(self, seq: int, task: Task) -> None:
        self._remember(task)
        if task.recorded_state is WAITING:
            self.waits.add(seq, task)
        else:
            self._pending.add(task)

    def _start(self, numbers: Iterable[int]) -> None:
        """The wait of these tasks is over."""
        for number in numbers:
            if number not in self.waits.by_task:
                # A newer eventq has touched it.
                continue
            self.waits.remove(self.tasks[number])
            task = self.tasks[number] = wait_over(self.tasks[number])
            self._pending.add(task)

    def _let_go(self, task: Task) -> None:
        """A leased task is leased no more."""
        self._leases.let_go(task)
        if task.route.buckets:
            self.governing.let_go(task)

    def _changed(self, task: Task, seq: int, at: int, body: AnyBody | Unknown) -> Task:
        """The task after an event; its lane, share or bucket may be another one from then on."""
        changed = change(task, seq, at, body)
        if type(body) is Updated:
            changed = self.governing.edited(changed)
            self.waits.relabel(task, changed)
        return changed

    def _replace(self, old: Task, new: Task, body: AnyBody | Unknown) -> Task:
        """Puts a changed task in the place of what it was; not for leases, see `apply`.

        Returns the task as it is then.
        """
        if old is new:
            if type(body) is Revived:
                self.waits.reviving.discard(new.number)
            return new
        if old.recorded_state is new.recorded_state and old.recorded_state is not SCHEDULED:
            # The attempt has told something and goes on, or a waiting task was edited.
            self.tasks[new.number] = new
            if type(body) is Updated and body.waives and self.waits.waive(new.number):
                self._start([new.number])
            return self.tasks[new.number]
        self._take_out(old)
        self.unknown_count += (new.recorded_state is UNKNOWN) - (old.recorded_state is UNKNOWN)
        if new.recorded_state is UNKNOWN:
            self._free(old)
        if new.recorded_state in FINAL:
            self._forget(new, body)
            if new.recorded_state is not TaskState.COMPLETED:
                self.waits.reviving.discard(new.number)
            if new.newer is not None:
                self.strangers[new.number] = new.newer
            return new
        self.tasks[new.number] = new
        if new.recorded_state is SCHEDULED:
            self._pending.add(new)
        return new

    def _take_out(self, task: Task) -> None:
        """A task is no longer where its state had it."""
        if task.recorded_state is SCHEDULED:
            self._pending.remove(task)
        elif task.recorded_state is LEASED:
            self._let_go(task)
        elif task.recorded_state is WAITING:
            self.waits.remove(task)

    def _remember(self, task: Task) -> None:
        """Open tasks are found by their number, and by what is theirs alone."""
        self.tasks[task.number] = task
        if task.caller_key is not None:
            self._keys[task.caller_key] = task.number
        if task.unique is not None and task.recorded_state is not UNKNOWN:
            self._uniques[task.unique] = task.number

    def _forget(self, task: Task, end: AnyBody | Unknown) -> None:
        """Final tasks leave the memory; logs keep them. Whoever waited for them may run."""
        self._erase(task)
        if task.rarity is not None and task.rarity.flow is not None:
            completed, made = type(end) is Completed, getattr(end, "made", 0)
            self._start(self.flows.note_end(task, completed=completed, made=made))
        if task.number in self._awaited:
            self._start(self.waits.note_end(task.number, completed=type(end) is Completed))

    def _erase(self, task: Task) -> None:
        del self.tasks[task.number]
        if task.caller_key is not None:
            del self._keys[task.caller_key]
        if task.rarity is not None:
            self._free(task)

    def _free(self, task: Task) -> None:
        """Its unique value, if it has one, is no longer taken by it."""
        if task.unique is not None and self._uniques.get(task.unique) == task.number:
            del self._uniques[task.unique]

    def _count(self, bodies: list[AnyBody | Unknown]) -> None:
        counts, kinds = self.counts, map(type, bodies)
        for kind, count in Counter(kinds).items() if len(bodies) > FEW else zip(kinds, repeat(1)):
            if kind is not Unknown:
                counts[KIND_OF[kind]] += count
