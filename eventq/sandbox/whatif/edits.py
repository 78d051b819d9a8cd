"""What a simulation takes over of recorded events; nothing here keeps anything."""

from __future__ import annotations

from typing import Any

from eventq.core.asking import Asking
from eventq.core.command import Draft
from eventq.core.events import Cancelled, Created, Expired, Updated
from eventq.core.manage import CancelTask, UpdateTask
from eventq.core.task import PENDING, Task


def governed_fields(body: Created) -> dict[str, Any]:
    """What limits, pauses and turns look at."""
    names = ("name", "lane", "tags", "limits", "share")
    return {name: getattr(body, name) for name in names}


def edits_of(task: Task, body: object, now: int) -> list[Draft]:
    """What the deciding code makes of a recorded edit."""
    if type(body) is Cancelled:
        return CancelTask(Asking(body.by, body.reason)).events(task, now)
    if type(body) is Updated:
        asking = Asking(body.by, body.reason)
        edit = UpdateTask(
            body.priority, scheduled_at=body.scheduled_at, lane=body.lane, asking=asking
        )
        return edit.events(task, now)
    if type(body) is Expired and task.recorded_state in PENDING:
        return [(task.number, Expired(body.reason))]
    return []
