"""Who waits for whom, as the catalog's fold needs it: when a wait ends, no event says so.

The rules are the core's own, `TaskWaits` and `Flows`; here stands what is kept of them between two
programs that follow a log.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from eventq.core.flows import Flows, FlowState
from eventq.core.moves import MET_BY, wait_over
from eventq.core.task import Task, TaskState
from eventq.core.waits import TaskWaits, Wait


class KeptLink(Struct, array_like=True):
    """An open task that comes after others or belongs to a flow, and what it waits for."""

    task: Task
    wait: Wait | None = None
    is_unneeded: bool = False


_encoder = msgspec.msgpack.Encoder()
_link_decoder = msgspec.msgpack.Decoder(KeptLink)
_flow_decoder = msgspec.msgpack.Decoder(FlowState)


class TaskLinks:
    """The open tasks that wait or belong to a flow; each method says whose wait is over by it."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.waits = TaskWaits(self.tasks)
        self.flows = Flows(self.tasks, self.waits)
        self.awaited = self.waits.by_predecessor
        """Tasks whose end concerns another one."""
        self._touched: set[int] = set()
        self._touched_flows: set[int] = set()

    def note_created(self, task: Task) -> None:
        """A task was made that comes after others or belongs to a flow."""
        if task.flow is not None:
            self.flows.note_created(task)
            self._touched_flows.add(task.flow)
        self._add(task)

    def note_reopened(self, number: int, task: Task | None) -> bool:
        """A final task is open again; ``task`` where it has links. Returns whether it waits."""
        if task is not None:
            if task.flow is not None:
                task = self.flows.note_reopened(task)
                self._touched_flows.add(task.flow or 0)
            self._add(task)
        if number in self.awaited:
            self._touched |= self.awaited[number]
            self.waits.note_reopened(number)
        return task is not None and task.recorded_state is TaskState.WAITING

    def note_end(self, number: int, *, completed: bool, made: int) -> list[int]:
        """A task has ended; returns those whose wait is over, in order."""
        task = self.tasks.get(number)
        freed: list[int] = []
        if task is not None:
            self.stop(number)
            del self.tasks[number]
            if task.flow is not None:
                self._touched_flows.add(task.flow)
                flow = self.flows.by_number.get(task.flow)
                # What a close dooms has changed, too.
                self._touched |= set() if flow is None else flow.on_failure | flow.last
                freed += self._started(self.flows.note_end(task, completed=completed, made=made))
        if number in self.awaited:
            self._touched |= self.awaited[number]
            freed += self._started(self.waits.note_end(number, completed=completed))
        return freed

    def waive(self, number: int) -> list[int]:
        """A task minds no more what has failed; returns it if its wait is over."""
        if number not in self.waits.by_task:
            return []
        self._touched.add(number)
        return self._started([number]) if self.waits.waive(number) else []

    def stop(self, number: int) -> None:
        """A task waits no more, whatever becomes of it."""
        self._touched.add(number)
        if number in self.waits.by_task:
            self.waits.remove(self.tasks[number])

    def rows(self) -> tuple[list[tuple[int, bytes | None]], list[tuple[int, bytes | None]]]:
        """What has changed since the last time, of tasks and of flows; None for what is over."""
        tasks = [(number, self._link(number)) for number in sorted(self._touched)]
        flows = [(number, self._flow(number)) for number in sorted(self._touched_flows)]
        self._touched.clear()
        self._touched_flows.clear()
        return tasks, flows

    def restore(
        self, links: Iterable[tuple[int, bytes]], flows: Iterable[tuple[int, bytes]]
    ) -> None:
        """Takes over what was kept."""
        kept = {number: _link_decoder.decode(data) for number, data in links}
        self.tasks.update({number: link.task for number, link in kept.items()})
        waits = {number: link.wait for number, link in kept.items() if link.wait is not None}
        unneeded = [number for number, link in kept.items() if link.is_unneeded]
        self.waits.restore(self.tasks, waits, unneeded=unneeded, reviving=())
        self.flows.restore({number: _flow_decoder.decode(data) for number, data in flows})

    def take_over(self, tasks: Iterable[Task], waits: TaskWaits, flows: Flows) -> None:
        """Takes over what a projection knows."""
        self.tasks.update({t.number: t for t in tasks if t.after or t.flow is not None})
        self.waits.restore(self.tasks, waits.copies(), unneeded=waits.unneeded, reviving=())
        self.flows.restore(flows.copies())
        self._touched.update(self.tasks)
        self._touched_flows.update(self.flows.by_number)

    def _add(self, task: Task) -> None:
        self.tasks[task.number] = task
        self._touched.add(task.number)
        if task.recorded_state is TaskState.WAITING:
            self.waits.put(task, _wait_of(task))

    def _started(self, numbers: list[int]) -> list[int]:
        """Those of these tasks that did wait; they wait no more."""
        started = [number for number in numbers if number in self.waits.by_task]
        for number in started:
            self.waits.remove(self.tasks[number])
            self.tasks[number] = wait_over(self.tasks[number])
            self._touched.add(number)
        return started

    def _link(self, number: int) -> bytes | None:
        task = self.tasks.get(number)
        if task is None:
            return None
        wait = self.waits.by_task.get(number)
        return _encoder.encode(KeptLink(task, wait, number in self.waits.unneeded))

    def _flow(self, number: int) -> bytes | None:
        flow = self.flows.by_number.get(number)
        return None if flow is None else _encoder.encode(flow)


def _wait_of(task: Task) -> Wait:
    """What a task waits for from its beginning, as its event says."""
    met = MET_BY[task.if_failed]
    verdicts = [(each.task, each.verdict) for each in task.after]
    return Wait(
        {number for number, verdict in verdicts if verdict is None},
        {number for number, verdict in verdicts if verdict == "failed" and "failed" not in met},
    )
