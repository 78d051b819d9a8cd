"""The pages of flows: those that go on, and one as a graph with states and its critical path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from eventq.audit.flow import FlowStep, FlowView, take_flow
from eventq.core.task import FINAL, Task, instant, state_as_of
from eventq.core.validation import check_lookup_key
from eventq.errors import ArgumentError, TaskNotFoundError, shown
from eventq.web.naming import by_number, find_history, key_in, veils_of
from eventq.web.pages.rows import TaskRow, task_row
from eventq.web.showing import TaskVeil, Veil
from eventq.web.sight import Sight

FLOWS_SHOWN = 200


class NoFlowError(Exception):
    """There is no such flow here, or it is not to be seen."""

    def __init__(self, word: str) -> None:
        super().__init__(f"No flow has the key {shown(word)}, and no task of one has it.")


class FlowsQuestion(Struct, frozen=True):
    """Nothing is asked but the moment."""


class FlowQuestion(Struct, frozen=True):
    """Which flow: its key, or the key of a task in it."""

    key: str


class FlowRow(Struct, frozen=True):
    """A flow that goes on."""

    number: int
    tasks: int
    """Open tasks of it."""
    failed: int | None
    """How many ended without success; None where some may be of lanes that are not theirs."""
    counts: dict[str, int]
    created_at: datetime


class FlowsModel(Struct, frozen=True):
    """The flows that go on at a moment, the newest first."""

    seq: int
    at: datetime
    flows: list[FlowRow]
    more: int


class FlowStepRow(Struct, frozen=True):
    """One task of a flow."""

    task: TaskRow
    after: list[int]
    made_by: int | None
    role: str
    depth: int
    took_us: int | None
    is_critical: bool
    """Whether it lies on the longest way through the flow."""


class FlowModel(Struct, frozen=True):
    """One flow at a moment."""

    seq: int
    at: datetime
    number: int
    key: str | None
    is_closed: bool
    critical_us: int
    steps: list[FlowStepRow]


def flows_model(sight: Sight, question: FlowsQuestion, veil: Veil) -> FlowsModel:
    """The flows that go on; O(open tasks)."""
    del question
    with sight.seen() as projection:
        going = {number: flow.failed for number, flow in projection.flows.by_number.items()}
        tasks = list(projection.tasks.values())
    members: dict[int, list[Task]] = defaultdict(list)
    # Few tasks are in flows, hence no call for each.
    for task in [each for each in tasks if each.rarity is not None]:
        if task.flow is not None and veil.sees(task.lane):
            members[task.flow].append(task)
    rows = [
        _flow_row(number, found, None if veil.lanes else going.get(number, 0), sight.at)
        for number, found in members.items()
    ]
    rows.sort(key=lambda row: -row.number)
    more = max(0, len(rows) - FLOWS_SHOWN)
    return FlowsModel(sight.seq, instant(sight.at), rows[:FLOWS_SHOWN], more)


def flow_model(sight: Sight, question: FlowQuestion, veil: Veil) -> FlowModel:
    """One flow. Raises NoFlowError, and ArgumentError for what can be no key."""
    check_lookup_key(question.key)
    try:
        found = _asked_flow(sight, question.key, veil)
    except (TaskNotFoundError, ArgumentError):
        raise NoFlowError(question.key) from None
    hidden = veils_of(sight.log, by_number(step.task for step in found.steps), veil)
    critical, critical_us = critical_path(found)
    steps = [
        FlowStepRow(
            task=task_row(step.task, sight.at, veil, hidden(step.task.number)),
            after=list(step.after),
            made_by=step.made_by,
            role=step.task.role,
            depth=step.depth,
            took_us=step.took_us,
            is_critical=step.task.number in critical,
        )
        for step in found.steps
        if veil.sees(step.task.lane)
    ]
    if not steps:
        raise NoFlowError(question.key)
    return FlowModel(
        sight.seq,
        instant(sight.at),
        found.number,
        None if _hides_flow(found, hidden) else found.key,
        found.is_closed,
        critical_us,
        steps,
    )


def _asked_flow(sight: Sight, word: str, veil: Veil) -> FlowView:
    """The flow that an address names. Raises as `take_flow`."""
    open_tasks = sight.tasks()
    try:
        found = take_flow(sight.log, open_tasks, word, sight.point)
    except TaskNotFoundError:
        # Of a task by its number, which has a key.
        key = key_in(find_history(sight.log, word, veil, sight.point))
        return take_flow(sight.log, open_tasks, key, sight.point)
    if word == found.key:
        hidden = veils_of(sight.log, by_number(step.task for step in found.steps), veil)
        if _hides_flow(found, hidden):
            raise TaskNotFoundError(word)
    else:
        find_history(sight.log, word, veil, sight.point)
    return found


def _hides_flow(found: FlowView, hidden: Callable[[int], TaskVeil]) -> bool:
    """Whether the flow's key holds what is secret in one of its tasks."""
    numbers = (step.task.number for step in found.steps)
    key = found.key or ""
    return any(hidden(number).key(key, number) != key for number in numbers)


def critical_path(flow: FlowView) -> tuple[set[int], int]:
    """The tasks on the way that took, or has so far taken, the longest; and how long it did."""
    steps = {step.task.number: step for step in flow.steps}
    lengths: dict[int, int] = {}
    before: dict[int, int | None] = {}
    # A task's number is larger than that of any that it comes after.
    for number in sorted(steps):
        step = steps[number]
        ways = [each for each in _parents(step) if each in steps]
        best = max(ways, key=lambda each: lengths[each], default=None)
        before[number] = best
        lengths[number] = (step.took_us or 0) + (0 if best is None else lengths[best])
    if not lengths:
        return set(), 0
    end: int | None = max(lengths, key=lambda each: lengths[each])
    length = lengths[end] if end is not None else 0
    path: set[int] = set()
    while end is not None:
        path.add(end)
        end = before[end]
    return path, length


def _parents(step: FlowStep) -> list[int]:
    return [*step.after, *([] if step.made_by is None else [step.made_by])]


def _flow_row(number: int, tasks: list[Task], failed: int | None, now: int) -> FlowRow:
    counts: dict[str, int] = {}
    for task in tasks:
        state = state_as_of(task, now)
        assert state not in FINAL, "final tasks are not in a projection"
        counts[str(state)] = counts.get(str(state), 0) + 1
    created_at = instant(min(task.created_at_us for task in tasks))
    return FlowRow(number, len(tasks), failed, counts, created_at)
