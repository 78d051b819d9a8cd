"""A bell for one waiting thread; ringing it never blocks, not even inside a signal handler."""

from __future__ import annotations

import threading


class Bell:
    """A binary semaphore of one C-level lock.

    threading.Event takes a Python-level lock to be set, so a signal handler that sets it can
    deadlock with the very thread it interrupts; releasing a plain lock cannot.
    """

    def __init__(self) -> None:
        self._silent = threading.Lock()
        self._silent.acquire()

    def ring(self) -> None:
        """Wakes the waiter, or makes its next wait return at once."""
        if self._silent.locked():
            try:
                self._silent.release()
            except RuntimeError:
                # Somebody else rang in between, which does as well.
                return

    def wait(self, timeout_s: float | None) -> bool:
        """Waits for a ring; tells whether there was one. None waits without limit."""
        if timeout_s is None:
            return self._silent.acquire()
        return self._silent.acquire(timeout=max(0.0, timeout_s))
