"""A projection that also goes back, one event at a time; it knows no log and is told the past.

A projection forgets final tasks and earlier signs of life, so whoever takes an event back brings
them along. Going forward is the projection's own `apply`; there is no second fold here.
"""

from __future__ import annotations

from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from eventq.audit.stepper.links import LinksBefore, changes_links, links_of, put_back
from eventq.core.commits import KIND_OF, OF_SCHEDULES, Event, Unknown
from eventq.core.events import Leased, Refused, Retried, Told
from eventq.core.members import Follower, Member, Members
from eventq.core.projection import END_KINDS, Projection
from eventq.core.queue_events import Followed, Joined, Left, Renewed, Unfollowed
from eventq.core.schedules import Schedule, Schedules
from eventq.core.task import FINAL, Task, TaskState
from eventq.core.values import NODE


class Sign(Struct, frozen=True, gc=False):
    """A node's sign of life: the position and instant of its event, and the lease time it gave."""

    worker: str
    seq: int
    at: int
    ttl_us: int


class Undo(Struct, frozen=True):
    """What one event replaced."""

    seq: int
    before: Task | None
    """Its task before it; None where there was none open."""
    sign: Sign | None
    """The sign of life before it, of the node that it is about; None where that held nothing."""
    members: dict[str, Member] | None
    """The nodes that had joined before it; None where it does not change that."""
    stranger: tuple[int, str] | None
    """What made its task one of a newer eventq before it, where that was not open."""
    followers: dict[str, Follower] | None = None
    """Who followed the log before it; None where it does not change that."""
    schedules: dict[str, Schedule] | None = None
    """The schedules before it; None where it does not change them."""
    links: LinksBefore | None = None
    """What tasks waited for, and the flows; None where it does not change that."""


class ReversibleProjection(Projection):
    """A projection whose last event can be taken back."""

    @classmethod
    def of(cls, projection: Projection) -> Self:
        """Takes the projection over, with all that it holds; it must not be used any more."""
        taken = cls(projection.namespace)
        vars(taken).update(vars(projection))
        return taken

    def sign_of(self, worker: str) -> Sign | None:
        """The last sign of life of a node that holds leases; None for one that holds none."""
        holder = self.holders.get(worker)
        if holder is None:
            return None
        return Sign(worker, holder.seen_seq, holder.seen_at, holder.ttl_us)

    def undo_of(self, event: Event) -> Undo:
        """What the event is about to replace; to be kept for `step_back`."""
        before = self.tasks.get(event.task)
        worker = worker_of(event, before)
        sign = None if worker is None else self.sign_of(worker)
        joins = isinstance(event.body, (Joined, Left))
        return Undo(
            event.seq,
            before,
            sign,
            dict(self.members.by_name) if joins else None,
            self.strangers.get(event.task),
            dict(self.followers) if isinstance(event.body, (Followed, Unfollowed)) else None,
            dict(self.schedules.by_name) if isinstance(event.body, OF_SCHEDULES) else None,
            links_of(self) if changes_links(self, event, before) else None,
        )

    def step_back(self, event: Event, undo: Undo, *, at: int, decided_at: int, seal: bytes) -> None:
        """Undoes the last event; instants and seal are those of the position before it.

        The exact inverse of `apply`, for a single event. The caller answers for the undo; all that
        is asserted is that the event is the last one.
        """
        assert event.seq == undo.seq == self.seq, "only the last event can be taken back"
        body = event.body
        if type(body) is not Unknown:
            self.counts[KIND_OF[type(body)]] -= 1
        elif self.unknown == (event.seq, body.kind):
            self.unknown = None
        if undo.stranger is not None:
            if event.kind in END_KINDS:
                self.strange_ends[event.kind] -= 1
        else:
            self.strangers.pop(event.task, None)
            if type(body) is Retried and body.reopens is not None:
                self.reopened[body.reopens.was] -= 1
        # A refused outcome changes no task.
        if event.task != NODE and type(body) is not Refused:
            self._change_back(event, undo.before)
        if undo.links is not None:
            self._put_links_back(undo.links, event.task)
        self._put_nodes_back(undo)
        self.seq, self.at, self.seal = event.seq - 1, at, seal
        self.decided_at = decided_at
        self.advance_to(decided_at)

    def _change_back(self, event: Event, before: Task | None) -> None:
        """Makes the event's task what it was."""
        after = self.tasks.get(event.task)
        if after == before:
            # Nor does what may be skipped: putting it back would forget its node's sign of life.
            return
        if isinstance(event.body, Told):
            # Its attempt goes on, so that no index has changed.
            assert before is not None, "only an open task has an attempt that tells"
            self.tasks[event.task] = self._at_home(before)
            return
        if after is not None:
            self._remove(after)
        if before is not None:
            self._put_back(before)

    def _remove(self, task: Task) -> None:
        """Takes an open task out of the indexes and out of memory."""
        if task.recorded_state is TaskState.SCHEDULED:
            self._pending.remove(task)
        elif task.recorded_state is TaskState.LEASED:
            self._leases.let_go(task)
        self.unknown_count -= task.recorded_state is TaskState.UNKNOWN
        self._erase(task)

    def _put_back(self, task: Task) -> None:
        """Makes an earlier version of a task the one that counts."""
        assert task.recorded_state not in FINAL, "final tasks are not kept"
        task = self._at_home(task)
        self._remember(task)
        # What has just failed, between two events of a commit, is in no index and held by nobody.
        self.unknown_count += task.recorded_state is TaskState.UNKNOWN
        if task.recorded_state is TaskState.SCHEDULED:
            self._pending.add(task)
        elif task.worker is not None:
            self._leases.hold(task.number, task.worker)

    def _put_links_back(self, links: LinksBefore, number: int) -> None:
        """Makes tasks wait again that the event has let run."""
        for task in put_back(self, links):
            self._pending.remove(task)
        for each, task in links.tasks.items():
            if each != number:
                self.tasks[each] = self._at_home(task)

    def _at_home(self, task: Task) -> Task:
        """The task, which may come from elsewhere, with the route that others here have."""
        route = self.governing.shared(task.route)
        return task if route is task.route else replace(task, route=route)

    def _put_nodes_back(self, undo: Undo) -> None:
        """Makes what nodes and followers had said before the event count again; and schedules."""
        if undo.members is not None:
            self.members = Members(undo.members)
        if undo.followers is not None:
            self.followers = dict(undo.followers)
        if undo.schedules is not None:
            self.schedules = Schedules(undo.schedules)
        sign = undo.sign
        holder = None if sign is None else self.holders.get(sign.worker)
        if sign is not None and holder is not None:
            holder.seen_seq, holder.seen_at, holder.ttl_us = sign.seq, sign.at, sign.ttl_us


def worker_of(event: Event, before: Task | None) -> str | None:
    """The node whose leases or signs of life the event changes; None for most kinds."""
    if isinstance(event.body, (Leased, Renewed)):
        return event.body.worker
    return None if before is None else before.worker
