"""A bell for one waiting thread. Ringing it never blocks, not even inside a signal handler."""

from __future__ import annotations

import threading
import time

# A signal that arrives after Python last looked and before the lock sleeps is seen only when the
# lock wakes. So no sleep lasts longer than this; waking twice a second costs nothing.
SLICE_S = 0.5


class Bell:
    """A binary semaphore of one C-level lock.

    Setting a threading.Event takes a lock in Python code, so a signal handler that sets one can
    deadlock with the thread it interrupts; releasing a plain lock cannot.
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
                # Another thread rang in between, which does as well.
                return

    def heard(self) -> bool:
        """Whether the waiter has heard the last ring; True before the first."""
        return self._silent.locked()

    def wait(self, timeout_s: float | None) -> bool:
        """Waits for a ring; returns whether there was one. None waits without limit."""
        if timeout_s is not None and timeout_s <= SLICE_S:
            return self._silent.acquire(timeout=max(0.0, timeout_s))
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = SLICE_S if ends_s is None else min(SLICE_S, ends_s - time.monotonic())
            if self._silent.acquire(timeout=max(0.0, left_s)):
                return True
            if left_s < SLICE_S:
                return False
