"""A row of an outbox: one task to be made, as its order was checked; nothing here is stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.task import instant
from eventq.errors import EventqError

# Of the columns, and of the body in them.
VERSION = 1
TABLE = "eventq_outbox"

_decoder = msgspec.json.Decoder(NewTask)


class OutboxRow(Struct, frozen=True):
    """One row as it is stored."""

    id: Any
    """By which the store finds it again; None before it is stored."""
    namespace: str
    key: str
    version: int
    made_at: int
    """Microseconds, by the clock of whoever made it."""
    body: str


class OutboxTask(Struct, frozen=True):
    """A task that is not in the log yet: its row waits for a relay, or was set aside."""

    key: str
    name: str | None
    made_at: datetime
    problem: str | None
    """Why it was set aside; None while it waits."""


class RowError(EventqError):
    """A row cannot be made a task of; it is set aside, and those behind it go on."""


def row_of(order: NewTask, *, namespace: str, key: str, now: int) -> OutboxRow:
    """The row for an order that is made now: its delay counts from here on, not from the relay."""
    if order.delay_us is not None:
        order = replace(order, scheduled_at=now + order.delay_us, delay_us=None)
    body = msgspec.json.encode(replace(order, key=key)).decode()
    return OutboxRow(None, namespace, key, VERSION, now, body)


def order_of_row(row: OutboxRow) -> NewTask:
    """The order in a row. Raises RowError for one that was damaged, or is of another version."""
    if row.version != VERSION:
        raise RowError(f"it is of version {row.version}, and this eventq knows {VERSION}")
    try:
        order = _decoder.decode(row.body)
    except (msgspec.DecodeError, TypeError, ValueError) as error:
        raise RowError(f"its body is damaged: {error}") from error
    if order.key != row.key:
        raise RowError(f"its body is of another key, {order.key!r}")
    return order


def shown_row(row: OutboxRow, problem: str | None) -> OutboxTask:
    """The row for people."""
    try:
        name = order_of_row(row).route.name
    except RowError:
        name = None
    return OutboxTask(row.key, name, instant(row.made_at), problem)
