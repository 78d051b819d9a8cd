"""The log as a timeline: all its events, or those of some tasks, tags, kinds or nodes.

Nothing here folds more than the tasks that are open; an event of a kind unknown here is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from heapq import merge
from operator import attrgetter
from typing import Any

from msgspec import Struct

from eventq.audit.lookup import read_history
from eventq.core.commits import Event
from eventq.core.events import Created
from eventq.core.moves import advance, fold_events
from eventq.core.task import FINAL, Task
from eventq.core.values import NODE
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import task_history
from eventq.replay.points import END, PointLike, find_point, position_at
from eventq.replay.query import TagFilter, follow_events, read_events

_POSITION = re.compile(r"[0-9]+")


class Sought(Struct, frozen=True):
    """Which events to show: those that meet all that is set; nothing set means every event."""

    kinds: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    """Callers' keys, or numbers as text."""
    tags: Mapping[str, Any] = {}
    """Values that the task has, right before the event or right after."""
    worker: str | None = None
    """The node that did it, or whose lease it ended."""


class Moment(Struct, frozen=True):
    """One event of a timeline."""

    event: Event
    key: str | None
    """Of its task; None for an event of a node."""
    gap_us: int | None
    """Time since the moment before, microseconds; None for the first."""


EVERYTHING = Sought()


def timeline(
    log: EventLog,
    *,
    after: int = 0,
    until: int | None = None,
    wanted: Sought = EVERYTHING,
    follow: bool = False,
) -> Iterator[Moment]:
    """The events behind position ``after``, up to ``until`` or the present end, in order.

    With ``follow`` it goes on with what is appended, without end. Memory for the open tasks that
    were met. Raises TaskNotFoundError for a wanted key that no task has, LogCorruptError where a
    body or a move is wrong.
    """
    met = _Met(log)
    tags = TagFilter(wanted.tags)
    last_at: int | None = None
    for event in _events(log, after, wanted.keys, follow=follow):
        if until is not None and event.seq > until:
            return
        before, task = met.fold(event)
        if _is_wanted(event, before, task, wanted, tags):
            gap_us = None if last_at is None else event.at - last_at
            last_at = event.at
            key = None if event.task == NODE else str(event.task) if task is None else task.key
            yield Moment(event, key, gap_us)


def begin_before(log: EventLog, value: PointLike, *, now: int, argument: str = "point") -> int:
    """The position behind which to begin, so that a timeline has the point itself in it.

    A position is the first one shown; an instant shows what happened from then on; ``-500`` shows
    the last 500 events. Raises ArgumentError as `find_point` does.
    """
    point = find_point(log, value, now=now, argument=argument)
    text = str(value)
    if isinstance(value, datetime | timedelta):
        return position_at(log, point.at - 1)
    if _POSITION.fullmatch(text):
        return max(0, point.seq - 1)
    if text == END or _POSITION.fullmatch(text.removeprefix("-")):
        return point.seq
    return position_at(log, point.at - 1)


class _Met:
    """The open tasks that a timeline has met, and no others."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tasks: dict[int, Task] = {}

    def fold(self, event: Event) -> tuple[Task | None, Task | None]:
        """The event's task before and after it; None and None for an event of a node."""
        if event.task == NODE:
            return None, None
        before = self._tasks.get(event.task)
        if before is None and type(event.body) is not Created:
            # The task began before this timeline, or was final: its history says what it was.
            history = task_history(self._log, event.task)
            before = fold_events(self._log.namespace, history, until=event.seq - 1)
            if before is None:
                return None, None
        task = advance(self._log.namespace, before, event.seq, event.at, event.body)
        if task.recorded_state in FINAL:
            self._tasks.pop(event.task, None)
        else:
            self._tasks[event.task] = task
        return before, task


def _is_wanted(
    event: Event, before: Task | None, after: Task | None, wanted: Sought, tags: TagFilter
) -> bool:
    """Whether the event meets all that is set."""
    if wanted.kinds and event.kind not in wanted.kinds:
        return False
    if wanted.keys and (after is None or after.key not in wanted.keys):
        return False
    if wanted.worker is not None and wanted.worker not in _workers(event, before):
        return False
    return not wanted.tags or any(
        task is not None and tags.matches(task) for task in (before, after)
    )


def _workers(event: Event, before: Task | None) -> set[str | None]:
    """The nodes that did it: named in the body, or holding the lease until then."""
    named = {getattr(event.body, field, None) for field in ("worker", "by")}
    return named | {None if before is None else before.worker}


def _events(log: EventLog, after: int, keys: frozenset[str], *, follow: bool) -> Iterator[Event]:
    """All events behind a position; those of some tasks alone are found by index."""
    if keys:
        end = log.head().seq
        histories = [read_history(log, key) for key in sorted(keys)]
        for event in merge(*histories, key=attrgetter("seq")):
            if after < event.seq <= end:
                yield event
        after = max(after, end)
        if not follow:
            return
    yield from follow_events(log, after) if follow else read_events(log, after)
