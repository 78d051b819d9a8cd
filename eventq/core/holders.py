"""Who holds leases, and when each node last gave a sign of life; nothing here knows events."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from eventq.core.task import Task


class Holder(Struct):
    """A node that holds leases, and its last sign of life: a ``leased`` or ``renewed`` event."""

    ttl_us: int
    seen_seq: int
    seen_at: int
    tasks: set[int]


class Holders:
    """The nodes that hold leases, by name. A node that gives its last lease back is forgotten."""

    def __init__(self) -> None:
        self.by_name: dict[str, Holder] = {}
        self.leased_count = 0

    def hold(self, number: int, worker: str) -> Holder:
        """The node leases a task; its holder, whose sign of life the caller notes."""
        holder = self.by_name.get(worker)
        if holder is None:
            holder = self.by_name[worker] = Holder(0, 0, 0, set())
        holder.tasks.add(number)
        self.leased_count += 1
        return holder

    def note_sign(self, worker: str, seq: int, at: int, ttl_us: int) -> None:
        """The node has given a sign of life, which counts while it holds leases."""
        holder = self.by_name.get(worker)
        if holder is not None:
            holder.seen_seq, holder.seen_at, holder.ttl_us = seq, at, ttl_us

    def let_go(self, task: Task) -> None:
        """A leased task is leased no more."""
        assert task.worker is not None
        holder = self.by_name[task.worker]
        holder.tasks.remove(task.number)
        if not holder.tasks:
            del self.by_name[task.worker]
        self.leased_count -= 1

    def tasks_of(self, worker: str) -> set[int]:
        """Numbers of the tasks the node holds now. The set is live: do not keep or change it."""
        holder = self.by_name.get(worker)
        return set() if holder is None else holder.tasks

    def numbers(self) -> Iterable[int]:
        """Numbers of all leased tasks."""
        return (number for holder in self.by_name.values() for number in holder.tasks)

    def check(self, leased: list[Task]) -> None:
        """Asserts that these are the leased tasks, each with its node."""
        assert self.leased_count == len(leased)
        held = {n: worker for worker, holder in self.by_name.items() for n in holder.tasks}
        assert held == {t.number: t.worker for t in leased}
        assert all(holder.tasks for holder in self.by_name.values())
