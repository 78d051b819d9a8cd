"""What is kept of a task whose events were archived: its created event and how it stood.

Only so much is kept that a key stays one task, and that an open task can go on.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from eventq.core.commits import Event
from eventq.core.events import Created
from eventq.core.link import logged_key
from eventq.core.task import Task
from eventq.errors import LogCorruptError
from eventq.eventlog.contract import Kept


class KeptTask(Struct, frozen=True):
    """A task after position ``seq``, and its created event, which new tasks are compared with.

    A task without a caller's key is never compared, and has none.
    """

    seq: int
    task: Task
    created: Event | None


class _State(Struct, frozen=True, omit_defaults=True):
    """The text that the log keeps; it only gains fields, each with a default."""

    task: Task
    at: int = 0
    created: Created | None = None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(_State)


def encode_kept(kept: KeptTask) -> Kept:
    """As a log keeps it."""
    task, created = kept.task, kept.created
    assert created is not None or task.caller_key is None, "a key is compared by its created event"
    state, key = _State(task), task.caller_key
    if created is not None:
        assert isinstance(created.body, Created)
        state = _State(task, created.at, created.body)
        key = logged_key(created.body)
    return Kept(task.number, kept.seq, key, _encoder.encode(state).decode())


def decode_kept(row: Kept) -> KeptTask:
    """What a log has kept. Raises LogCorruptError when it cannot be understood."""
    try:
        state = _decoder.decode(row.state)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        problem = f"what is kept of task {row.task} cannot be understood: {error}"
        raise LogCorruptError(row.seq, problem) from error
    created = None if state.created is None else Event(row.task, state.at, row.task, state.created)
    return KeptTask(row.seq, state.task, created)
