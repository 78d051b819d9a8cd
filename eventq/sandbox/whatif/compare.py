"""What would have been under another policy, beside what was and the model's own account of it.

The log is only read; the same arguments give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from eventq.core.durations import Duration
from eventq.core.options import TaskOptions, policy_changes
from eventq.core.policy import Backoff
from eventq.core.tag_texts import tag_text
from eventq.core.task import Task
from eventq.core.validation import (
    check_count,
    check_list,
    check_measure,
    check_priority,
    check_tags,
)
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.replay.points import Point, find_end
from eventq.replay.query import TagFilter
from eventq.sandbox.whatif.arrivals import read_arrivals
from eventq.sandbox.whatif.meeting import Miss, misses
from eventq.sandbox.whatif.metrics import Numbers
from eventq.sandbox.whatif.outcome_model import Changes
from eventq.sandbox.whatif.simulation import Simulation
from eventq.sandbox.whatif.supposed_dues import DueCount, merged, suppose_dues
from eventq.sandbox.whatif.suppositions import LimitRule, RuleChanges, TurnRule, check_rules
from eventq.sandbox.whatif.trace import GroupOf, ShareOf, Trace, read_trace

MOST_WORKERS = 100_000
# The log is read three times: for the trace, and for the arrivals of each simulation.
PASSES = 3


class PriorityRule(Struct, frozen=True):
    """Tasks created with all of these tags have this priority."""

    tags: Mapping[str, Any]
    priority: int


class WhatIf(Struct, frozen=True):
    """Three accounts of the same tasks."""

    recorded: Numbers
    """What was."""
    as_it_was: Numbers
    """The simulation of what was: how far it is from the trace is the model's own error."""
    what_if: Numbers
    """The simulation of what would have been."""
    after: int
    """The position behind which the tasks were created."""
    until: int
    """The position up to which the trace goes."""
    schedules: list[DueCount]
    """What became of the dues of schedules with another timing."""
    left_out: int
    """Tasks that were open before; they take no part."""
    absent_us: int
    """How long no node worked although a task was ready; none does in the simulations either."""
    misses: list[Miss]
    """Where the simulation of what was does not meet the record: then trust no what-if."""
    is_ahead: bool
    """Attempts are so short that nodes lease ahead, and how many workers one had was not told: so
    there are more leases than there were workers, and run times contain waiting."""
    mean_workers: float
    """How many workers the record had on average while a node was there; at the most, see
    ``recorded``. Less where nodes came later or left earlier."""
    seed: int


