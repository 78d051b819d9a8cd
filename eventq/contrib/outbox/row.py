"""A row of an outbox: one task to be made, as its order was checked; nothing here is stored."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from eventq.core.create import NewTask
from eventq.core.task import EPOCH, instant
from eventq.errors import EventqError

# Of the columns, and of the body in them.
VERSION = 1
TABLE = "eventq_outbox"

DIGEST_BYTES = 16


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
    """A RowBody in JSON."""


class RowBody(Struct, frozen=True):
    """The order, and by what is told whether it is the one that was checked."""

    digest: str
    order: Raw


_decoder = msgspec.json.Decoder(NewTask)
_bodies = msgspec.json.Decoder(RowBody)


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
    text = msgspec.json.encode(replace(order, key=key))
    body = msgspec.json.encode(RowBody(_digest(namespace, key, text), Raw(text))).decode()
    return OutboxRow(None, namespace, key, VERSION, now, body)


def order_of_row(row: OutboxRow) -> NewTask:
    """The order in a row. Raises RowError for one that was damaged, or is of another version.

    Whatever in it is not as it was written is damage: a log takes what it is given for ever.
    """
    if row.version != VERSION:
        raise RowError(f"it is of version {row.version}, and this eventq knows {VERSION}")
    if not isinstance(row.made_at, int):
        raise RowError(f"it was made at no instant: {row.made_at!r}")
    try:
        body = _bodies.decode(row.body)
        order = _decoder.decode(body.order)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"its body is damaged: {error}") from error
    if _digest(row.namespace, row.key, bytes(body.order)) != body.digest:
        raise RowError("it is damaged: its digest is of another key or body")
    return order


def shown_row(row: OutboxRow, problem: str | None) -> OutboxTask:
    """The row for people."""
    try:
        name = order_of_row(row).route.name
    except RowError:
        name = None
    return OutboxTask(row.key, name, _instant(row.made_at), problem)


def _instant(made_at: object) -> datetime:
    # A column of SQLite's, or a field of MongoDB's, may hold anything.
    return instant(made_at) if isinstance(made_at, int) else EPOCH


def _digest(namespace: str, key: object, text: bytes) -> str:
    about = msgspec.json.encode([namespace, key])
    return blake2b(about + text, digest_size=DIGEST_BYTES).hexdigest()
