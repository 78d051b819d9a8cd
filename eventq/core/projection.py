"""The projection: all open tasks by number, with the indexes that say which runs next.

It alone owns its tasks and changes them, and only by applying events; it reads no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import repeat

from eventq.core.audience import Audience
from eventq.core.dispatch_index import Pending
from eventq.core.events import (
    KIND_OF,
    KINDS,
    NODE,
    OF_SCHEDULES,
    AnyBody,
    Commit,
    Completed,
    Created,
    Followed,
    Joined,
    Leased,
    Left,
    Refused,
    Renewed,
    Retried,
    Told,
    Unfollowed,
    Unknown,
    decode_at,
    time_of,
)
from eventq.core.holders import Holders
from eventq.core.members import Follower, Member, Members
from eventq.core.moves import change, check_fence, create, lease, reopen, route_of
from eventq.core.policy import SharedPolicies
from eventq.core.schedules import Schedules
from eventq.core.seal import genesis
from eventq.core.task import FINAL, PLAIN_ROUTE, Route, Task, TaskState
from eventq.core.unique import uniques_of
from eventq.errors import LogCorruptError

SCHEDULED, LEASED, UNKNOWN = TaskState.SCHEDULED, TaskState.LEASED, TaskState.UNKNOWN

# To be raised whenever equal logs fold to something else than before, so that no older snapshot is
# built upon.
FOLD_VERSION = 4

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
        self._pending = Pending(self.tasks)
        self._leases = Holders()
        self.holders = self._leases.by_name
        """The nodes that hold leases, by name."""
        self._keys: dict[str, int] = {}
        self._uniques: dict[str, int] = {}
        self._policies = SharedPolicies()
        self._routes: dict[Route, Route] = {}
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
        pending, leases = self._pending, self._leases
        self._is_applied = False
        if at == commit.at or pending.advanced_to - at < NEAR_US:
            pending.advance_to(at)
        else:
            pending.go_back_to(at)
        after: list[Task | None] = []
        leased: list[Task] = []
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
                leases.let_go(task)
                self._forget(task)
            else:
                changed = change(task, seq, at, body)
                self._replace(task, changed)
                after.append(changed)
        if leased:
            self._pending.remove_leased(leased)
        self._count(bodies)
        self.seq = commit.last
        self.at = commit.at
        self.decided_at = at
        self.seal = commit.seal
        self._is_applied = True
        return after if collect else []

    def suspend_indexes(self) -> None:
        """Stops keeping the sorted indexes, for a long fold; ``rebuild_indexes`` ends it."""
        self._pending.suspend()

    def rebuild_indexes(self) -> None:
        """Sorts the indexes anew from the tasks: O(n log n), far less than n insertions."""
        self._pending.rebuild(t for t in self.tasks.values() if t.recorded_state is SCHEDULED)

    @property
    def is_whole(self) -> bool:
        """False in the middle of a change, and for good where one was broken off there."""
        return self._is_applied and self._pending.is_sorted

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
        return {route: len(ranks) for route, ranks in self._pending.ready.items() if ranks}

    def scheduled_count(self, now: int) -> int:
        """How many pending tasks have their instant ahead of them."""
        self.advance_to(now)
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
        """Open tasks that no node holds, ready and scheduled."""
        return len(self.tasks) - self._leases.leased_count - self.unknown_count

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
        assert len(pending) + len(leased) + len(unknown) == len(self.tasks)
        assert all(t.number == number for number, t in self.tasks.items())
        tasks = self.tasks.values()
        assert self._keys == {t.caller_key: t.number for t in tasks if t.caller_key is not None}
        assert self._uniques == uniques_of(tasks)
        self._leases.check(leased)
        self.schedules.check()
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
            shared = self._policies.share(body.policy), self._share_route(route_of(body))
            task = create(self.namespace, seq, at, body, shared)
            self._add(task)
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
        elif isinstance(body, Told):
            return
        elif type(body) is not Unknown:
            raise LogCorruptError(seq, f"{body.kind} names no task")
        elif not body.skip:
            self.unknown = self.unknown or (seq, body.kind)

    def _apply_to_final(self, seq: int, at: int, number: int, body: AnyBody) -> Task | None:
        if type(body) is Refused or isinstance(body, Told):
            return None
        if type(body) is not Retried or body.reopens is None:
            raise LogCorruptError(
                seq, f"task {number} is not open, so {body.kind} is no legal move"
            )
        self._check_free(seq, body.reopens.unique)
        task = reopen(self.namespace, number, seq, at, body)
        self.reopened[body.reopens.was] += 1
        self._add(task)
        return task

    def _check_free(self, seq: int, unique: str | None) -> None:
        if unique is not None and (there := self._uniques.get(unique)) is not None:
            raise LogCorruptError(seq, f"task {there} is open and has the same unique value")

    def _add(self, task: Task) -> None:
        self._remember(task)
        self._pending.add(task)

    def _share_route(self, route: Route) -> Route:
        return route if route is PLAIN_ROUTE else self._routes.setdefault(route, route)

    def _replace(self, old: Task, new: Task) -> None:
        """Puts a changed task in the place of what it was; not for leases, see `apply`."""
        if old is new:
            return
        if old.recorded_state is LEASED is new.recorded_state:
            # The attempt has told something, and goes on.
            self.tasks[new.number] = new
            return
        if old.recorded_state is SCHEDULED:
            self._pending.remove(old)
        elif old.recorded_state is LEASED:
            self._leases.let_go(old)
        self.unknown_count += (new.recorded_state is UNKNOWN) - (old.recorded_state is UNKNOWN)
        if new.recorded_state is UNKNOWN:
            self._free(old)
        if new.recorded_state in FINAL:
            self._forget(new)
            if new.newer is not None:
                self.strangers[new.number] = new.newer
            return
        self.tasks[new.number] = new
        if new.recorded_state is SCHEDULED:
            self._pending.add(new)

    def _remember(self, task: Task) -> None:
        """Open tasks are found by their number, and by what is theirs alone."""
        self.tasks[task.number] = task
        if task.caller_key is not None:
            self._keys[task.caller_key] = task.number
        if task.unique is not None and task.recorded_state is not UNKNOWN:
            self._uniques[task.unique] = task.number

    def _forget(self, task: Task) -> None:
        """Final tasks leave the memory; logs keep them."""
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
        kinds = map(type, bodies)
        for kind, count in Counter(kinds).items() if len(bodies) > FEW else zip(kinds, repeat(1)):
            if kind is not Unknown:
                self.counts[KIND_OF[kind]] += count