def whatif(
    log: EventLog,
    *,
    after: Point,
    until: Point,
    workers: int | None = None,
    workers_then: int | None = None,
    backoff: Backoff | Duration | None = None,
    max_retries: int | UnsetType | None = UNSET,
    max_age: Duration | UnsetType | None = UNSET,
    deadline: Duration | UnsetType | None = UNSET,
    priorities: Sequence[PriorityRule] = (),
    limits: Sequence[LimitRule] = (),
    turns: TurnRule | UnsetType | None = UNSET,
    crons: Mapping[str, str | None] | None = None,
    fail_rate: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> WhatIf:
    """Replays the tasks created between two points under another policy, in virtual time.

    ``workers`` are attempts at a time; None takes those there were: of each node as many as it had
    busy at the most. Attempts begin when one of the node's slots is free (``workers_then``, else
    what it said when it joined), or where these are not known, when leased: see ``is_ahead``.
    What is not given stays as each task has it. The first of the ``priorities`` that matches a
    task's tags counts. ``limits`` and ``turns`` (None: no turns) hold all the time. ``crons`` are
    other expressions for schedules; None: no due. ``fail_rate``, 0 to 1, is the share of unrecorded
    attempts that fail; None has them end as the task's last one. Raises ArgumentError.
    """
    options: TaskOptions = {"max_retries": max_retries, "max_age": max_age, "deadline": deadline}
    rules = check_rules(limits, turns, crons or {})
    changes = _changes(options, backoff, fail_rate, rules)
    _check_counts(seed, workers=workers, workers_then=workers_then)
    begin, end = _window(log, after, until)
    told = partial(_told, progress, begin, end)
    trace = read_trace(
        log,
        after=Point(begin, after.at),
        until=end,
        group_of=_group_of(priorities),
        workers=workers_then,
        share_of=_share_of(rules),
        schedules=rules.crons,
        progress=told(0),
    )
    _check_trace(trace, rules, begin, until)
    dues = suppose_dues(trace, rules.crons, number=end + 1, seed=seed)

    def simulate(changes: Changes, workers: int | None, done: int) -> Numbers:
        others = dues if changes.rules.crons else None
        simulation = Simulation(trace, changes, workers=workers, seed=seed, dues=others)
        arrivals = read_arrivals(log, after=begin, until=end, progress=told(done))
        return simulation.run(arrivals if others is None else merged(arrivals, trace, others))

    recorded = trace.metrics.numbers(workers=trace.workers)
    as_it_was = simulate(Changes(), None, 1)
    return WhatIf(
        recorded=recorded,
        as_it_was=as_it_was,
        what_if=simulate(changes, workers, 2),
        schedules=dues.counts(),
        after=begin,
        until=end,
        left_out=trace.left_out,
        absent_us=sum(ended_at - begun_at for begun_at, ended_at in trace.absences),
        misses=misses(recorded, as_it_was),
        is_ahead=trace.is_ahead,
        mean_workers=trace.mean_workers(),
        seed=seed,
    )


def _check_trace(trace: Trace, rules: RuleChanges, begin: int, until: Point) -> None:
    """Raises ArgumentError where the record does not tell enough."""
    if not trace.ended:
        raise ArgumentError(
            "until",
            until.seq,
            f"a point by which at least one attempt of the tasks created after {begin} has ended",
        )
    rules.check_taken(trace.limits_taken)


def _told(
    progress: Callable[[int, int], None] | None, begin: int, end: int, done: int
) -> Callable[[int], None]:
    """Takes the position reached, after so many whole readings of the log."""
    length = end - begin
    return lambda seq: progress and progress(done * length + seq - begin, PASSES * length)


def _window(log: EventLog, after: Point, until: Point) -> tuple[int, int]:
    """The positions of the two points, in whole commits."""
    begin, end = find_end(log, after).seq, find_end(log, until).seq
    if begin >= end:
        raise ArgumentError("until", until.seq, f"a point some commits after {after.seq}")
    return begin, end


def _check_counts(seed: int, **counts: int | None) -> None:
    check_count(seed, "seed", least=0, most=2**63)
    for argument, count in counts.items():
        if count is not None:
            check_count(count, argument, least=1, most=MOST_WORKERS)


def _changes(
    options: TaskOptions,
    backoff: Backoff | Duration | None,
    fail_rate: float | None,
    rules: RuleChanges,
) -> Changes:
    if backoff is not None:
        options["backoff"] = backoff
    if fail_rate is not None and check_measure(fail_rate, "fail_rate") > 1:
        raise ArgumentError("fail_rate", fail_rate, "a number from 0 to 1")
    return Changes(policy_changes(options), fail_rate, by_group=True, rules=rules)


def _share_of(rules: RuleChanges) -> ShareOf:
    """The share of a task, by the turns that are supposed, or else that are taken."""
    turns = rules.turns
    if turns is UNSET or turns is None:
        return lambda task: task.route.share
    per = turns.per
    if per is None:
        return lambda task: task.own_share
    return lambda task: task.own_share or tag_text(task.tags_json, per)


def _group_of(priorities: Sequence[PriorityRule]) -> GroupOf:
    rules = []
    for rule in check_list(priorities, "priorities", PriorityRule):
        check_tags(rule.tags)
        rules.append((TagFilter(rule.tags), check_priority(rule.priority)))

    def group_of(task: Task) -> int:
        for wanted, priority in rules:
            if wanted.matches(task):
                return priority
        return task.priority

    return group_of
