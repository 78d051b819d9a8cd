"""Changes to many tasks, and the tasks that they are about, as tables."""

from __future__ import annotations

from eventq.catalog.bulks import BulkState
from eventq.catalog.record import TaskRecord
from eventq.cli.output import Listing
from eventq.cli.text import short, time_text, visible

ERROR_CHARACTERS = 60


def _error(record: TaskRecord) -> str:
    if record.error_type is None:
        return "-"
    message = f"{record.error_type}: {record.error_message}".rstrip(": ")
    return short(visible(message), ERROR_CHARACTERS)


def _done(bulk: BulkState) -> str:
    if bulk.moved_on is None:
        return f"{bulk.changed} so far"
    return f"{bulk.changed}, {bulk.moved_on} moved on" if bulk.moved_on else str(bulk.changed)


BULKS = Listing(
    ("ID", "id"),
    ("AT", lambda bulk: time_text(bulk.at)),
    ("ACTION", "action"),
    ("OF", lambda bulk: "-" if bulk.undoes is None else str(bulk.undoes)),
    ("TASKS", "count"),
    ("CHANGED", _done),
    ("BY", lambda bulk: "-" if bulk.by is None else visible(bulk.by)),
    ("REASON", lambda bulk: visible(bulk.reason) or "-"),
    elastic=1,
)
RECORDS = Listing(
    ("KEY", lambda record: visible(record.key)),
    ("STATE", "state"),
    ("NAME", "name"),
    ("ATTEMPTS", "attempts"),
    ("LAST ERROR", _error),
    elastic=1,
)
