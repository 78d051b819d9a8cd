"""What one task looked like at a position of the log; nothing here folds or asks for it.

A pass over the log and the catalog give the same records, which a test compares.
"""

from __future__ import annotations

import re
from typing import Literal

from msgspec import Struct

from eventq.core.task import TaskState

Source = Literal["catalog", "log"]
"""What says how tasks looked: the catalog, or else a pass over the log."""

_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


class TaskRecord(Struct, frozen=True, gc=False):
    """One task as it stood behind a position, at an instant. Instants are microseconds, UTC."""

    number: int
    key: str
    """The caller's, or else the number as text."""
    name: str | None
    lane: str
    state: TaskState
    """READY where the instant has come, WAITING while it comes after others."""
    priority: int
    tags_json: bytes
    """Without those that are secret."""
    attempts: int
    """As `Task.attempt`: an attempt that was given back does not count."""
    created_at: int
    scheduled_at: int
    ended_at: int | None
    """When it came to its end; None while it is open."""
    last_seq: int
    """The position of its last event that `moves.changes` something."""
    last_at: int
    """When that was decided."""
    error_type: str | None = None
    """Of its last attempt that failed; also once it has been reopened, or has completed."""
    error_message: str = ""
    """Nothing where some of its tags are secret: it may tell what they hold."""
    error_place: str = ""
    """See `place_of`."""
    nodes: tuple[str, ...] = ()
    """The nodes that have leased it, each once, the first one first."""
    waited_us: int | None = None
    """How long after `scheduled_at` its last attempt began, 0 at least; None before the first."""
    ran_us: int | None = None
    """How long its last attempt that is over held its lease; None before that."""
    flow: int | None = None
    schedule: str | None = None
    by: tuple[str, ...] = ()
    """Whom its events name in `by`, each once, the first one first."""
    lapses: int = 0
    """How many of its attempts died with their nodes, since it was made."""
    refused: int = 0
    """How many outcomes came after their lease was lost."""
    ran_twice: bool = False
    """See `has_run_twice`."""
    secret: tuple[str, ...] = ()
    """Names of its tags that are secret, and so are not here."""


def has_run_twice(late: int | None, fence: int) -> bool:
    """Whether the attempt that came too late, known by its fence, is another than the last."""
    return late is not None and late < fence


def place_of(traceback: str) -> str:
    r"""Where an error was raised: the last frame of its traceback; nothing without one.

    >>> place_of('Traceback ...:\n  File "a.py", line 3, in f\n    g()\nOSError: no')
    'a.py:3 in f'
    """
    frames = list(_FRAME.finditer(traceback))
    return f"{frames[-1][1]}:{frames[-1][2]} in {frames[-1][3]}" if frames else ""
