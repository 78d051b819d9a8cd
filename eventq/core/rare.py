"""What few tasks have: how it changes, and what attempts tell while they run.

Nothing here moves a task from one state to another; that is in `moves`.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from eventq.core.events import Created, Noted, Progressed, Reopening, Saved, Told
from eventq.core.task import NOTHING_RARE, Progress, Rarity, Task


def rare(task: Task, **changes: Any) -> Rarity | None:  # noqa: ANN401 - fields of Rarity
    """What is rare about the task, with these changes; None where nothing is left."""
    known = task.rarity or NOTHING_RARE
    if all(getattr(known, name) == value for name, value in changes.items()):
        return task.rarity
    return _plainest(replace(known, **changes))


def made_with(body: Created) -> Rarity | None:
    """What is rare about a task from its beginning."""
    is_plain = body.unique is body.schedule is body.share is body.trace is None
    if is_plain and body.flow is None and not body.after and not body.secret:
        return None
    return Rarity(
        unique=body.unique,
        schedule=body.schedule,
        due_us=body.due,
        after=body.after,
        if_failed=body.if_failed,
        given=body.given,
        flow=body.flow,
        role=body.role,
        own_share=body.share,
        trace=body.trace,
        secret=body.secret,
    )


def brought_back(content: Reopening) -> Rarity | None:
    """What is rare about a task that comes back from a final state."""
    return _plainest(
        Rarity(
            lapses=content.lapses,
            snoozes=content.snoozes,
            unique=content.unique,
            saved_json=None if content.saved is UNSET else bytes(content.saved),
            schedule=content.schedule,
            due_us=content.due,
            after=content.after,
            if_failed=content.if_failed,
            given=content.given,
            flow=content.flow,
            role=content.role,
            own_share=content.share,
            trace=content.trace,
            secret=content.secret,
        )
    )


def told(task: Task, at: int, body: Told) -> Task:
    """The task after what its attempt told; the word of one whose lease is over changes nothing."""
    if body.fence != task.fence or not task.fence or type(body) is Noted:
        return task
    if type(body) is Progressed:
        progress = Progress(body.done, body.total, body.note, at)
        return replace(task, rarity=rare(task, progress=progress))
    assert type(body) is Saved, "there are three kinds"
    return replace(task, rarity=rare(task, saved_json=bytes(body.value)))


def _plainest(rarity: Rarity) -> Rarity | None:
    return None if rarity == NOTHING_RARE else rarity
