"""What the drafts of one commit are going to change for a lease that stands behind them.

Nothing here changes a projection, which has not folded them: waits and flows are tried on copies of
those that are concerned.
"""

from __future__ import annotations

from collections.abc import Iterable

from eventq.core.command import Draft
from eventq.core.events import Completed, Created, Refused, Retried
from eventq.core.flows import Flows
from eventq.core.moves import change, create, reopen, wait_over
from eventq.core.projection import Projection
from eventq.core.task import FINAL, Task, TaskState, is_due
from eventq.core.waits import TaskWaits

# Stands for that of a task to be made: no task has a higher one.
LAST_NUMBER = 2**63 - 1


def takes_buckets(projection: Projection, drafts: Iterable[Draft]) -> bool:
    """Whether any of the tasks takes a place in a bucket; else no lease waits for their ends."""
    tasks = projection.tasks
    return any(number in tasks and tasks[number].route.buckets for number, _ in drafts)


def freed_by(
    projection: Projection, drafts: list[Draft], now: int
) -> tuple[list[Task], list[Task]]:
    """The tasks whose leases these drafts end, and those that they make ready by ``now``."""
    tasks = projection.tasks
    moved: dict[int, Task] = {}
    made: list[Task] = []
    trial = _Trial(projection, drafts)
    for number, body in drafts:
        if type(body) is Created:
            # Its number will be higher than all that there are.
            made.append(create(projection.namespace, LAST_NUMBER, now, body))
        elif type(body) is not Refused and (number in tasks or number in moved):
            task = moved[number] = change(moved.get(number) or tasks[number], 0, now, body)
            trial.change(task, body)
        elif type(body) is Retried and body.reopens is not None:
            task = reopen(projection.namespace, number, 0, now, body)
            moved[number] = trial.reopen(task)
    started = [wait_over(tasks[number]) for number in trial.started if number not in moved]
    let_go = [
        tasks[number]
        for number, task in moved.items()
        if number in tasks and tasks[number].fence != task.fence
    ]
    pending = [
        task
        for task in (*moved.values(), *made, *started)
        if task.recorded_state is TaskState.SCHEDULED
    ]
    return let_go, [task for task in pending if is_due(task, now)]


class _Trial:
    """The waits and flows that drafts concern, changed as the projection will change its own."""

    def __init__(self, projection: Projection, drafts: Iterable[Draft]) -> None:
        self.started: set[int] = set()
        """The tasks whose wait ends."""
        self._tasks = projection.tasks
        self._waits = TaskWaits(projection.tasks)
        self._flows = Flows(projection.tasks, self._waits)
        waits, flows = projection.waits, projection.flows
        if not (waits.by_task or flows.by_number):
            return
        concerned: set[int] = set()
        for number, body in drafts:
            concerned |= waits.by_predecessor.get(number, set()) | {number}
            task = projection.tasks.get(number)
            flow = None if task is None else task.flow
            if type(body) is Retried and body.reopens is not None:
                flow = body.reopens.flow
            if flow is not None and flow in flows.by_number:
                state = self._flows.by_number[flow] = flows.by_number[flow].copy()
                concerned |= state.on_failure | state.last
        for number in concerned & waits.by_task.keys():
            self._waits.put(projection.tasks[number], waits.by_task[number].copy())

    def change(self, task: Task, body: object) -> None:
        """A task is changed by an event, which may end it."""
        if task.recorded_state not in FINAL:
            return
        number, completed = task.number, type(body) is Completed
        if number in self._waits.by_task:
            self._waits.remove(task)
        if task.flow is not None:
            self._start(self._flows.note_end(task, completed=completed, made=_made(body)))
        if number in self._waits.by_predecessor:
            self._start(self._waits.note_end(number, completed=completed))

    def reopen(self, task: Task) -> Task:
        """A task comes back; returns it as it is then."""
        self._waits.note_reopened(task.number)
        return task if task.flow is None else self._flows.note_reopened(task)

    def _start(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number in self._waits.by_task:
                self._waits.remove(self._tasks[number])
                self.started.add(number)


def _made(body: object) -> int:
    return body.made if isinstance(body, Completed) else 0
