"""Since when a task that came after others could have been leased: no event of the log says so."""

from __future__ import annotations

from eventq.core.projection import Projection
from eventq.core.task import Task


class ReadySince:
    """Follows the ends of tasks that others wait for; it costs nothing where none do."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._ended_at: dict[int, int] = {}
        # By flow: the last end of one of its tasks.
        self._flow_ended_at: dict[int, int] = {}

    def note_end(self, number: int, at: int) -> None:
        """An open task is about to end, and the projection has not been told."""
        projection = self._projection
        if number in projection.waits.by_predecessor:
            self._ended_at[number] = at
        if projection.flows.by_number:
            task = projection.tasks.get(number)
            if task is not None and task.flow is not None:
                self._flow_ended_at[task.flow] = at

    def of(self, task: Task) -> int:
        """The instant from which it might have begun, for a task that is being leased."""
        at = scheduled_since(task)
        for each in task.after:
            at = max(at, self._ended_at.get(each.task, at))
        if task.flow is not None and task.role != "member":
            at = max(at, self._flow_ended_at.get(task.flow, at))
        return at


def scheduled_since(task: Task) -> int:
    """The instant for which it is scheduled, which is none from before it was made."""
    return max(task.scheduled_at_us, task.created_at_us)
