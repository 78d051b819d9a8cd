"""The page of one task: its story in words, attempts, log lines, values, neighbours, raw events."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from eventq.audit.history import Step, steps_of
from eventq.audit.phrases import progress_words, wait_words
from eventq.audit.why import Why, explain
from eventq.core.commits import Event, Unknown
from eventq.core.events import Created, Failed, Noted, Progressed, Told
from eventq.core.moves import fold_events
from eventq.core.task import FINAL, Task, TaskState, instant
from eventq.core.values import ErrorInfo
from eventq.errors import TaskNotFoundError
from eventq.eventlog.contract import EventLog
from eventq.replay.attempts import past_attempts
from eventq.replay.blocking import waits_for
from eventq.replay.rule_words import bucket_words
from eventq.replay.rules_now import pause_states
from eventq.runner.frames import StackLine
from eventq.runner.standing import stack_of
from eventq.web.naming import by_number, find_history, names_for, renamed, veil_of, veils_of
from eventq.web.pages.rows import TaskRow, task_row, values_of
from eventq.web.showing import EXPIRY_REASONS, TaskVeil, Veil, json_tree
from eventq.web.sight import Sight, command_of

# What has more is read with `eventq history`.
EVENTS_SHOWN = 500
LINES_SHOWN = 500
NEIGHBOURS = 50
NO_STACK = (
    "Where it stands now cannot be seen here. Node {} runs it elsewhere, or isolated in a process "
    "of its own that does not answer. A console in the worker's process shows it (eventq.web.app)."
)


class TaskQuestion(Struct, frozen=True):
    """Which task."""

    key: str


class StepRow(Struct, frozen=True):
    """One event, in words."""

    seq: int
    at: datetime
    since_us: int | None
    kind: str
    state: str
    node: str | None
    words: str
    is_damage: bool


class AttemptRow(Struct, frozen=True):
    """One attempt."""

    attempt: int
    fence: int
    node: str
    started_at: datetime
    ended_at: datetime | None
    took_us: int | None
    outcome: str
    error: ErrorInfo | None
    late: str | None
    lines: list[LineRow]


class LineRow(Struct, frozen=True):
    """What a worker logged, as far as its handler keeps that."""

    at: datetime
    level: str
    text: str


class Neighbour(Struct, frozen=True):
    """A task that this one waits for, or that waits for it."""

    key: str
    number: int
    state: str


class EventRow(Struct, frozen=True):
    """An event as the log holds it."""

    seq: int
    at: datetime
    kind: str
    body: Any


class TaskModel(Struct, frozen=True):
    """One task at a moment."""

    seq: int
    at: datetime
    row: TaskRow
    last_seq: int
    """Position of its last event: a form that is older acts on another state."""
    facts: list[tuple[str, str]]
    instants: list[tuple[str, datetime]]
    is_final: bool
    is_pending: bool
    progress: tuple[float, float | None, str, datetime] | None
    progress_words: str | None
    result: Any
    result_missing: str | None
    has_result: bool
    saved: Any
    error: ErrorInfo | None
    stack: list[StackLine] | None
    """Where its attempt stands; None where it does not run in this process."""
    stack_lack: str | None
    """Why that is not told of an attempt that runs; None where it is told, or none runs."""
    steps: list[StepRow]
    more_steps: int
    attempts: list[AttemptRow]
    waits: list[Neighbour]
    """What it still waits for."""
    awaited_by: list[Neighbour]
    flow: int | None
    events: list[EventRow]
    commands: list[str]


class WhyModel(Struct, frozen=True):
    """Why a task was or was not dispatched."""

    seq: int
    at: datetime
    key: str
    state: str
    verdict: str
    notes: list[str]


def task_model(sight: Sight, question: TaskQuestion, veil: Veil) -> TaskModel:
    """One task at the sight's moment; by index, and by what is open then.

    Raises TaskNotFoundError.
    """
    history = find_history(sight.log, question.key, veil, sight.point)
    task, waits, around = _in_projection(sight, history)
    task = task.as_of(sight.at)
    _check_seen(task, question.key, veil)
    hidden = veil_of(history, veil)
    names = names_for(sight.log, [waits or ""], around.known.values(), veil)
    said = _said_in(history)
    steps = list(steps_of(sight.log, history))
    words = {} if waits is None else {task.number: renamed(waits, names)}
    told = task.progress
    row = task_row(task, sight.at, veil, hidden, words)
    stack = _stack(sight, task, veil)
    return TaskModel(
        seq=sight.seq,
        at=instant(sight.at),
        row=row,
        last_seq=last_change(history),
        facts=[(name, hidden.words(text, said)) for name, text in _facts(task, veil)],
        instants=_instants(task),
        is_final=task.ending is not None,
        is_pending=str(task.state) in {"scheduled", "ready", "waiting"},
        progress=None if told is None else (told.done, told.total, hidden.text(told.note), told.at),
        progress_words=None if told is None else progress_words(told.done, told.total),
        result=hidden.value(json_tree(task.result_json)),
        result_missing=task.result_missing,
        has_result=task.result_json is not None,
        saved=hidden.value(json_tree(task.saved_json)),
        error=hidden.error(task.last_error),
        stack=stack,
        stack_lack=None if stack is not None else _stack_lack(sight, task, veil),
        steps=[_step_row(step, hidden, said) for step in steps[-EVENTS_SHOWN:]],
        more_steps=max(0, len(steps) - EVENTS_SHOWN),
        attempts=_attempts(sight.log, history, hidden),
        waits=_neighbours(sight, around, around.before, veil),
        awaited_by=_neighbours(sight, around, around.after, veil),
        flow=task.flow,
        events=[_event_row(event, hidden) for event in history[-EVENTS_SHOWN:]],
        commands=[] if row.key != task.key else commands_of(sight, task.key),
    )


def why_model(sight: Sight, question: TaskQuestion, veil: Veil) -> WhyModel:
    """Why a task was or was not dispatched; it may fold the log up to when the task was ready.

    Raises TaskNotFoundError.
    """
    history = find_history(sight.log, question.key, veil, sight.point)
    found = explain(sight.log, history, sight.point)
    task = found.task
    _check_seen(task, question.key, veil)
    hidden, said = veil_of(history, veil), [*_said_in(history), *values_of(task, veil)]
    if veil.hides_values:
        with sight.seen() as projection:
            said += [each.reason for each in pause_states(projection, sight.at)]
    others = chain(_rivals(found), sight.tasks().values())
    texts = [found.verdict, *found.notes]
    names = names_for(sight.log, texts, others, veil)
    verdict, *notes = [hidden.words(renamed(each, names), said) for each in texts]
    return WhyModel(
        seq=found.seq,
        at=instant(found.at),
        key=hidden.key(task.key, task.number),
        state=str(task.state),
        verdict=verdict,
        notes=notes,
    )


def _rivals(found: Why) -> Iterator[Task]:
    """The tasks that an answer names, beside those that are open."""
    ranks = [found.ready_rank, found.rank, None if found.grant is None else found.grant.rank]
    for rank in ranks:
        if rank is not None:
            yield from (each.task for each in [*rank.ahead, *rank.behind])
    yield from (each.task for each in found.overtaken)


def last_change(history: list[Event]) -> int:
    """The last event that may matter to who acts on the task: what it tells does not."""
    return next((e.seq for e in reversed(history) if not isinstance(e.body, Told)), 0)


def commands_of(sight: Sight, key: str) -> list[str]:
    """What says the same on the command line, quoted for a shell."""
    at = [] if sight.is_live else ["--at", str(sight.seq)]
    begins = (command_of(sight.log, command) for command in ("why", "history"))
    return [shlex.join([*begin, *at, "--", key]) for begin in begins]


def _stack(sight: Sight, task: Task, veil: Veil) -> list[StackLine] | None:
    """Of the present alone: the past has none."""
    if not sight.is_live or not task.fence or veil.hides_values:
        return None
    return stack_of(task.fence)


def _stack_lack(sight: Sight, task: Task, veil: Veil) -> str | None:
    if task.recorded_state is not TaskState.LEASED:
        return None
    if not sight.is_live:
        return "Where it stood then is not known: the log does not hold it."
    if veil.hides_values:
        return "Where it stands now is shown to those who may see values."
    return NO_STACK.format(task.worker)


def _check_seen(task: Task, word: str, veil: Veil) -> None:
    """A task of another lane is as good as none."""
    if not veil.sees(task.lane):
        raise TaskNotFoundError(word)


class Around(Struct, frozen=True):
    """The tasks that one waits for, and those that wait for it, by number."""

    before: list[int]
    after: list[int]
    known: dict[int, Task]
    """Those of them that are open."""


def _in_projection(sight: Sight, history: list[Event]) -> tuple[Task, str | None, Around]:
    """The task, what keeps it from running, and its neighbours."""
    task = fold_events(sight.log.namespace, history)
    assert task is not None, "a history that was found is not empty"
    with sight.seen() as projection:
        # Its own history does not tell when its wait has ended; but it may know more by now.
        known = projection.tasks.get(task.number)
        if known is not None and projection.seq >= history[-1].seq:
            task = known
        words = waits_for(projection, [task], sight.at).get(task.number)
        wait = projection.waits.by_task.get(task.number)
        numbers = [] if wait is None else sorted(wait.open | wait.failed)
        later = sorted(projection.waits.by_predecessor.get(task.number, ()))
        before, after = numbers[:NEIGHBOURS], later[:NEIGHBOURS]
        told = [] if wait is None else sorted(wait.open)[:NEIGHBOURS]
        found = (projection.tasks.get(number) for number in [*told, *before, *after])
        open_tasks = {each.number: each for each in found if each is not None}
    return task, words, Around(before, after, open_tasks)


def _neighbours(sight: Sight, around: Around, numbers: list[int], veil: Veil) -> list[Neighbour]:
    hidden = veils_of(sight.log, by_number(around.known.values()), veil)
    found = []
    for number in numbers:
        task = around.known.get(number)
        if task is None:
            # What has ended is not there any more.
            found.append(Neighbour(str(number), number, "final"))
        elif veil.sees(task.lane):
            key = hidden(number).key(task.key, number)
            found.append(Neighbour(key, number, str(task.as_of(sight.at).state)))
    return found


def _said_in(history: list[Event]) -> list[str]:
    """What people, and the task's own worker, have said of it in words of their own."""
    found = set()
    for event in history:
        body = event.body
        reason = getattr(body, "reason", "")
        if reason not in EXPIRY_REASONS:
            found.add(reason)
        if isinstance(body, Failed):
            found.add(body.error.message)
        elif isinstance(body, Progressed):
            found.add(body.note)
        elif isinstance(body, Created):
            values = (bucket.value for bucket in body.limits)
            found.update(value or "" for value in (*values, body.unique, body.share))
    return sorted(found - {""})


