"""What a task waits for that comes after others: down to the one that runs, in words."""

from __future__ import annotations

from collections.abc import Iterator

from eventq.audit.flow import flow_at
from eventq.audit.phrases import counted
from eventq.core.commits import Event
from eventq.core.durations import brief_duration
from eventq.core.events import Cancelled, Completed, Expired
from eventq.core.projection import Projection
from eventq.core.task import Task, TaskState, show_instant, state_as_of
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import decode_events
from eventq.replay.points import Point

ENDS = (Completed, Expired, Cancelled)


def waiting_words(projection: Projection, task: Task, point: Point) -> tuple[str, list[str]]:
    """Why a waiting task does not run: the verdict, and notes."""
    wait = projection.waits.by_task[task.number]
    if task.number in projection.waits.unneeded:
        return "no member of its flow failed: the next node that looks cancels it", []
    notes = [_standing(projection, number, point) for number in sorted(wait.open)]
    if wait.failed:
        failed = ", ".join(map(str, sorted(wait.failed)))
        ended = f"task {failed}, which it comes after, ended without success"
        if task.if_failed == "cancel":
            return f"{ended}: the next node that looks cancels it", notes
        return f"{ended}: it is held until that is retried and completes, or it is retried", notes
    if task.role != "member":
        return _for_its_flow(projection, task, point)
    return _chain(projection, min(wait.open), point), notes


def unblocked_at(log: EventLog, task: Task, before: int) -> tuple[int, int] | None:
    """Position and instant of the last end that a task has waited for, before a position.

    None where it did not wait. By index.
    """
    numbers: Iterator[int] = (each.task for each in task.after)
    if task.role != "member":
        flow = flow_at(log, str(task.number), Point(before, 0))
        numbers = (step.task.number for step in flow.steps if _comes_before(step.task, task))
    ends = [end for number in numbers if (end := _end_of(log, number, before)) is not None]
    last = max(ends, key=lambda event: event.seq, default=None)
    return None if last is None or last.seq < task.number else (last.seq, last.decided_at)


def _comes_before(other: Task, task: Task) -> bool:
    order = ("member", "on_failure", "finally")
    return order.index(other.role) < order.index(task.role)


def _end_of(log: EventLog, number: int, before: int) -> Event | None:
    ends = [e for e in decode_events(log.history(number)) if isinstance(e.body, ENDS)]
    return next((event for event in reversed(ends) if event.seq < before), None)


def _chain(projection: Projection, number: int, point: Point) -> str:
    """What a task waits for, what that waits for, and so on."""
    words = f"it comes after task {_name(projection, number)}"
    for _ in range(len(projection.tasks)):
        wait = projection.waits.by_task.get(number)
        if wait is None or not wait.open:
            break
        number = min(wait.open)
        words += f", which comes after task {_name(projection, number)}"
    return f"{words}, which {_state(projection, number, point)}"


def _standing(projection: Projection, number: int, point: Point) -> str:
    return f"task {_name(projection, number)} {_state(projection, number, point)}"


def _name(projection: Projection, number: int) -> str:
    task = projection.tasks[number]
    return task.key if task.name is None else f"{task.key} ({task.name})"


def _state(projection: Projection, number: int, point: Point) -> str:
    """Where a task stands that another one waits for."""
    task = projection.tasks[number]
    state = state_as_of(task, point.at)
    if state is TaskState.LEASED:
        held = brief_duration(point.at - task.seen_at_us)
        return f"runs on {task.worker}, for {held}"
    if state is TaskState.SCHEDULED:
        return f"is scheduled for {show_instant(task.scheduled_at_us)}"
    wait = projection.waits.by_task.get(number)
    if wait is not None and wait.failed:
        return "is held" if task.if_failed == "hold" else "is about to be cancelled"
    return f"is {state}"


def _for_its_flow(projection: Projection, task: Task, point: Point) -> tuple[str, list[str]]:
    assert task.flow is not None, "it has a role there"
    flow = projection.flows.by_number[task.flow]
    if flow.closed:
        numbers = sorted(flow.on_failure)
        verdict = f"it comes last in flow {task.flow}, after {counted(len(numbers), 'task')}"
    else:
        numbers = sorted(
            number
            for number, other in projection.tasks.items()
            if other.flow == task.flow and other.role == "member"
        )
        verdict = f"{counted(flow.open, 'member')} of its flow {task.flow} must end first"
    running = [n for n in numbers if projection.tasks[n].recorded_state is TaskState.LEASED]
    shown = (running or numbers)[:3]
    return verdict, [_standing(projection, number, point) for number in shown]
