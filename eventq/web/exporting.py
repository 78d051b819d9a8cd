"""Tasks and changes as files: CSV and JSON lines, made while they are sent, a block at a time.

They say what the pages say to this person at the same moment, and no more.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from eventq.core.plain import escaped_json
from eventq.errors import ArgumentError
from eventq.web.kept_catalog import CatalogLackingError
from eventq.web.pages.changes import ChangeRow, ChangesQuestion, changes_model
from eventq.web.pages.tasks import TasksQuestion, tasks_model
from eventq.web.showing import Veil, safe_text
from eventq.web.sight import Sight

# A list with more is made where the log is, with `eventq find`.
MOST_TASKS = 200_000
# So many are asked for at a time, so that others have their turn.
BLOCK = 500
# With one of these, a spreadsheet would take a text for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}

Row = dict[str, Any]


class ExportKind(Struct, frozen=True):
    """What can be had as a file."""

    question: type[Struct]
    rows: Callable[[Sight, Any, Veil], Iterator[Row]]


def export_lines(form: str, rows: Iterator[Row]) -> Iterator[bytes]:
    """The rows as lines of a file; the first comes at once, with whatever is wrong.

    Raises what asking raises.
    """
    first = next(rows, None)
    whole = iter(()) if first is None else chain([first], rows)
    return _csv_lines(whole) if form == "csv" else _json_lines(whole)


def task_rows_of(sight: Sight, question: TasksQuestion, veil: Veil) -> Iterator[Row]:
    """All tasks that fit a filter, a block at a time. Raises ArgumentError for too many."""
    asked = replace(question, limit=BLOCK, count=True)
    while True:
        model = tasks_model(sight, asked, veil)
        if (model.count or 0) > MOST_TASKS:
            raise ArgumentError("filter", f"{model.count:,} tasks", f"at most {MOST_TASKS:,}")
        for row in model.rows:
            yield asdict(row)
        if model.more is None:
            return
        asked = replace(asked, after=model.more, count=False)


def change_rows_of(sight: Sight, question: ChangesQuestion, veil: Veil) -> Iterator[Row]:
    """All changes, the last first, a block at a time. Raises CatalogLackingError."""
    asked = replace(question, limit=BLOCK)
    while True:
        model = changes_model(sight, asked, veil)
        if model.lack is not None:
            # An auditor is not given a part for the whole.
            raise CatalogLackingError(model.lack)
        for row in model.rows:
            yield _audited(row)
        if model.more is None:
            return
        asked = replace(asked, before=model.more)


def _audited(row: ChangeRow) -> Row:
    """A change for an auditor: names that were proved stand apart from those that are claims."""
    many = row.many
    is_proved = row.proof == "authenticated"
    return {
        "position": row.seq,
        "at": row.at,
        "kind": row.kind,
        "what": row.what,
        "task": row.number or None,
        "key": row.key,
        "authenticated_by": row.by if is_proved else None,
        "claimed_by": None if is_proved else row.by,
        "way": row.via,
        "reason": row.reason,
        "bulk": row.bulk,
        "count": None if many is None else many.count,
        "changed": None if many is None else many.changed,
        "selector": None if many is None else many.selector,
        "undoes": row.undoes,
        "undone_by": row.undone_by,
    }


def _json_lines(rows: Iterator[Row]) -> Iterator[bytes]:
    for row in rows:
        yield f"{escaped_json(msgspec.json.encode(row).decode())}\n".encode()


def _csv_lines(rows: Iterator[Row]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text)
    for place, row in enumerate(rows):
        if not place:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _cell(value: object) -> str:
    """A value as a cell that neither a terminal nor a spreadsheet takes for more than text."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        value = msgspec.json.encode(value).decode()
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    text = safe_text(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text


EXPORTS: dict[str, ExportKind] = {
    "tasks": ExportKind(TasksQuestion, task_rows_of),
    "changes": ExportKind(ChangesQuestion, change_rows_of),
}


def find_export(file: str) -> tuple[str, str] | None:
    """What is asked for by the name of a file, and in which form; None where there is none."""
    what, _, form = file.partition(".")
    return (what, form) if what in EXPORTS and form in FORMATS else None
