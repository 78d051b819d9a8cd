"""A bell for one waiting thread; ringing it never blocks, not even inside a signal handler."""

from __future__ import annotations

import threading
import time

# A signal that arrives after Python last looked and before the lock sleeps would be seen only when
# the lock wakes. So it never sleeps longer than this; waking twice a second costs nothing.
SLICE_S = 0.5


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

    def heard(self) -> bool:
        """Whether somebody has waited for the last ring; True before the first."""
        return self._silent.locked()

    def wait(self, timeout_s: float | None) -> bool:
        """Waits for a ring; tells whether there was one. None waits without limit."""
        if timeout_s is not None and timeout_s <= SLICE_S:
            return self._silent.acquire(timeout=max(0.0, timeout_s))
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = SLICE_S if ends_s is None else min(SLICE_S, ends_s - time.monotonic())
            if self._silent.acquire(timeout=max(0.0, left_s)):
                return True
            if left_s < SLICE_S:
                return False
