"""How soon a thread that waits for Python's lock is given it, while workers compute for long.

A run makes about ten system calls and statements between hearing of a task and starting it, and
must wait for the lock after each. Next to two workers that compute without a pause, that took 10 ms
each at Python's own 5 ms, so that a task that came in began after 300 ms and more. Where tasks are
short, switching sooner only costs: a drain of coroutines that do nothing was a quarter slower.
"""

from __future__ import annotations

import os
import sys
import threading

# At 0.1 ms, two threads that compute are 5 % slower; at this, 1 %.
SWITCH_S = 0.0002

_lock = threading.Lock()
_wishes_count = 0
# The interval before the wishes that stand, and the one set for them, as Python rounds it.
_before_s = _set_s = 0.0


class Switching:
    """One run's wish for quick switching; the interval is the process's.

    An interval that is lower already, or that somebody changes meanwhile, stays.
    """

    def __init__(self) -> None:
        self.is_quick = False

    def hurry(self) -> None:
        """Lowers the interval to SWITCH_S; again does nothing."""
        global _wishes_count, _before_s, _set_s  # noqa: PLW0603 - so is the interval
        if self.is_quick:
            return
        with _lock:
            if not _wishes_count:
                _before_s = sys.getswitchinterval()
                if _before_s > SWITCH_S:
                    sys.setswitchinterval(SWITCH_S)
                _set_s = sys.getswitchinterval()
            _wishes_count += 1
            self.is_quick = True

    def relax(self) -> None:
        """Takes the wish back; with the last one the interval is as before. May come twice."""
        global _wishes_count  # noqa: PLW0603 - so is the interval
        if not self.is_quick:
            return
        with _lock:
            self.is_quick = False
            # There are none in a forked child.
            _wishes_count = max(0, _wishes_count - 1)
            if not _wishes_count and _set_s < _before_s and sys.getswitchinterval() == _set_s:
                sys.setswitchinterval(_before_s)


def _after_fork() -> None:
    """A child has none of its parent's runs; the parent's lock may be held there."""
    global _lock, _wishes_count  # noqa: PLW0603 - so is the interval
    _lock = threading.Lock()
    if _wishes_count and sys.getswitchinterval() == _set_s:
        sys.setswitchinterval(_before_s)
    _wishes_count = 0


os.register_at_fork(after_in_child=_after_fork)
