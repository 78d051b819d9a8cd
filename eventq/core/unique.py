"""One open task a value: what values are called, and what becomes of an order whose value is taken.

Nothing here looks anything up; who holds a value is in the projection.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw

from eventq.core.events import Updated
from eventq.core.plain import sorted_json
from eventq.core.task import PENDING, Task, TaskState, is_due
from eventq.core.values import KEY_BYTES

OnDuplicate = Literal["return", "raise", "replace"]
ON_DUPLICATE = ("return", "raise", "replace")

# Of the hash that stands for a value that would be longer than a key may be.
HASH_BYTES = 16


def value_of(name: str | None, tags_json: bytes, arguments: Iterable[str] | None = None) -> str:
    """The value of a task by its name and its arguments: all of its tags, or those named.

    >>> value_of("mail.send", b'{"order": 42, "to": "ada"}', ["order"])
    'mail.send({"order":42})'

    Arguments that are left to their defaults are in it, so that it says what the handler is called
    with. One that would be too long ends in a hash instead.
    """
    tags: dict[str, Any] = msgspec.json.decode(tags_json)
    chosen = tags if arguments is None else {each: tags.get(each) for each in arguments}
    text = sorted_json(chosen).decode()
    value = f"{name or ''}({text})"
    if len(value.encode()) <= KEY_BYTES:
        return value
    return f"{name or ''}#{blake2b(text.encode(), digest_size=HASH_BYTES).hexdigest()}"


def replacement(holder: Task, tags_json: bytes, start: int | None, now: int) -> Updated | None:
    """What an order changes about the task that holds its value; None for nothing.

    A pending task gets the order's tags, and its instant (``start``; None: at once). One that is
    due keeps its place where the order is to run at once, too. One that would then expire before
    its instant keeps that as it is: so a task that is put off again and again runs in time. A task
    that is not pending stays as it is.
    """
    if holder.recorded_state not in PENDING:
        return None
    at = now if start is None else start
    is_late = holder.expires_at_us is not None and at >= holder.expires_at_us
    if is_late or at == holder.scheduled_at_us or (at <= now and is_due(holder, now)):
        scheduled_at = None
    else:
        scheduled_at = at
    tags = UNSET if tags_json == holder.tags_json else Raw(tags_json)
    if scheduled_at is None and tags is UNSET:
        return None
    secret = () if tags is UNSET else holder.secret
    return Updated(tags=tags, scheduled_at=scheduled_at, secret=secret)


def uniques_of(tasks: Iterable[Task]) -> dict[str, int]:
    """The numbers of tasks by their unique values, without those of which nobody knows."""
    known = (task for task in tasks if task.recorded_state is not TaskState.UNKNOWN)
    return {task.unique: task.number for task in known if task.unique is not None}
