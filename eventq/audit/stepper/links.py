"""What tasks wait for and which flows go on, kept while an event changes it, to be put back.

Nothing here folds: it is taken from a projection before the event, and given back to one.
"""

from __future__ import annotations

from msgspec import Struct

from eventq.core.commits import Event
from eventq.core.events import Created, Retried, Revived
from eventq.core.flows import FlowState
from eventq.core.projection import END_KINDS, Projection
from eventq.core.task import Task, TaskState
from eventq.core.waits import Wait


class LinksBefore(Struct, frozen=True):
    """All waits and flows of a projection, with the waiting tasks."""

    tasks: dict[int, Task]
    waits: dict[int, Wait]
    unneeded: set[int]
    reviving: list[int]
    flows: dict[int, FlowState]


def links_of(projection: Projection) -> LinksBefore:
    """What the projection holds now; O(waiting tasks)."""
    waits = projection.waits
    return LinksBefore(
        {number: projection.tasks[number] for number in waits.by_task},
        waits.copies(),
        set(waits.unneeded),
        list(waits.reviving),
        projection.flows.copies(),
    )


def changes_links(projection: Projection, event: Event, before: Task | None) -> bool:
    """Whether the event is about to change them, or others by them."""
    if _says_so(event, before):
        return True
    waits, number = projection.waits, event.task
    return _ends_or_reopens(event) and (number in waits.by_predecessor or number in waits.reviving)


def changed_links(projection: Projection, event: Event, before: Task | None) -> bool:
    """Whether the event, which was the projection's last, may have changed them; O(open tasks)."""
    if _says_so(event, before):
        return True
    return _ends_or_reopens(event) and any(
        each.task == event.task for task in projection.tasks.values() for each in task.after
    )


def put_back(projection: Projection, links: LinksBefore) -> list[Task]:
    """Has the projection hold these again; returns the tasks that had been let run by the event."""
    started = [
        task
        for number in links.tasks
        if (task := projection.tasks.get(number)) is not None
        and task.recorded_state is not TaskState.WAITING
    ]
    projection.waits.restore(
        links.tasks, links.waits, unneeded=links.unneeded, reviving=links.reviving
    )
    projection.flows.restore(links.flows)
    return started


def _says_so(event: Event, before: Task | None) -> bool:
    """Whether the event and its task alone tell that others may be concerned."""
    body = event.body
    if isinstance(body, Created):
        return bool(body.after) or body.flow is not None
    if isinstance(body, Retried) and body.reopens is not None:
        reopens = body.reopens
        return bool(reopens.after) or reopens.flow is not None or body.revives
    if isinstance(body, Revived) or before is None:
        return isinstance(body, Revived)
    # What waits may be edited, ended, or touched by a newer eventq.
    is_waiting = before.recorded_state is TaskState.WAITING
    return is_waiting or (before.flow is not None and _ends_or_reopens(event))


def _ends_or_reopens(event: Event) -> bool:
    return event.kind in END_KINDS or isinstance(event.body, Retried)
