"""What must happen to open SQLite databases around a fork.

SQLite keeps, for each file, what this process has locked; a child inherits that table but not the
locks. A connection opened in the child would then believe in locks it does not hold, and the
parent's close could delete the WAL the child writes to: acknowledged commits would be lost. So no
connection may be open while the process forks: they are closed before and opened again when needed.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# How long a fork waits for another thread's opening or statement to end.
FORK_WAIT_SECONDS = 10.0


class Forkable(Protocol):
    """What holds connections."""

    def before_fork(self) -> None:
        """Waits for calls under way, holds new ones back, and closes the connections."""

    def after_fork_in_parent(self) -> None:
        """Lets calls go on."""

    def after_fork_in_child(self) -> None:
        """Lets calls go on, and gives up what only the parent may use."""


_open: weakref.WeakSet[Forkable] = weakref.WeakSet()
_opening = threading.Lock()
# What the fork under way holds: whether `_opening`, and which of the open.
_forking: list[tuple[bool, list[Forkable]]] = []


@contextmanager
def opening(forkable: Forkable) -> Iterator[None]:
    """Keeps forks out while the block opens a first connection."""
    with _opening:
        yield
        _open.add(forkable)


def _before() -> None:
    held = _opening.acquire(timeout=FORK_WAIT_SECONDS)
    forkables = list(_open)
    _forking.append((held, forkables))
    for forkable in forkables:
        forkable.before_fork()


def _after_in_parent() -> None:
    held, forkables = _forking.pop()
    for forkable in forkables:
        forkable.after_fork_in_parent()
    if held:
        _opening.release()


def _after_in_child() -> None:
    global _opening  # noqa: PLW0603 - the old lock may belong to a thread that is not here
    _, forkables = _forking.pop()
    _opening = threading.Lock()
    for forkable in forkables:
        forkable.after_fork_in_child()


os.register_at_fork(
    before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child
)
