"""The page Now: how many tasks are in each state, what runs, what is next, and which nodes live."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from eventq.audit.state import Held, take_state
from eventq.core.durations import SECOND_US
from eventq.core.members import Member
from eventq.core.projection import Projection
from eventq.core.task import DEFAULT_LANE, Route, Task, TaskState, instant
from eventq.core.values import Scope
from eventq.eventlog.contract import EventLog
from eventq.replay.blocking import waits_for
from eventq.replay.fold import stored_kind, stored_of
from eventq.replay.query import unhandled
from eventq.replay.rule_words import scope_words
from eventq.replay.rules_now import count_routes
from eventq.web.naming import by_number, veils_of
from eventq.web.pages.rows import TaskRow, task_row, task_rows
from eventq.web.rule_veil import NO_SECRETS, RuleVeil, secrets_in
from eventq.web.showing import TaskVeil, Veil
from eventq.web.sight import Sight

SCHEDULED = TaskState.SCHEDULED
# The last events of which rates are told: one read of a log.
RATE_EVENTS = 2_000
ROWS = 10
GROUPS = 100
# Kinds whose rates are told, in this order.
TOLD_KINDS = ("created", "leased", "completed", "failed", "expired", "cancelled")


class NowQuestion(Struct, frozen=True):
    """Nothing is asked but the moment."""


class Rate(Struct, frozen=True):
    """How often something has happened lately."""

    kind: str
    count: int
    per_minute: float


class Group(Struct, frozen=True):
    """The open tasks of one name in one lane."""

    name: str | None
    lane: str
    ready: int
    leased: int
    scheduled: int
    waiting: int
    oldest_ready_at: datetime | None
    """Since when the oldest of its ready tasks is to run."""


class NodeRow(Struct, frozen=True):
    """A node that runs."""

    node: str
    leases: int
    slots: str | None
    """How many tasks it takes at a time; None where it has not joined."""
    names: list[str]
    unnamed: bool
    version: str | None
    seen_at: datetime
    """Its last sign of life."""


class LeaseRow(Struct, frozen=True):
    """A task that runs."""

    task: TaskRow
    node: str
    since: datetime
    lapses_at: datetime
    note: str | None
    done: float | None
    total: float | None


class NowModel(Struct, frozen=True):
    """The queue at a moment."""

    seq: int
    at: datetime
    counts: dict[str, int]
    total: int
    overdue: int
    span_us: int
    """The time that the rates are of."""
    rates: list[Rate]
    groups: list[Group]
    more_groups: int
    oldest_ready_at: datetime | None
    leases: list[LeaseRow]
    more_leases: int
    ready: list[TaskRow]
    scheduled: list[TaskRow]
    expiring: list[TaskRow]
    nodes: list[NodeRow]
    held: dict[str, int]
    unhandled: dict[str, int]
    unknown: str | None
    """What a newer eventq has written, so that this one cannot tell all."""


def now_model(sight: Sight, question: NowQuestion, veil: Veil) -> NowModel:
    """The queue at the sight's moment; O(tasks that are not ready)."""
    del question
    with sight.seen() as projection:
        now = sight.at
        state = take_state(projection, now, limit=ROWS, lanes=veil.lanes)
        found = OpenTasks.of(projection, now)
        seen = [] if veil.lanes is None else veil.seen_of(projection.tasks.values())
        nodes = _nodes(projection, now)
        unnamed = unhandled(projection, now=now)
        waits = waits_for(projection, state.ready, now)
        pauses = list(projection.governing.pauses.by_scope)
        has_values = any(each.tags or each.value for each in pauses)
        secrets = secrets_in(projection) if has_values else NO_SECRETS
    # Outside: tasks never change, and others need the projection.
    groups = [group for group in _groups(found) if veil.sees(group.lane)]
    span_us, rates = _rates(sight.log, state.seq, state.at)
    oldest = [group.oldest_ready_at for group in groups if group.oldest_ready_at is not None]
    hidden = veils_of(sight.log, by_number(held.task for held in state.leases), veil)
    leases = [_lease(held, now, veil, hidden(held.task.number)) for held in state.leases]
    model = NowModel(
        seq=state.seq,
        at=instant(state.at),
        counts=state.counts,
        total=state.total,
        overdue=state.overdue,
        span_us=span_us,
        rates=rates,
        groups=groups[:GROUPS],
        more_groups=max(0, len(groups) - GROUPS),
        oldest_ready_at=min(oldest, default=None),
        leases=leases,
        more_leases=sum(group.leased for group in groups) - len(leases),
        ready=task_rows(sight.log, state.ready, now, veil, waits),
        scheduled=task_rows(sight.log, state.waiting, now, veil),
        expiring=task_rows(sight.log, state.expiring, now, veil),
        nodes=nodes,
        held=_held_words(state.held, pauses, RuleVeil(veil, secrets)),
        unhandled=unnamed,
        unknown=None if state.unknown is None else f"{state.unknown[1]} at {state.unknown[0]}",
    )
    return model if veil.lanes is None else _of_lanes(model, groups, seen)


def _of_lanes(model: NowModel, groups: list[Group], tasks: list[Task]) -> NowModel:
    """The same without what is counted over all lanes: that of open tasks in some lanes alone."""
    counts = {
        name: sum(getattr(group, name) for group in groups)
        for name in ("waiting", "scheduled", "ready", "leased")
    }
    held = Counter(task.worker for task in tasks if task.recorded_state is TaskState.LEASED)
    return replace(
        model,
        counts=counts,
        total=len(tasks),
        overdue=0,
        span_us=0,
        rates=[],
        held={},
        unhandled={},
        nodes=[replace(node, leases=held[node.node]) for node in model.nodes],
    )


