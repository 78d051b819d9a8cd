"""Finding single facts in a log by its index, or by reading a bounded part of it backwards.

Nothing here folds more than one task, and no more than a window of the log is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec import Struct

from eventq.core.commits import Event
from eventq.core.events import Created
from eventq.core.moves import fold_events
from eventq.core.task import Task, TaskState, show_instant
from eventq.core.validation import check_lookup_key
from eventq.core.values import NODE
from eventq.errors import TaskNotFoundError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import commits_back, decode_events, stored_kind, stored_of, task_history
from eventq.replay.points import Point
from eventq.snapshot import projection_at

# So many keys of tasks are remembered while events go by.
MOST_KEYS = 10_000


def read_history(log: EventLog, key: str, point: Point | None = None) -> list[Event]:
    """The events of the task with this key, up to the point's position; by index.

    Raises TaskNotFoundError, also when the task was created after the point.
    """
    key = check_lookup_key(key)
    number = int(key) if key.isdigit() and key.isascii() else log.find_keys([key]).get(key, 0)
    # Larger numbers than a log can hold would not even be looked for.
    history = task_history(log, number) if 0 < number < 2**63 else []
    body = history[0].body if history else None
    # A caller's key hides the number: a task is found by one name only.
    if type(body) is not Created or (body.key or str(number)) != key:
        raise TaskNotFoundError(key, known_as=body.key if type(body) is Created else None)
    if point is None:
        return history
    until = [event for event in history if event.seq <= point.seq]
    if not until:
        raise TaskNotFoundError(key, created_seq=number, created_at=show_instant(history[0].at))
    return until


def task_at(log: EventLog, key: str, point: Point) -> Task:
    """The task as it stood at the point, final or not, as of the point's instant; by index.

    Raises TaskNotFoundError, also when it was created later.
    """
    task = fold_events(log.namespace, read_history(log, key, point))
    assert task is not None, "a history that was found is not empty"
    if task.recorded_state is TaskState.WAITING:
        # Its own history does not tell when that has ended.
        task = projection_at(log, point).tasks[task.number]
    return task.as_of(point.at)


class NamedEvent(Struct, frozen=True):
    """An event, and the key of its task: a caller's, or its number; None for an event of none."""

    event: Event
    key: str | None


def named_events(log: EventLog, events: Iterable[Event]) -> Iterator[NamedEvent]:
    """The events with their tasks' keys, of which some thousands are remembered."""
    known: dict[int, str] = {NODE: ""}
    for event in events:
        key = known.get(event.task)
        if key is None:
            first = [event]
            if type(event.body) is not Created:
                first = decode_events(log.history(event.task)[:1])
            own = None
            if first and isinstance(first[0].body, Created):
                own = first[0].body.key
            if len(known) > MOST_KEYS:
                known = {NODE: ""}
            key = known[event.task] = own or str(event.task)
        yield NamedEvent(event, key or None)


def last_sign(log: EventLog, worker: str, *, after: int, before: int) -> Event | None:
    """The node's last sign of life, a ``leased`` or ``renewed``, between two positions.

    Reads backwards from ``before``, no further than ``after``; both are left out.
    """
    name = f'"worker":{msgspec.json.encode(worker).decode()}'
    signs = {"leased", "renewed"}
    return _last(log, lambda text: stored_kind(text) in signs and name in text, after, before)


def last_lease(log: EventLog, *, after: int, before: int) -> Event | None:
    """The last lease of any task between two positions, found as `last_sign` finds one."""
    return _last(log, lambda text: stored_kind(text) == "leased", after, before)


def _last(log: EventLog, fits: Callable[[str], bool], after: int, before: int) -> Event | None:
    for commit in commits_back(log, until=before - 1, after=after):
        for event in reversed(list(stored_of(commit))):
            if after < event.seq < before and fits(event.body):
                return decode_events([event])[0]
    return None
