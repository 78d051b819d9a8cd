"""The results that an attempt is given, of the tasks that its own comes after; read by index.

They are never copied into the log: what a task is given stands where it was returned.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from eventq.core.task import Task, TaskState
from eventq.errors import LogArchivedError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import task_of

NOTHING = b"null"


def with_results(log: EventLog, task: Task) -> tuple[Task, dict[str, bytes]]:
    """The task with the arguments that are results among its tags; and all results, by key.

    A task that has not completed has none; its argument is null.
    """
    by_number: dict[int, bytes] = {}
    by_key: dict[str, bytes] = {}
    for each in task.after:
        before = _find(log, each.task)
        if before is not None and before.recorded_state is TaskState.COMPLETED:
            text = before.result_json or NOTHING
            by_number[each.task] = by_key[before.key] = text
    if task.given:
        tags: dict[str, Raw] = msgspec.json.decode(task.tags_json, type=dict[str, Raw])
        for name, number in task.given.items():
            tags[name] = Raw(by_number.get(number, NOTHING))
        task = replace(task, tags_json=msgspec.json.encode(tags))
    return task, by_key


def _find(log: EventLog, number: int) -> Task | None:
    try:
        return task_of(log, number)
    except LogArchivedError:
        # Waived, or cut by hand: a cut keeps what an open task comes after.
        return None