def _held_words(
    held: Mapping[str, int], pauses: Iterable[Scope], rules: RuleVeil
) -> dict[str, int]:
    """How many ready tasks each limit or pause keeps back, without values that are not shown."""
    words = {scope_words(scope): scope_words(rules.scope(scope)) for scope in pauses}
    found: Counter[str] = Counter()
    for what, count in held.items():
        kind, _, scope = what.partition(" of ")
        found[f"{kind} of {words[scope]}" if scope in words else what] += count
    return dict(found)


def _lease(held: Held, now: int, veil: Veil, hidden: TaskVeil) -> LeaseRow:
    told = held.task.progress
    return LeaseRow(
        task_row(held.task, now, veil, hidden),
        held.worker,
        instant(held.leased_at),
        instant(held.lapses_at),
        None if told is None else hidden.text(told.note) or None,
        None if told is None else told.done,
        None if told is None else told.total,
    )


class RouteTally:
    """The open tasks of one name in one lane, counted."""

    __slots__ = ("leased", "oldest", "ready", "scheduled", "waiting")

    def __init__(self) -> None:
        self.ready = self.leased = self.scheduled = self.waiting = 0
        self.oldest: int | None = None


class OpenTasks(Struct, frozen=True):
    """What the open tasks are counted from: copies, to be gone through at leisure."""

    ready: Mapping[Route, int]
    oldest: Mapping[Route, int]
    """Since when the oldest ready task of each route is to run."""
    leased: list[Route]
    waiting: list[Route]
    pending: list[Route]
    """Of the tasks that are ready or scheduled; empty where none is scheduled."""

    @classmethod
    def of(cls, projection: Projection, now: int) -> OpenTasks:
        """Those of a projection; ready ones, of which there may be most, by its index."""
        tasks = projection.tasks
        has_scheduled = projection.scheduled_count(now) > 0
        return cls(
            projection.ready_routes(now),
            projection.oldest_ready(now),
            [task.route for task in projection.leased()],
            [tasks[number].route for number in projection.waits.by_task],
            [task.route for task in tasks.values() if task.recorded_state is SCHEDULED]
            if has_scheduled
            else [],
        )


def _groups(found: OpenTasks) -> list[Group]:
    """The open tasks by name and lane, those with the most ready ones first."""
    tallies: dict[tuple[str | None, str], RouteTally] = defaultdict(RouteTally)

    def tally(route: Route) -> RouteTally:
        return tallies[route.name, DEFAULT_LANE if route.lane is None else route.lane]

    for route, count in found.ready.items():
        tally(route).ready += count
        if found.pending:
            tally(route).scheduled -= count
    for route, since in found.oldest.items():
        known = tally(route)
        known.oldest = since if known.oldest is None else min(known.oldest, since)
    for route, count in count_routes(found.leased):
        tally(route).leased += count
    for route, count in count_routes(found.waiting):
        tally(route).waiting += count
    for route, count in count_routes(found.pending):
        tally(route).scheduled += count
    groups = [
        Group(
            name,
            lane,
            ready=known.ready,
            leased=known.leased,
            scheduled=known.scheduled,
            waiting=known.waiting,
            oldest_ready_at=None if known.oldest is None else instant(known.oldest),
        )
        for (name, lane), known in tallies.items()
    ]
    return sorted(groups, key=lambda each: (-each.ready, -each.leased, each.name or "", each.lane))


def _rates(log: EventLog, seq: int, at: int) -> tuple[int, list[Rate]]:
    """What the last events before a position were, and how long they took."""
    after = max(log.start().seq, seq - RATE_EVENTS)
    kinds: Counter[str] = Counter()
    began_at = at
    if seq > after:
        commits = log.read(after=after, limit=seq - after)
        began_at = commits[0].at if commits else at
        for commit in commits:
            kinds.update(stored_kind(e.body) for e in stored_of(commit) if after < e.seq <= seq)
    span_us = max(0, at - began_at)
    minutes = max(span_us, SECOND_US) / (60 * SECOND_US)
    return span_us, [
        Rate(kind, kinds[kind], round(kinds[kind] / minutes, 1)) for kind in TOLD_KINDS
    ]


def _nodes(projection: Projection, now: int) -> list[NodeRow]:
    """The nodes that run: those that hold leases, and those that have joined lately."""
    members: dict[str, Member | None] = dict.fromkeys(projection.holders)
    members.update({member.joined.worker: member for member in projection.alive_members(now)})
    found = []
    for name, member in sorted(members.items()):
        holder = projection.holders.get(name)
        signs = [] if holder is None else [holder.seen_at]
        signs += [] if member is None else [member.at]
        joined = None if member is None else member.joined
        found.append(
            NodeRow(
                node=name,
                leases=0 if holder is None else len(holder.tasks),
                slots=None if joined is None else _slots(joined.lanes, joined.slots),
                names=[] if joined is None else list(joined.names),
                unnamed=joined is None or joined.unnamed,
                version=None if joined is None else joined.version,
                seen_at=instant(max(signs)),
            )
        )
    return found


def _slots(lanes: dict[str, int] | None, slots: int) -> str:
    if lanes is None:
        return str(slots)
    return ", ".join(f"{lane} {count}" for lane, count in sorted(lanes.items()))
