"""Flows: tasks made together, how many of them are open, and who comes last.

Nothing here knows events; the projection says which tasks come and go, and is told who may run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from eventq.core.moves import wait_over
from eventq.core.task import Task, TaskState
from eventq.core.waits import TaskWaits


class FlowState(Struct):
    """One flow, until the last of its finalisers may run."""

    open: int = 0
    """Members that are not final, also those that a commit has begun to make."""
    owed: int = 0
    """The last of these: between a completion and what it makes."""
    failed: int = 0
    """Members that have ended without success."""
    closed: bool = False
    """All members were final once."""
    on_failure: set[int] = set()
    """Finalisers for a failure, as long as they are open."""
    last: set[int] = set()
    """Finalisers for any end, as long as they wait."""

    def copy(self) -> FlowState:
        """A copy that shares no set with it."""
        return replace(self, on_failure=self.on_failure.copy(), last=self.last.copy())


class Flows:
    """The flows that have not closed, or whose finalisers wait, by number."""

    def __init__(self, tasks: dict[int, Task], waits: TaskWaits) -> None:
        self.by_number: dict[int, FlowState] = {}
        self._tasks = tasks
        self._waits = waits

    def restore(self, flows: Mapping[int, FlowState]) -> None:
        """Takes over the flows that were known elsewhere, in place of those that are known here."""
        self.by_number.clear()
        self.by_number.update({number: flow.copy() for number, flow in flows.items()})

    def copies(self) -> dict[int, FlowState]:
        """The flows by number; nothing of them is shared."""
        return {number: flow.copy() for number, flow in self.by_number.items()}

    def takes_members(self, task: Task) -> bool:
        """Whether what the task makes belongs to its flow."""
        flow = None if task.flow is None else self.by_number.get(task.flow)
        return flow is not None and task.role == "member" and not flow.closed

    def note_created(self, task: Task) -> None:
        """A task of a flow was made."""
        assert task.flow is not None
        flow = self.by_number.get(task.flow)
        if flow is None:
            flow = self.by_number[task.flow] = FlowState()
        if task.role != "member":
            (flow.on_failure if task.role == "on_failure" else flow.last).add(task.number)
        elif flow.owed:
            flow.owed -= 1
        else:
            flow.open += 1

    def note_reopened(self, task: Task) -> Task:
        """A task of a flow is open again; returns it as it is then.

        A finaliser waits no more once its turn has come.
        """
        assert task.flow is not None
        flow = self.by_number.get(task.flow)
        if task.role == "member":
            if flow is not None and not flow.closed:
                flow.open += 1
                flow.failed -= 1
            return task
        if flow is None:
            return wait_over(task)
        if task.role == "on_failure":
            flow.on_failure.add(task.number)
            return wait_over(task) if flow.closed else task
        flow.last.add(task.number)
        return task

    def note_end(self, task: Task, *, completed: bool, made: int) -> list[int]:
        """A task of a flow has ended, and made others; returns the finalisers that may run now."""
        assert task.flow is not None
        flow = self.by_number.get(task.flow)
        if flow is None:
            return []
        if task.role != "member":
            (flow.on_failure if task.role == "on_failure" else flow.last).discard(task.number)
        elif not flow.closed:
            flow.open += made - 1
            flow.owed += made
            flow.failed += not completed
            flow.closed = not flow.open
            if flow.closed:
                return self._close(task.flow, flow)
        return self._after_failure(task.flow, flow) if flow.closed else []

    def check(self) -> None:
        """Asserts that the counts are those of the tasks."""
        members = Counter(t.flow for t in self._tasks.values() if t.role == "member")
        for number, flow in self.by_number.items():
            if not flow.closed:
                assert flow.open == members[number] + flow.owed
            for each in flow.on_failure | flow.last:
                assert self._tasks[each].flow == number
        for number, task in self._tasks.items():
            if task.role != "member" and task.recorded_state is TaskState.WAITING:
                assert task.flow is not None
                known = self.by_number.get(task.flow, FlowState())
                is_known = number in known.on_failure | known.last
                assert is_known != (number in self._waits.unneeded)

    def _close(self, number: int, flow: FlowState) -> list[int]:
        """What a flow's first close lets run; what it was for but will not be is doomed."""
        if flow.failed and flow.on_failure:
            return sorted(flow.on_failure)
        for each in flow.on_failure:
            # Of one that a newer eventq has touched, nothing more is decided here.
            if each in self._waits.by_task:
                self._waits.doom(each)
        flow.on_failure = set()
        return self._after_failure(number, flow)

    def _after_failure(self, number: int, flow: FlowState) -> list[int]:
        """The last finalisers, once nothing stands before them; the flow is then forgotten."""
        if flow.on_failure:
            return []
        del self.by_number[number]
        return sorted(flow.last)