def _backoff_words(task: Task) -> str:
    return f"{task.policy.backoff}: next {wait_words(task.policy, task.retry_count + 1)}"


def _facts(task: Task, veil: Veil) -> list[tuple[str, str]]:
    policy = task.policy
    most = "any number" if policy.max_retries is None else f"{policy.max_retries:,}"
    pairs: list[tuple[str, str | None]] = [
        ("name", task.name),
        ("lane", task.lane),
        ("priority", str(task.priority)),
        ("attempts", f"{task.attempt:,}"),
        ("retries", f"{task.retry_count:,} of {most}"),
        ("backoff", None if task.recorded_state in FINAL else _backoff_words(task)),
        ("node", task.worker),
        ("schedule", task.schedule),
        ("unique", None if veil.hides_values else task.unique),
        ("limits", _limits(task, veil) or None),
        ("share", None if veil.hides_values else task.share),
        ("needs", ", ".join(task.needs) or None),
        ("if one fails", task.if_failed if task.after else None),
        ("lapses in a row", str(task.lapses) if task.lapses else None),
        ("snoozes", str(task.snoozes) if task.snoozes else None),
        ("trace", task.trace),
        ("ended because", task.final_reason or None),
        ("cancelled by the end of", None if task.cause is None else f"task {task.cause}"),
    ]
    return [(name, text) for name, text in pairs if text is not None]


