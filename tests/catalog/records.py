"""What tasks looked like at a position, by a full fold and a look at each whole history.

Slow and plain, and nothing of the catalog: what the catalog says is compared with this.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventq.catalog.record import TaskRecord, place_of
from eventq.core.commits import Event, Unknown
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Failed,
    Leased,
    Refused,
    Released,
    Retried,
    Updated,
)
from eventq.core.moves import changes, fold_events
from eventq.core.task import FINAL, Task
from eventq.core.values import LAPSED
from eventq.eventlog import EventLog
from eventq.replay.fold import read_all, replay
from eventq.replay.points import Point

ENDS_ATTEMPT = (Completed, Failed, Released, Cancelled)
# Behind an event of a newer eventq nothing is known by these.
DOUBTED = (Leased, Failed, Released)


def naive_records(log: EventLog, at: Point) -> list[TaskRecord]:
    """The records of all tasks at a point, by number."""
    events = [e for _, batch in read_all(log, after=0) for e in batch if e.seq <= at.seq]
    histories: dict[int, list[Event]] = {}
    for event in events:
        if event.task:
            histories.setdefault(event.task, []).append(event)
    projection = replay(log, until=at.seq)
    found = []
    for number, history in sorted(histories.items()):
        if type(history[0].body) is Created:
            task = projection.tasks.get(number) or fold_events(log.namespace, history)
            assert task is not None
            found.append(naive_record(task, history, at))
    return found


def naive_record(task: Task, history: list[Event], at: Point) -> TaskRecord:
    """The record of one task from its history."""
    said = _attempts_in(history)
    last = next(event for event in reversed(history) if changes(event.body))
    error = task.last_error
    names = [getattr(event.body, "by", None) for event in history]
    return TaskRecord(
        number=task.number,
        key=task.key,
        name=task.name,
        lane=task.lane,
        state=task.as_of(at.at).state,
        priority=task.priority,
        tags_json=_open_tags(task),
        attempts=task.attempt,
        created_at=task.created_at_us,
        scheduled_at=task.scheduled_at_us,
        ended_at=task.finished_at_us if task.recorded_state in FINAL else None,
        last_seq=last.seq,
        last_at=last.decided_at,
        error_type=None if error is None else error.type,
        error_message="" if error is None or task.secret else error.message,
        error_place="" if error is None else place_of(error.traceback),
        flow=task.flow,
        schedule=task.schedule,
        by=tuple(dict.fromkeys(name for name in names if name is not None)),
        secret=task.secret,
        **said,
    )


def _open_tags(task: Task) -> bytes:
    if not task.secret:
        return task.tags_json
    held = {str(task.tags[name]) for name in task.secret if name in task.tags}
    held = {text for text in held if len(text) > 2}
    told = {
        name: value
        for name, value in task.tags.items()
        if name not in task.secret and not any(text in str(value) for text in held)
    }
    return msgspec.json.encode(told)


def _puts_off(body: object) -> bool:
    if isinstance(body, Updated):
        return body.scheduled_at is not None
    return isinstance(body, Created | Released | Retried)


def _attempts_in(history: list[Event]) -> dict[str, Any]:
    """What the leases of a history say, each with the task as it stood before it."""
    nodes: list[str] = []
    waited_us = ran_us = None
    fences: list[int] = []
    late: list[int] = []
    begun_at, lapses = None, 0
    is_of_newer = False
    for place, event in enumerate(history):
        body = event.body
        if is_of_newer and isinstance(body, DOUBTED):
            continue
        lapses += type(body) is Failed and body.error.type == LAPSED
        if type(body) is Unknown and not body.skip:
            is_of_newer, begun_at = True, None
        elif type(body) is Leased:
            before = fold_events("default", history[:place])
            assert before is not None
            # A lease that was given back does not count as a wait, nor does an earlier schedule;
            # nor does time before the task was made, where a clock is behind.
            put_off = [each.decided_at for each in history[:place] if _puts_off(each.body)]
            put_off_at = max(put_off[0], put_off[-1])
            waited_us = max(0, event.decided_at - max(put_off_at, before.scheduled_at_us))
            begun_at = event.decided_at
            nodes.append(body.worker)
            fences.append(event.seq)
        elif isinstance(body, ENDS_ATTEMPT) and begun_at is not None:
            ran_us, begun_at = event.decided_at - begun_at, None
        elif type(body) is Refused:
            late.append(body.fence)
    return {
        "nodes": tuple(dict.fromkeys(nodes)),
        "waited_us": waited_us,
        "ran_us": ran_us,
        "lapses": lapses,
        "refused": len(late),
        "ran_twice": any(fence not in fences[-1:] for fence in late if fences),
    }
