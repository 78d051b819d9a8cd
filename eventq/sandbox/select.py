"""Which recorded tasks to run again; the log is read once, and only keys are kept."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from eventq.core.projection import Projection
from eventq.core.task import FINAL, Task, TaskState
from eventq.core.validation import States, check_count, check_list, check_states, check_tags
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import folded
from eventq.replay.points import Point
from eventq.replay.query import TagFilter

EVERY = frozenset(TaskState)


def attempted_keys(
    log: EventLog,
    *,
    state: States | None = None,
    tags: Mapping[str, Any] | None = None,
    names: Collection[str] | None = None,
    limit: int | None = None,
    at: Point,
) -> list[str]:
    """Keys of the tasks that stood in these states at the point and had been leased before.

    The newest come first. None means any state; ``tags`` that they had then; ``names`` of which
    each has one. Found by folding the log up to the point: O(events). With a ``limit``, memory
    holds no more completed tasks than that; all others found, since those may be reopened. Raises
    ArgumentError.
    """
    states = EVERY if state is None else check_states(state)
    check_tags(tags)
    if limit is not None:
        check_count(limit, "limit", least=0)
    if names is not None:
        names = frozenset(check_list(names, "names", str))
    wanted = TagFilter(tags)
    found = AttemptedKeys(limit)
    projection = Projection(log.namespace)
    projection.suspend_indexes()
    for commit, after in folded(projection, log, until=at.seq):
        for number, task in zip(commit.tasks, after, strict=True):
            if task is None:
                continue
            wrong = task.recorded_state in FINAL and task.recorded_state not in states
            wrong = wrong or (names is not None and task.name not in names)
            if task.attempt and not wrong and wanted.matches(task):
                found.put(number, task)
            else:
                found.take_out(number)
    keys = (
        key
        for number, key in found.newest_first()
        # Final tasks have been looked at.
        if (task := projection.tasks.get(number)) is None or task.as_of(at.at).state in states
    )
    return list(islice(keys, limit))


class AttemptedKeys:
    """Keys in the order of their tasks' last events.

    Completed tasks stay so: where there is a limit, as many of them are enough.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._keys: dict[int, str] = {}
        self._completed: deque[int] = deque()

    def put(self, number: int, task: Task) -> None:
        """Puts it last."""
        self.take_out(number)
        self._keys[number] = task.key
        if self._limit is not None and task.recorded_state is TaskState.COMPLETED:
            self._completed.append(number)
            if len(self._completed) > self._limit:
                del self._keys[self._completed.popleft()]

    def take_out(self, number: int) -> None:
        """Forgets it, if it is there."""
        self._keys.pop(number, None)

    def newest_first(self) -> Iterator[tuple[int, str]]:
        """Numbers and keys."""
        return reversed(self._keys.items())
