"""Closes SQLite databases around a fork.

SQLite keeps, for each file, what this process has locked; a child inherits that table but not the
locks. A connection opened in the child would then believe in locks it does not hold, and the
parent's close could delete the WAL the child writes to: acknowledged commits would be lost. So no
connection may be open while the process forks: they are closed before and opened again when needed.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

# How long a fork waits for another thread's opening or statement to end.
FORK_WAIT_S = 10.0


class Forkable(Protocol):
    """An object that holds connections."""

    def before_fork(self) -> None:
        """Waits for the calls under way, holds new ones back, and closes the connections."""

    def after_fork_in_parent(self) -> None:
        """Lets calls go on."""

    def after_fork_in_child(self) -> None:
        """Lets calls go on, without what only the parent may use."""


_open: weakref.WeakSet[Forkable] = weakref.WeakSet()
_opening = threading.Lock()
# What the fork under way holds: whether `_opening`, and which of the open.
_forking: list[tuple[bool, list[Forkable]]] = []


def opening() -> threading.Lock:
    """A lock that holds forks off, for the time of opening and of calling `opened`."""
    return _opening


def opened(forkable: Forkable) -> None:
    """From now on, closes the object's connections around forks."""
    _open.add(forkable)


def before() -> None:
    """Closes all connections, and holds off those who would open one."""
    held = _opening.acquire(timeout=FORK_WAIT_S)
    forkables = list(_open)
    _forking.append((held, forkables))
    for forkable in forkables:
        forkable.before_fork()


def after_in_parent() -> None:
    """Lets the parent's threads open connections again."""
    held, forkables = _forking.pop()
    for forkable in forkables:
        forkable.after_fork_in_parent()
    if held:
        _opening.release()


def after_in_child() -> None:
    """Makes the child a process of its own."""
    global _opening  # noqa: PLW0603 - the old lock may belong to a thread that is not here
    _, forkables = _forking.pop()
    _opening = threading.Lock()
    for forkable in forkables:
        forkable.after_fork_in_child()


os.register_at_fork(before=before, after_in_parent=after_in_parent, after_in_child=after_in_child)
