"""The writer's slot of a SQLite log: the lock of a side file, whose queue the kernel keeps.

C code alone gives the lock back (see interrupts.py). A forked child never does: it closes its
copies of the descriptors, which leaves the lock with its parent.
"""

from __future__ import annotations

import fcntl
import time
from functools import partial
from io import FileIO
from weakref import WeakSet

from eventq.eventlog.file_lock import making

# How long, in seconds, a descriptor is used before the side file is opened anew: it may have been
# deleted, and then the others queue at a new one.
OPEN_S = 1.0


class SlotFile(FileIO):
    """A descriptor of the side file; the end of a `with` gives the lock back and keeps it open.

    Each holder has one of its own, so that threads queue as processes do.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, opener=making)
        self.opened_s = time.monotonic()
        self.number = self.fileno()
        # What `__exit__` of the class in C calls; `really_close` closes.
        self.close = partial(fcntl.flock, self.number, fcntl.LOCK_UN)  # type: ignore[method-assign]

    def __del__(self) -> None:
        """Closes one that was lost: by an interrupt, or with a log that nobody closed."""
        self.really_close()

    def really_close(self) -> None:
        """Closes the descriptor; where no other process has a copy, the lock ends with it."""
        FileIO.close(self)


class Slots:
    """The descriptors of one log's side file: as many as threads have held or awaited at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[SlotFile] = []
        self._all: WeakSet[SlotFile] = WeakSet()

    def lend(self) -> SlotFile:
        """Returns a descriptor for one slot. Raises OSError."""
        while (slot := self._pop()) is not None:
            if time.monotonic() - slot.opened_s < OPEN_S:
                return slot
            self._close(slot)
        slot = SlotFile(self._path)
        self._all.add(slot)
        return slot

    def take_back(self, slot: SlotFile) -> None:
        """Keeps the descriptor for the next slot."""
        self._idle.append(slot)

    def close_idle(self) -> None:
        """Closes the descriptors that are not lent."""
        while (slot := self._pop()) is not None:
            self._close(slot)

    def close_all(self) -> None:
        """Closes every descriptor, in a forked child: they are its parent's."""
        self._idle.clear()
        while self._all:
            self._all.pop().really_close()

    def _pop(self) -> SlotFile | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _close(self, slot: SlotFile) -> None:
        self._all.discard(slot)
        slot.really_close()
