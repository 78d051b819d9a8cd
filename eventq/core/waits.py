"""Tasks that wait for others: for which, who is doomed or held, and what is to be brought back.

Nothing here knows events; the projection says which tasks come and go, and is told who may run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec import Struct
from sortedcontainers import SortedList

from eventq.core.task import Task, TaskState
from eventq.errors import LogCorruptError


class Wait(Struct):
    """What one task still waits for: tasks that are open, and those that failed, in its way."""

    open: set[int]
    failed: set[int]

    def copy(self) -> Wait:
        """A copy that shares no set with it."""
        return Wait(self.open.copy(), self.failed.copy())


class TaskWaits:
    """The waiting tasks, by number, and who waits for a task.

    A task may wait for nothing here: one that its flow will start. ``tasks`` is the projection's.
    """

    def __init__(self, tasks: dict[int, Task]) -> None:
        self.by_task: dict[int, Wait] = {}
        self.counts: Counter[tuple[str, str | None]] = Counter()
        """How many wait, by lane and name."""
        self.by_predecessor: dict[int, set[int]] = {}
        """Whom the end, or the coming back, of a task concerns."""
        self.doomed: SortedList[int] = SortedList()
        """Waiting tasks that can never run unless somebody intervenes; to be cancelled."""
        self.unneeded: set[int] = set()
        """The doomed ones that nothing has failed for: they were there for a failure."""
        self.expiring: SortedList[tuple[int, int]] = SortedList()
        """(expires_at, number) of those that can expire."""
        self.reviving: SortedList[int] = SortedList()
        """Reopened tasks of which not all is back yet that their end had cancelled."""
        self._tasks = tasks

    def add(self, seq: int, task: Task) -> None:
        """A task waits from now on. Raises LogCorruptError for a wait that nothing could end."""
        wait = Wait(set(), set())
        for each in task.after:
            if each.verdict is None:
                if each.task not in self._tasks:
                    problem = f"task {task.number} waits for {each.task}, which is not open"
                    raise LogCorruptError(seq, problem)
                wait.open.add(each.task)
            elif each.verdict == "failed" and task.if_failed != "run":
                wait.failed.add(each.task)
        self.put(task, wait)

    def put(self, task: Task, wait: Wait) -> None:
        """A task waits for just this."""
        number = task.number
        self.by_task[number] = wait
        self._count(task)
        for predecessor in wait.open | wait.failed:
            self.by_predecessor.setdefault(predecessor, set()).add(number)
        if task.expires_at_us is not None:
            self.expiring.add((task.expires_at_us, number))
        if wait.failed and task.if_failed == "cancel":
            self.doomed.add(number)

    def remove(self, task: Task) -> None:
        """A task waits no more, whatever becomes of it."""
        number = task.number
        wait = self.by_task.pop(number)
        self._discount(task)
        for predecessor in wait.open | wait.failed:
            self._leave(predecessor, number)
        if task.expires_at_us is not None:
            self.expiring.remove((task.expires_at_us, number))
        if number in self.doomed:
            self.doomed.remove(number)
            self.unneeded.discard(number)

    def relabel(self, old: Task, new: Task) -> None:
        """A task, which may wait here, was edited: it may be in another lane."""
        if old.lane != new.lane and old.number in self.by_task:
            self._discount(old)
            self._count(new)

    def restore(
        self,
        tasks: Mapping[int, Task],
        waits: Mapping[int, Wait],
        *,
        unneeded: Iterable[int],
        reviving: Iterable[int],
    ) -> None:
        """Takes over what was known elsewhere, in place of all that is known here."""
        for index in (self.by_task, self.counts, self.by_predecessor, self.unneeded):
            index.clear()
        for ordered in (self.doomed, self.expiring, self.reviving):
            ordered.clear()
        for number, wait in waits.items():
            self.put(tasks[number], wait.copy())
        for number in unneeded:
            self.doom(number)
        self.reviving.update(reviving)

    def copies(self) -> dict[int, Wait]:
        """What each waiting task waits for, by number; nothing of it is shared."""
        return {number: wait.copy() for number, wait in self.by_task.items()}

    def doom(self, number: int) -> None:
        """What a waiting task was there for will never be."""
        self.doomed.add(number)
        self.unneeded.add(number)

    def note_end(self, number: int, *, completed: bool) -> list[int]:
        """A task that others wait for has ended; returns those whose wait is over, in order."""
        freed = []
        for waiting in sorted(self.by_predecessor[number]):
            task, wait = self._tasks[waiting], self.by_task[waiting]
            wait.open.discard(number)
            if completed or task.if_failed == "run":
                self._leave(number, waiting)
            else:
                wait.failed.add(number)
                if task.if_failed == "cancel" and waiting not in self.doomed:
                    self.doomed.add(waiting)
            if not (wait.open or wait.failed):
                freed.append(waiting)
        return freed

    def note_reopened(self, number: int) -> None:
        """A task that had failed is open again, and dooms or holds no other one."""
        for waiting in self.by_predecessor.get(number, ()):
            wait = self.by_task[waiting]
            wait.failed.discard(number)
            wait.open.add(number)
            if not wait.failed and waiting in self.doomed:
                self.doomed.remove(waiting)

    def waive(self, number: int) -> bool:
        """A waiting task minds no more what has failed; returns whether its wait is over."""
        wait = self.by_task[number]
        is_over = not wait.open and bool(wait.failed or number in self.unneeded)
        for predecessor in wait.failed:
            self._leave(predecessor, number)
        wait.failed.clear()
        if number in self.doomed:
            self.doomed.remove(number)
            self.unneeded.discard(number)
        return is_over

    def has_work(self) -> bool:
        """Whether there are tasks to cancel, or to bring back."""
        return bool(self.doomed or self.reviving)

    def check(self) -> None:
        """Asserts that what is found by one way is found by all."""
        waiting = {n: t for n, t in self._tasks.items() if t.recorded_state is TaskState.WAITING}
        assert self.by_task.keys() == waiting.keys()
        assert dict(self.counts) == Counter((t.lane, t.name) for t in waiting.values())
        assert self.by_predecessor == awaited(self.by_task.items())
        expiring = [(t.expires_at_us, n) for n, t in waiting.items() if t.expires_at_us is not None]
        assert list(self.expiring) == sorted(expiring)
        failed = {
            n for n, w in self.by_task.items() if w.failed and waiting[n].if_failed == "cancel"
        }
        assert set(self.doomed) == failed | self.unneeded
        assert len(self.doomed) == len(set(self.doomed))
        for number, wait in self.by_task.items():
            after = {each.task for each in waiting[number].after}
            assert wait.open | wait.failed <= after
            assert wait.open <= self._tasks.keys()
            assert wait.failed.isdisjoint(self._tasks.keys())
            assert wait.open or wait.failed or waiting[number].role != "member"
            assert waiting[number].if_failed != "run" or not wait.failed

    def _count(self, task: Task) -> None:
        self.counts[task.lane, task.name] += 1

    def _discount(self, task: Task) -> None:
        label = task.lane, task.name
        self.counts[label] -= 1
        if not self.counts[label]:
            del self.counts[label]

    def _leave(self, predecessor: int, number: int) -> None:
        concerned = self.by_predecessor[predecessor]
        concerned.discard(number)
        if not concerned:
            del self.by_predecessor[predecessor]


def awaited(waits: Iterable[tuple[int, Wait]]) -> dict[int, set[int]]:
    """Who waits for each task."""
    found: dict[int, set[int]] = {}
    for number, wait in waits:
        for predecessor in wait.open | wait.failed:
            found.setdefault(predecessor, set()).add(number)
    return found
