"""The page of errors: what failed up to a moment, by type and place, with the tasks it happened to.

Only a catalog can tell; without one the page says how to build it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct

from eventq.catalog.counts import ErrorGroup
from eventq.catalog.passing import records_of
from eventq.catalog.record import TaskRecord
from eventq.catalog.selector import find_instant
from eventq.core.task import instant
from eventq.errors import ArgumentError
from eventq.replay.points import Point
from eventq.web.filtering import FilterQuestion, filter_text
from eventq.web.kept_catalog import CatalogLackingError
from eventq.web.naming import by_number, veils_of
from eventq.web.showing import HIDDEN, TaskVeil, Veil
from eventq.web.sight import Sight

if TYPE_CHECKING:
    from eventq.catalog.catalog import Catalog

GROUPS = 50
MOST_GROUPS = 500
LAST_US = 2**62


class ErrorsQuestion(Struct, frozen=True):
    """Which failures; what is empty is not asked."""

    since: str = ""
    until: str = ""
    limit: int = GROUPS


class ErrorRow(Struct, frozen=True):
    """Failures of one type that were raised in one place."""

    type: str
    place: str
    failures: int
    tasks: int
    first_at: datetime
    last_at: datetime
    message: str
    """One of the messages."""
    last_key: str | None
    """The newest task among these; None where it is not theirs to see."""
    filter: str
    """The tasks whose last error this is, as the page of tasks is asked for them."""


class ErrorsModel(Struct, frozen=True):
    """What failed up to a moment, the most frequent first."""

    seq: int
    at: datetime
    errors: list[ErrorRow]
    has_more: bool
    lack: str | None
    """Why nothing can be said; None where the catalog has answered."""


def errors_model(sight: Sight, question: ErrorsQuestion, veil: Veil) -> ErrorsModel:
    """What failed up to a moment, by type and place. Raises ArgumentError, SlowQuestionError."""
    since = find_instant(question.since, "since", sight.at) if question.since else 0
    until = find_instant(question.until, "until", sight.at) if question.until else LAST_US
    if not 1 <= question.limit <= MOST_GROUPS:
        raise ArgumentError("limit", question.limit, f"1 to {MOST_GROUPS}")

    def ask(catalog: Catalog, point: Point) -> list[ErrorGroup]:
        limit = question.limit + 1
        return catalog.errors(point, since=since, until=until, limit=limit, lanes=veil.lanes)

    lack, found = None, []
    try:
        found = sight.asked(ask)
    except CatalogLackingError as error:
        lack = str(error)
    shown = found[: question.limit]
    rows = _rows(sight, shown, veil)
    return ErrorsModel(sight.seq, instant(sight.at), rows, len(found) > len(shown), lack)


def _rows(sight: Sight, groups: list[ErrorGroup], veil: Veil) -> list[ErrorRow]:
    numbers = {group.last_task: None for group in groups}
    records = {each.number: each for each in records_of(sight.log, numbers, sight.point)}
    hidden = veils_of(sight.log, by_number(records.values()), veil)
    rows = []
    for group in groups:
        record = records.get(group.last_task)
        message, place = group.message, group.place
        if veil.hides_values:
            message = place = HIDDEN
        elif veil.redact:
            # Of which task a message is, nobody knows: only what is safe for one is said.
            message = HIDDEN if record is None else _message_of(record, group, hidden)
        key = None
        if record is not None and veil.sees(record.lane):
            key = hidden(record.number).key(record.key, record.number)
        rows.append(
            ErrorRow(
                group.type,
                place,
                group.failures,
                group.tasks,
                group.first_at,
                group.last_at,
                message,
                key,
                _filter(group, veil),
            )
        )
    return rows


def _message_of(record: TaskRecord, group: ErrorGroup, hidden: Callable[[int], TaskVeil]) -> str:
    is_its = (record.error_type, record.error_place) == (group.type, group.place)
    return hidden(record.number).text(record.error_message) if is_its else HIDDEN


def _filter(group: ErrorGroup, veil: Veil) -> str:
    """The tasks of a group, as far as this person may filter by it."""
    place = "" if veil.hides_some else group.place
    return filter_text(FilterQuestion(error=group.type, place=place))
