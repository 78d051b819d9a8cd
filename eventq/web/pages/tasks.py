"""The page of tasks: those that fit a filter at a moment, a page at a time, as columns of choice.

The catalog answers where it reaches to the moment; else the open tasks do, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import Struct

from eventq.catalog.orders import Order
from eventq.catalog.record import TaskRecord, place_of
from eventq.catalog.selector import Selector
from eventq.core.secret_tags import open_tags
from eventq.core.task import Task, instant
from eventq.errors import ArgumentError
from eventq.eventlog.contract import EventLog
from eventq.web.filtering import FilterQuestion, given_of, selector_of
from eventq.web.kept_catalog import CatalogLackingError
from eventq.web.naming import by_number, veils_of
from eventq.web.showing import TaskVeil, Veil
from eventq.web.sight import Sight

PAGE = 50
# Whatever else may be asked for, so many tasks a page at the most.
MOST_ROWS = 500
ORDERS = frozenset(get_args(Order))
COLUMNS = {
    "state": "State",
    "name": "Name",
    "lane": "Lane",
    "priority": "Priority",
    "attempts": "Attempts",
    "created": "Created",
    "scheduled": "To run",
    "ended": "Ended",
    "changed": "Last change",
    "waited": "Waited",
    "ran": "Ran",
    "error": "Last error",
    "place": "Raised at",
    "nodes": "Nodes",
    "flow": "Flow",
    "schedule": "Schedule",
    "by": "Touched by",
    "lapses": "Lapses",
    "tags": "Tags",
}
USUAL = ("state", "name", "lane", "attempts", "changed", "error", "tags")
# What only the catalog knows of a task.
OF_CATALOG = frozenset(
    {"node", "by", "waited", "ran", "lapsed", "refused", "ran_twice", "ended_after", "ended_before"}
    | {"since", "until"}
)


class TasksQuestion(FilterQuestion, frozen=True):
    """Which tasks, in which order, with which columns."""

    order: str = "-last"
    columns: str = ""
    """Their names, with commas between."""
    after: int | None = None
    """Go on behind the task whose last event (or, by number, whose number) this is."""
    limit: int = PAGE
    count: bool = False
    """Whether to count them all."""


class FoundRow(Struct, frozen=True):
    """A task in a list, with all that the catalog knows of it."""

    key: str
    number: int
    name: str | None
    lane: str
    state: str
    priority: int
    attempts: int
    created_at: datetime
    scheduled_at: datetime
    ended_at: datetime | None
    last_seq: int
    last_at: datetime | None
    """When it last changed; None where only the catalog would know."""
    waited_us: int | None
    ran_us: int | None
    error: str | None
    place: str
    nodes: list[str]
    flow: int | None
    schedule: str | None
    by: list[str]
    lapses: int
    refused: int
    ran_twice: bool
    tags: Any


class TasksModel(Struct, frozen=True):
    """Tasks that fit a filter at a moment."""

    seq: int
    at: datetime
    given: dict[str, str]
    """The filter, without what is empty."""
    order: str
    columns: list[str]
    rows: list[FoundRow]
    more: int | None
    """Where the next page begins; None where there is no more."""
    is_first: bool
    count: int | None
    """How many they are in all, where that was asked."""
    lack: str | None
    """Why only open tasks are shown; None where the catalog has answered."""


def tasks_model(sight: Sight, question: TasksQuestion, veil: Veil) -> TasksModel:
    """Tasks that fit a filter at a moment.

    Raises ArgumentError, FilterRefusedError and SlowQuestionError.
    """
    selector = selector_of(question, veil, sight.log, sight.at)
    order, limit = _order(question.order), _limit(question.limit)

    def ask(catalog: Any, point: Any) -> tuple[list[TaskRecord], int | None]:  # noqa: ANN401 - of the catalog
        found = catalog.find(selector, point, order=order, limit=limit + 1, after=question.after)
        return found, catalog.count(selector, point) if question.count else None

    lack = None
    try:
        records, count = sight.asked(ask)
    except CatalogLackingError as error:
        lack = str(error)
        records, count = _open_records(sight, question, selector, order, limit)
    shown, left = records[:limit], records[limit:]
    more = None if not left else shown[-1].last_seq if order == "-last" else shown[-1].number
    return TasksModel(
        seq=sight.seq,
        at=instant(sight.at),
        given=given_of(question),
        order=order,
        columns=_columns(question.columns),
        rows=found_rows(sight.log, shown, veil),
        more=more,
        is_first=question.after is None,
        count=count,
        lack=lack,
    )


def found_rows(log: EventLog, records: Iterable[TaskRecord], veil: Veil) -> list[FoundRow]:
    """Tasks as a list has them."""
    found = list(records)
    hidden = veils_of(log, by_number(found), veil)
    return [_found_row(each, hidden(each.number)) for each in found]


def error_text(record: TaskRecord, hidden: TaskVeil) -> str | None:
    """Type and message of its last error, as they are shown."""
    if record.error_type is None:
        return None
    return f"{record.error_type}: {hidden.text(record.error_message)}".rstrip(": ")


def open_record(task: Task, now: int) -> TaskRecord:
    """What a projection knows of an open task."""
    error = task.last_error
    return TaskRecord(
        number=task.number,
        key=task.key,
        name=task.name,
        lane=task.lane,
        state=task.as_of(now).state,
        priority=task.priority,
        tags_json=open_tags(task.tags_json, task.secret),
        attempts=task.attempt,
        created_at=task.created_at_us,
        scheduled_at=task.scheduled_at_us,
        ended_at=None,
        last_seq=task.number,
        last_at=0,
        error_type=None if error is None else error.type,
        error_message="" if error is None or task.secret else error.message,
        error_place="" if error is None else place_of(error.traceback),
        nodes=() if task.worker is None else (task.worker,),
        flow=task.flow,
        schedule=task.schedule,
        secret=task.secret,
    )


def _open_records(
    sight: Sight, question: TasksQuestion, selector: Selector, order: str, limit: int
) -> tuple[list[TaskRecord], int | None]:
    """Open tasks that fit, by number; the newest first unless the oldest are asked for."""
    for name in given_of(question):
        if name in OF_CATALOG:
            expected = "another condition: only a catalog knows this, and there is none for here"
            raise ArgumentError(name, getattr(question, name), expected)
    tasks = sight.tasks()
    found: list[TaskRecord] = []
    after, count = question.after, 0
    for number in sorted(tasks, reverse=order != "number"):
        if not question.count and len(found) > limit:
            break
        record = open_record(tasks[number], sight.at)
        if not selector.matches(record):
            continue
        count += 1
        is_behind = after is None or (number > after if order == "number" else number < after)
        if is_behind and len(found) <= limit:
            found.append(record)
    return found, count if question.count else None


def _found_row(record: TaskRecord, hidden: TaskVeil) -> FoundRow:
    return FoundRow(
        key=hidden.key(record.key, record.number),
        number=record.number,
        name=record.name,
        lane=record.lane,
        state=str(record.state),
        priority=record.priority,
        attempts=record.attempts,
        created_at=instant(record.created_at),
        scheduled_at=instant(record.scheduled_at),
        ended_at=None if record.ended_at is None else instant(record.ended_at),
        last_seq=record.last_seq,
        last_at=instant(record.last_at) if record.last_at else None,
        waited_us=record.waited_us,
        ran_us=record.ran_us,
        error=error_text(record, hidden),
        place=hidden.text(record.error_place),
        nodes=list(record.nodes),
        flow=record.flow,
        schedule=record.schedule,
        by=list(record.by),
        lapses=record.lapses,
        refused=record.refused,
        ran_twice=record.ran_twice,
        tags=hidden.all_tags(msgspec.json.decode(record.tags_json)),
    )


def _order(word: str) -> Order:
    if word not in ORDERS:
        raise ArgumentError("order", word, f"one of {', '.join(sorted(ORDERS))}")
    found: Order = word  # type: ignore[assignment]
    return found


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST_ROWS:
        raise ArgumentError("limit", limit, f"1 to {MOST_ROWS}")
    return limit


def _columns(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    for word in words:
        if word not in COLUMNS:
            raise ArgumentError("columns", word, f"of {', '.join(COLUMNS)}")
    return [name for name in COLUMNS if name in words] or list(USUAL)