def _limits(task: Task, veil: Veil) -> str:
    if veil.hides_values:
        return ", ".join(bucket.limit for bucket in task.buckets)
    return ", ".join(map(bucket_words, task.buckets))


def _instants(task: Task) -> list[tuple[str, datetime]]:
    pairs = [
        ("created", task.created_at),
        ("due", task.due),
        ("to run", task.scheduled_at),
        ("started", task.started_at),
        ("ended", task.finished_at),
        ("expires", task.expires_at),
    ]
    return [(name, at) for name, at in pairs if at is not None]


def _step_row(step: Step, hidden: TaskVeil, said: list[str]) -> StepRow:
    is_told = isinstance(step.event.body, Told)
    return StepRow(
        seq=step.event.seq,
        at=instant(step.event.decided_at),
        since_us=step.since_us,
        kind=step.event.kind,
        state=str(step.state),
        node=step.node,
        words=hidden.text(step.reason) if is_told else hidden.words(step.reason, said),
        is_damage=step.is_damage,
    )


def _attempts(log: EventLog, history: list[Event], hidden: TaskVeil) -> list[AttemptRow]:
    lines: dict[int, list[LineRow]] = {}
    for event in history:
        if isinstance(event.body, Noted):
            rows = [LineRow(instant(e.at), e.level, hidden.text(e.text)) for e in event.body.lines]
            lines.setdefault(event.body.fence, []).extend(rows)
    found = []
    for each in past_attempts(log.namespace, history)[-EVENTS_SHOWN:]:
        took = None if each.ended_at is None else each.ended_at - each.started_at
        found.append(
            AttemptRow(
                attempt=each.attempt,
                fence=each.fence,
                node=each.node,
                started_at=each.started_at,
                ended_at=each.ended_at,
                took_us=None if took is None else int(took.total_seconds() * 1_000_000),
                outcome=each.outcome,
                error=hidden.error(each.error),
                late=each.late,
                lines=lines.get(each.fence, [])[-LINES_SHOWN:],
            )
        )
    return found


def _event_row(event: Event, hidden: TaskVeil) -> EventRow:
    body = event.body
    raw = body.raw if isinstance(body, Unknown) else msgspec.json.encode(body)
    fields: dict[str, Any] = msgspec.json.decode(raw)
    fields.pop("kind", None)
    return EventRow(event.seq, instant(event.at), event.kind, hidden.body(fields))
