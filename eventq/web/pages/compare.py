"""The page that compares: two points of the log, or two attempts of tasks."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from eventq.audit.diff import diff_points
from eventq.audit.history import steps_of
from eventq.core.durations import brief_duration
from eventq.core.task import Task, instant, show_instant
from eventq.core.values import ErrorInfo
from eventq.errors import ArgumentError, TaskNotFoundError
from eventq.replay.attempts import RecordedAttempt, attempt_of, leases_of
from eventq.replay.points import Point, find_point
from eventq.snapshot import TaskDifference
from eventq.web.filtering import FilterRefusedError
from eventq.web.naming import find_history, veil_of, veils_of
from eventq.web.rule_veil import RuleVeil, rule_veil
from eventq.web.showing import EXPIRY_REASONS, TaskVeil, Veil
from eventq.web.sight import Sight

TASKS_SHOWN = 200
# What is told of a task that differs, in this order; instants are in microseconds.
TOLD_FIELDS = {
    "state": "state",
    "priority": "priority",
    "lane": "lane",
    "attempt": "attempts",
    "worker": "node",
    "scheduled_at_us": "to run",
    "final_reason": "ended because",
    "tags": "tags",
    "last_error": "last error",
}


class CompareQuestion(Struct, frozen=True):
    """Two points; or two tasks, each with the number of an attempt, or its last one."""

    a: str = ""
    b: str = ""
    task: str = ""
    other: str = ""
    attempt: str = ""
    other_attempt: str = ""


class ChangedField(Struct, frozen=True):
    """One thing that is not the same."""

    name: str
    before: str
    after: str


class ChangedTask(Struct, frozen=True):
    """One task that is not the same."""

    key: str
    number: int
    fields: list[ChangedField]


class PointsModel(Struct, frozen=True):
    """What changed from one point to another."""

    a: int
    b: int
    a_at: datetime
    b_at: datetime
    counts: list[ChangedField]
    passed: dict[str, int]
    tasks: list[ChangedTask]
    more_tasks: int
    others: list[str]
    """Nodes, rules, schedules and followers that differ, in words."""


class AttemptSide(Struct, frozen=True):
    """One of two attempts, as a column."""

    key: str
    attempt: int
    facts: dict[str, str]


class AttemptsModel(Struct, frozen=True):
    """Two attempts, side by side."""

    first: AttemptSide
    second: AttemptSide
    differs: list[str]
    """The facts that are not the same."""


class CompareModel(Struct, frozen=True):
    """One of the two, or nothing where nothing is asked yet."""

    seq: int
    at: datetime
    points: PointsModel | None
    attempts: AttemptsModel | None


def compare_model(sight: Sight, question: CompareQuestion, veil: Veil) -> CompareModel:
    """What is asked for; two points fold the log from one to the other."""
    points = attempts = None
    if question.a and question.b:
        points = _points(sight, question, veil)
    if question.task:
        attempts = _attempts(sight, question, veil)
    return CompareModel(sight.seq, instant(sight.at), points, attempts)


def _points(sight: Sight, question: CompareQuestion, veil: Veil) -> PointsModel:
    if veil.lanes is not None:
        raise FilterRefusedError("Two points are compared over all lanes, and you see only some.")
    before = _point(sight, question.a, "a")
    after = _point(sight, question.b, "b")
    found = diff_points(sight.log, before, after)
    tasks = []
    shown = found.open.tasks[:TASKS_SHOWN]
    now = sight.tasks()
    known = {each.number: now.get(each.number) or found.elsewhere.get(each.key) for each in shown}
    hidden = veils_of(sight.log, known, veil)
    for each in shown:
        end = found.elsewhere.get(each.key)
        row = _changed_task(each, end, hidden(each.number))
        if row.fields:
            tasks.append(row)
    opened, rules = found.open, rule_veil(sight, veil)
    others = [
        *(f"node {each.worker}: {', '.join(each.fields)}" for each in opened.holders),
        *(f"node {each.worker} joined otherwise" for each in opened.members),
        *(_rule_name(each.rule, rules) for each in opened.rules),
        *(f"schedule {each.schedule}: {', '.join(each.fields)}" for each in opened.schedules),
        *(f"follower {each.follower}: {', '.join(each.fields)}" for each in opened.followers),
    ]
    return PointsModel(
        a=before.seq,
        b=after.seq,
        a_at=instant(before.at),
        b_at=instant(after.at),
        counts=[ChangedField(n, f"{old:,}", f"{new:,}") for n, (old, new) in opened.counts.items()],
        passed=found.passed,
        tasks=tasks,
        more_tasks=max(0, len(opened.tasks) - TASKS_SHOWN),
        others=others,
    )


def _point(sight: Sight, word: str, name: str) -> Point:
    found = find_point(sight.log, word, now=sight.at, argument=name)
    if found.seq > sight.seq:
        raise ArgumentError(name, word, f"a point up to position {sight.seq}, which you look at")
    return found


def _rule_name(rule: str, rules: RuleVeil) -> str:
    """A limit, a pause or the turns; what a pause is about may hold values."""
    is_pause = rule.startswith("pause of ")
    return "a pause" if is_pause and rules.hides_some else rule


def _changed_task(found: TaskDifference, end: Task | None, hidden: TaskVeil) -> ChangedTask:
    fields = []
    for name, shown in TOLD_FIELDS.items():
        if name not in found.fields:
            continue
        before, after = found.fields[name]
        if name == "state" and end is not None:
            before = end.state if before is None else before
            after = end.state if after is None else after
        if name == "tags":
            before, after = hidden.tags(before), hidden.tags(after)
        elif name == "last_error":
            before, after = (_error(hidden.error(each)) for each in (before, after))
        elif name == "final_reason":
            before, after = (_reason(each, hidden) for each in (before, after))
        elif name.endswith("_us"):
            before, after = (None if e is None else show_instant(e) for e in (before, after))
        fields.append(ChangedField(shown, _text(before), _text(after)))
    return ChangedTask(hidden.key(found.key, found.number), found.number, fields)


def _error(error: ErrorInfo | None) -> str | None:
    return None if error is None else f"{error.type}: {error.message}"


def _reason(reason: str | None, hidden: TaskVeil) -> str | None:
    """Why a task ended; why it expired is a word of ours."""
    return reason if reason is None or reason in EXPIRY_REASONS else hidden.text(reason)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _attempts(sight: Sight, question: CompareQuestion, veil: Veil) -> AttemptsModel:
    first = _side(sight, question.task, question.attempt, veil, back=1)
    other = question.other or question.task
    # Of one task, the last two; of two tasks, the last one of each.
    back = 1 if question.other else 2
    second = _side(sight, other, question.other_attempt, veil, back=back)
    names = [*first.facts, *(name for name in second.facts if name not in first.facts)]
    differs = [name for name in names if first.facts.get(name) != second.facts.get(name)]
    return AttemptsModel(first, second, differs)


def _side(sight: Sight, key: str, wanted: str, veil: Veil, *, back: int) -> AttemptSide:
    history = find_history(sight.log, key, veil, sight.point)
    leases = leases_of(history, until=sight.seq)
    if wanted:
        leases = [(lease, number) for lease, number in leases if str(number) == wanted]
        back = 1
    if len(leases) < back:
        raise ArgumentError("attempt", wanted or back, f"an attempt that task {key} has had")
    lease, number = leases[-back]
    found = attempt_of(sight.log.namespace, history, lease)
    if not veil.sees(found.task.lane):
        raise TaskNotFoundError(key)
    hidden = veil_of(history, veil)
    shown = hidden.key(found.task.key, found.task.number)
    # Its own instant does not tell: a lease was given back, or others were waited for.
    ready_at = next(s.ready_at for s in steps_of(sight.log, history) if s.event is lease)
    return AttemptSide(shown, number, _facts(found, ready_at, hidden))


def _facts(found: RecordedAttempt, ready_at: int, hidden: TaskVeil) -> dict[str, str]:
    task = found.task
    facts = {
        "node": task.worker or "-",
        "started": show_instant(found.leased_at),
        "waited": brief_duration(max(0, found.leased_at - ready_at)),
        "priority": str(task.priority),
        "lane": task.lane,
        "ended": found.ended.kind,
    }
    if found.ended_at is not None:
        facts["took"] = brief_duration(found.ended_at - found.leased_at)
    if found.ended.error is not None:
        error = hidden.error(found.ended.error)
        assert error is not None, "there is one"
        facts |= {"error": error.type, "message": error.message, "traceback": error.traceback}
    if found.ended.result_json is not None:
        facts["result"] = _text(hidden.value(msgspec.json.decode(found.ended.result_json)))
    tags = hidden.tags(task.tags)
    if isinstance(tags, dict):
        facts.update({f"tag {name}": _text(value) for name, value in tags.items()})
    return facts
