"""The projection: all open tasks by number, with the indexes that say which runs next.

It alone owns its tasks and changes them, and only by applying events; it reads no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import repeat

from msgspec import Struct

from eventq.core.dispatch_index import Pending
from eventq.core.events import (
    KIND_OF,
    KINDS,
    NODE,
    AnyBody,
    Commit,
    Completed,
    Created,
    Leased,
    Policy,
    Refused,
    Renewed,
    Retried,
    Unknown,
    decode_at,
    time_of,
)
from eventq.core.seal import genesis
from eventq.core.task import FINAL, Task, TaskState, change, check_fence, check_move, create, reopen
from eventq.errors import LogCorruptError

SCHEDULED, LEASED = TaskState.SCHEDULED, TaskState.LEASED

# To be raised whenever equal logs fold to something else than before, so that no older snapshot is
# built upon.
FOLD_VERSION = 1

# Distinct policies remembered, so that a caller who varies them endlessly costs no memory.
POLICIES_KEPT = 1_000
# Where a log is ahead of the clock, one node may decide a little earlier than another was asked
# about. Further back than this, the indexes go back as well.
NEAR_US = 60_000_000
# Events of a commit that are quicker counted one by one than by a counter, which has to be made.
FEW = 16


class Holder(Struct):
    """A node that holds leases, and its last sign of life: a ``leased`` or ``renewed`` event."""

    ttl_us: int
    seen_seq: int
    seen_at: int
    tasks: set[int]


class Mark(Struct, frozen=True):
    """A place that a projection can be taken back to, as far as the next commit will change it."""

    seq: int
    at: int
    decided_at: int
    seal: bytes
    unknown: tuple[int, str] | None
    counts: dict[str, int]
    reopened: dict[str, int]
    tasks: dict[int, Task | None]
    signs: dict[str, tuple[int, int, int]]


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
        self.holders: dict[str, Holder] = {}
        self.unknown: tuple[int, str] | None = None
        self._pending = Pending(self.tasks)
        self._keys: dict[str, int] = {}
        self._policies: dict[Policy, Policy] = {}
        self._leased_count = 0

    def apply(
        self,
        commit: Commit,
        *,
        telling: bool = True,
        bodies: list[AnyBody | Unknown] | None = None,
    ) -> list[Task | None]:
        """Folds one commit; gives the task after each event (None for events of a node).

        Not ``telling``, it gives nothing, and need not make what nobody will look at. ``bodies``
        spares the decoding of the commit's own where somebody has done it before. Raises
        LogCorruptError when the commit does not follow this projection or makes an illegal move.
        The seal is not computed here (see `replay.fold`).
        """
        bodies = self._bodies_of(commit, bodies)
        tasks = self.tasks
        # What was decided by another instant than its stamp goes by that one in all things.
        at = time_of(commit.at, bodies[0]) if bodies else commit.at
        pending = self._pending
        if at == commit.at or pending.ripe_at - at < NEAR_US:
            pending.ripen(at)
        else:
            pending.unripen(at)
        after: list[Task | None] = []
        leased: list[Task] = []
        # The loop that every node and every replay spends its time in, hence no call too many.
        for seq, (number, body) in enumerate(zip(commit.tasks, bodies, strict=True), commit.first):
            task = tasks.get(number)
            if task is None:
                after.append(self._apply_to_none(seq, at, number, body))
            elif type(body) is Leased:
                changed = tasks[number] = change(task, seq, at, body)
                leased.append(task)
                holder = self._hold(number, body.worker)
                holder.seen_seq, holder.seen_at, holder.ttl_us = seq, at, body.ttl_us
                after.append(changed)
            elif type(body) is Completed and not telling:
                check_move(task, seq, body)
                check_fence(task, seq, body.fence)
                self._let_go(task)
                self._forget(task)
            else:
                changed = change(task, seq, at, body)
                self._replace(task, changed, seq, body)
                after.append(changed)
        if leased:
            self._pending.remove_leased(leased)
        self._count(bodies)
        self.seq = commit.last
        self.at = commit.at
        self.decided_at = at
        self.seal = commit.seal
        return after if telling else []

    def mark(self, numbers: list[int]) -> Mark:
        """What `take_back` needs to undo the next commit, which touches these tasks."""
        return Mark(
            seq=self.seq,
            at=self.at,
            decided_at=self.decided_at,
            seal=self.seal,
            unknown=self.unknown,
            counts=dict(self.counts),
            reopened=dict(self.reopened),
            tasks={number: self.tasks.get(number) for number in numbers if number != NODE},
            signs={
                worker: (holder.ttl_us, holder.seen_seq, holder.seen_at)
                for worker, holder in self.holders.items()
            },
        )

    def take_back(self, mark: Mark) -> None:
        """Undoes all that was applied since the mark, as if it had never been."""
        for number, before in mark.tasks.items():
            now = self.tasks.get(number)
            if now is not None:
                self._take_out(now)
            if before is not None:
                self._put_in(before)
        for worker, (ttl_us, seen_seq, seen_at) in mark.signs.items():
            holder = self.holders[worker]
            holder.ttl_us, holder.seen_seq, holder.seen_at = ttl_us, seen_seq, seen_at
        self.seq, self.at, self.seal, self.unknown = mark.seq, mark.at, mark.seal, mark.unknown
        self.decided_at = mark.decided_at
        self.counts, self.reopened = mark.counts, mark.reopened

    def suspend_indexes(self) -> None:
        """Stops keeping the sorted indexes, for a long fold; ``rebuild_indexes`` ends it."""
        self._pending.suspend()

    def rebuild_indexes(self) -> None:
        """Sorts the indexes anew from the tasks: O(n log n), far less than n insertions."""
        self._pending.rebuild(t for t in self.tasks.values() if t.recorded_state is SCHEDULED)

    @property
    def ripe_at(self) -> int:
        """The time asked about last."""
        return self._pending.ripe_at

    def rebuild(self) -> None:
        """Derives anew from the tasks all that is kept beside them; O(n log n)."""
        tasks = self.tasks.values()
        self._keys = {t.caller_key: t.number for t in tasks if t.caller_key is not None}
        self._leased_count = sum(t.recorded_state is LEASED for t in tasks)
        self.rebuild_indexes()

    def ripen(self, now: int) -> None:
        """Makes tasks ready whose instant has come, and no others; O(log n) for each.

        Back in time it goes only where a clock was wrong.
        """
        self._pending.ripen(now)
        self._pending.unripen(now)

    def ready(self, now: int) -> Iterator[Task]:
        """Pending tasks whose instant has come, in dispatch order; also those past expiry."""
        self.ripen(now)
        tasks = self.tasks
        return (tasks[number] for _, _, number in self._pending.ready)

    def waiting(self) -> Iterator[Task]:
        """Pending tasks whose instant is to come, the next one first; call `ripen` before."""
        return (self.tasks[number] for _, number in self._pending.waiting)

    def leased(self) -> Iterator[Task]:
        """Tasks that some node holds, in the order of their leases; O(n log n) in those."""
        held = (self.tasks[number] for holder in self.holders.values() for number in holder.tasks)
        return iter(sorted(held, key=lambda task: task.fence))

    def ready_count(self, now: int) -> int:
        """How many pending tasks have their instant behind them."""
        self.ripen(now)
        return len(self._pending.ready)

    def scheduled_count(self, now: int) -> int:
        """How many pending tasks have their instant ahead of them."""
        self.ripen(now)
        return len(self._pending.waiting)

    def past_expiry(self, now: int) -> Iterator[Task]:
        """Pending tasks to expire, the longest overdue first."""
        for expires_at, number in self._pending.expiring:
            if expires_at > now:
                return
            yield self.tasks[number]

    def next_instant(self) -> int | None:
        """The earliest coming instant at which a pending task becomes ready or expires."""
        return self._pending.next_instant()

    def number_of(self, key: str) -> int | None:
        """The number of the open task with this caller's key; O(1)."""
        return self._keys.get(key)

    def leases_of(self, worker: str) -> set[int]:
        """Numbers of the tasks the node holds now. The set is live: do not keep or change it."""
        holder = self.holders.get(worker)
        return set() if holder is None else holder.tasks

    @property
    def pending_count(self) -> int:
        """Open tasks that nobody holds, ready and scheduled."""
        return len(self.tasks) - self._leased_count

    @property
    def leased_count(self) -> int:
        """Open tasks that some node holds."""
        return self._leased_count

    @property
    def retrying_count(self) -> int:
        """Pending tasks that have been attempted before."""
        return self._pending.retrying_count

    def final_counts(self) -> dict[str, int]:
        """How many tasks are in each final state now."""
        counts = self.counts
        return {
            "completed": counts["completed"],
            "expired": counts["expired"] - self.reopened["expired"],
            "cancelled": counts["cancelled"] - self.reopened["cancelled"],
        }

    def check(self) -> None:
        """Asserts every invariant of the indexes by a recount; O(n log n), for tests."""
        pending = [t for t in self.tasks.values() if t.recorded_state is SCHEDULED]
        leased = [t for t in self.tasks.values() if t.recorded_state is LEASED]
        self._pending.check(pending)
        assert len(pending) + len(leased) == len(self.tasks)
        assert self._leased_count == len(leased)
        assert all(t.number == number for number, t in self.tasks.items())
        assert self._keys == {
            t.caller_key: t.number for t in self.tasks.values() if t.caller_key is not None
        }
        held = {n: worker for worker, holder in self.holders.items() for n in holder.tasks}
        assert held == {t.number: t.worker for t in leased}
        assert all(holder.tasks for holder in self.holders.values())
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
            return self._create(seq, at, body)
        if type(body) is Unknown:
            self.unknown = self.unknown or (seq, body.kind)
            return None
        if number == NODE:
            self._hear(seq, at, body)
            return None
        return self._apply_to_final(seq, at, number, body)

    def _create(self, seq: int, at: int, body: Created) -> Task:
        if len(self._policies) > POLICIES_KEPT:
            self._policies.clear()
        # Equal policies become one object, which is most of what a pending task weighs less.
        policy = self._policies.setdefault(body.policy, body.policy)
        task = create(self.namespace, seq, at, body, policy)
        self._add(task)
        return task

    def _hear(self, seq: int, at: int, body: AnyBody) -> None:
        if type(body) is not Renewed:
            raise LogCorruptError(seq, f"{body.kind} names no task")
        holder = self.holders.get(body.worker)
        if holder is not None:
            holder.seen_seq, holder.seen_at, holder.ttl_us = seq, at, body.ttl_us

    def _apply_to_final(self, seq: int, at: int, number: int, body: AnyBody) -> Task | None:
        if type(body) is Refused:
            return None
        if type(body) is not Retried or body.reopens is None:
            raise LogCorruptError(
                seq, f"task {number} is not open, so {body.kind} is no legal move"
            )
        task = reopen(self.namespace, number, seq, at, body)
        self.reopened[body.reopens.was] += 1
        self._add(task)
        return task

    def _add(self, task: Task) -> None:
        self.tasks[task.number] = task
        if task.caller_key is not None:
            self._keys[task.caller_key] = task.number
        self._pending.add(task)

    def _take_out(self, task: Task) -> None:
        if task.recorded_state is SCHEDULED:
            self._pending.remove(task)
        elif task.recorded_state is LEASED:
            self._let_go(task)
        self._forget(task)

    def _put_in(self, task: Task) -> None:
        if task.recorded_state is SCHEDULED:
            self._add(task)
            return
        assert task.worker is not None, "only a lease is left: no other state outlives a commit"
        self.tasks[task.number] = task
        if task.caller_key is not None:
            self._keys[task.caller_key] = task.number
        self._hold(task.number, task.worker)

    def _replace(self, old: Task, new: Task, seq: int, body: AnyBody | Unknown) -> None:
        """Puts a changed task in the place of what it was; not for leases, see `_hold`."""
        if old is new:
            if type(body) is Unknown:
                self.unknown = self.unknown or (seq, body.kind)
            return
        if old.recorded_state is SCHEDULED:
            self._pending.remove(old)
        elif old.recorded_state is LEASED:
            self._let_go(old)
        if new.recorded_state in FINAL:
            self._forget(new)
            return
        self.tasks[new.number] = new
        if new.recorded_state is SCHEDULED:
            self._pending.add(new)

    def _forget(self, task: Task) -> None:
        """Final tasks leave the memory; logs keep them."""
        del self.tasks[task.number]
        if task.caller_key is not None:
            del self._keys[task.caller_key]

    def _hold(self, number: int, worker: str) -> Holder:
        holder = self.holders.get(worker)
        if holder is None:
            holder = self.holders[worker] = Holder(0, 0, 0, set())
        holder.tasks.add(number)
        self._leased_count += 1
        return holder

    def _let_go(self, task: Task) -> None:
        assert task.worker is not None
        holder = self.holders[task.worker]
        holder.tasks.remove(task.number)
        if not holder.tasks:
            del self.holders[task.worker]
        self._leased_count -= 1

    def _count(self, bodies: list[AnyBody | Unknown]) -> None:
        kinds = map(type, bodies)
        for kind, count in Counter(kinds).items() if len(bodies) > FEW else zip(kinds, repeat(1)):
            if kind is not Unknown:
                self.counts[KIND_OF[kind]] += count
