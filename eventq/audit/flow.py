"""A flow as it stood at a point: its tasks, what each comes after, and when each ran.

Found by index: by the commit that made the flow, and by what its members made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from msgspec import Struct

from eventq.core.commits import Event, events_of
from eventq.core.events import Completed, Created
from eventq.core.link import flow_name
from eventq.core.moves import fold_events
from eventq.core.task import FINAL, Task
from eventq.core.validation import check_lookup_key
from eventq.errors import ArgumentError, TaskNotFoundError
from eventq.eventlog.contract import EventLog
from eventq.replay.fold import task_history
from eventq.replay.points import Point
from eventq.snapshot import projection_at


class FlowStep(Struct, frozen=True):
    """One task of a flow, as of the point."""

    task: Task
    after: tuple[int, ...]
    """The tasks that it comes after, by number."""
    made_by: int | None
    """The member that made it when it completed."""
    depth: int
    """How far below the flow's first tasks it stands in the tree."""

    @property
    def took_us(self) -> int | None:
        """From its last lease to its end, or so far; None for one that was never leased."""
        task = self.task
        if task.started_at_us is None:
            return None
        until = task.seen_at_us if task.finished_at_us is None else task.finished_at_us
        return until - task.started_at_us


class FlowView(Struct, frozen=True):
    """A flow at a point. Instants in microseconds."""

    seq: int
    at: int
    number: int
    key: str | None
    steps: list[FlowStep]
    """A task stands right behind the last one that it comes after, or that made it."""

    @property
    def is_closed(self) -> bool:
        """Whether all its members are final."""
        return all(s.task.recorded_state in FINAL for s in self.steps if s.task.role == "member")


def flow_at(log: EventLog, key: str, point: Point) -> FlowView:
    """The flow with this key, or with a task of this key or number.

    Raises TaskNotFoundError where there is none, or none yet, and ArgumentError for a task that is
    in no flow.
    """
    # Found before anything is folded.
    _number_of(log, key, point)
    return take_flow(log, projection_at(log, point).tasks, key, point)


def take_flow(log: EventLog, open_tasks: Mapping[int, Task], key: str, point: Point) -> FlowView:
    """The same, for who has the tasks that are open at the point."""
    number = _number_of(log, key, point)
    found = list(_created(log, number, point))
    tasks: dict[int, Task] = {}
    for event, _ in found:
        task = open_tasks.get(event.task)
        if task is None:
            history = task_history(log, event.task)
            task = fold_events(log.namespace, history, until=point.seq)
        assert task is not None, "it was created by then"
        tasks[event.task] = task.as_of(point.at)
    keys = [event.body.flow_key for event, _ in found if isinstance(event.body, Created)]
    flow_key = next((each for each in keys if each is not None), None)
    return FlowView(point.seq, point.at, number, flow_key, _tree(found, tasks))


def _number_of(log: EventLog, key: str, point: Point) -> int:
    key = check_lookup_key(key)
    name = flow_name(key)
    found = log.find_keys([name, key])
    number = found.get(name)
    if number is None:
        task = int(key) if key.isdigit() and key.isascii() else found.get(key, 0)
        history = task_history(log, task) if 0 < task < 2**63 else []
        body = history[0].body if history else None
        if isinstance(body, Created) and body.flow is None:
            raise ArgumentError("key", key, "the key of a flow, or of a task that is in one")
        number = body.flow if isinstance(body, Created) else None
    if number is None or number > point.seq:
        raise TaskNotFoundError(key)
    return number


def _created(log: EventLog, number: int, point: Point) -> Iterator[tuple[Event, int | None]]:
    """The ``created`` events of the flow's tasks, each with the task that made it."""
    [commit] = log.read(after=number - 1, limit=1)
    waiting: deque[tuple[Event, int | None]] = deque(
        (event, None) for event in events_of(commit) if _is_in(event, number)
    )
    while waiting:
        event, made_by = waiting.popleft()
        if event.seq > point.seq:
            continue
        yield event, made_by
        for end in task_history(log, event.task):
            if isinstance(end.body, Completed) and end.body.made:
                [commit] = log.read(after=end.seq, limit=1)
                last = end.seq + end.body.made
                made = [e for e in events_of(commit) if end.seq < e.seq <= last]
                waiting += [(each, event.task) for each in made if _is_in(each, number)]


def _is_in(event: Event, number: int) -> bool:
    return isinstance(event.body, Created) and event.body.flow == number


def _tree(found: list[tuple[Event, int | None]], tasks: dict[int, Task]) -> list[FlowStep]:
    """The tasks in the order of the tree."""
    links: dict[int, tuple[tuple[int, ...], int | None]] = {}
    below: dict[int | None, list[int]] = {}
    for event, made_by in found:
        assert isinstance(event.body, Created)
        after = tuple(each.task for each in event.body.after)
        links[event.task] = after, made_by
        parents = [number for number in after if number in tasks]
        parents += [] if made_by is None else [made_by]
        below.setdefault(max(parents, default=None), []).append(event.task)
    steps: list[FlowStep] = []
    open_ends: list[tuple[int | None, int]] = [(None, 0)]
    while open_ends:
        number, depth = open_ends.pop()
        if number is not None:
            steps.append(FlowStep(tasks[number], *links[number], depth - 1))
        open_ends += [(child, depth + 1) for child in reversed(below.get(number, []))]
    return steps
