"""How soon a thread that waits for Python's lock is given it, while a run has worker threads.

A run makes about ten system calls and statements between hearing of a task and starting it, and
must wait for the lock after each. Next to two workers that compute without a pause, that took 10 ms
each at Python's own 5 ms, so that a task that came in began after 300 ms.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.0005

_lock = threading.Lock()
_runs_count = 0
# The interval before the runs that go on, and the one set for them, as Python rounds it.
_before_s = _set_s = 0.0


@contextmanager
def quick_switching() -> Iterator[None]:
    """Lowers the interval to SWITCH_S while a block lasts; the last block to end puts it back.

    An interval that is lower already, or that somebody changes meanwhile, stays.
    """
    global _runs_count, _before_s, _set_s  # noqa: PLW0603 - so is the interval
    with _lock:
        if not _runs_count:
            _before_s = sys.getswitchinterval()
            if _before_s > SWITCH_S:
                sys.setswitchinterval(SWITCH_S)
            _set_s = sys.getswitchinterval()
        _runs_count += 1
    try:
        yield
    finally:
        with _lock:
            _runs_count -= 1
            if not _runs_count and _set_s < _before_s and sys.getswitchinterval() == _set_s:
                sys.setswitchinterval(_before_s)


def _after_fork() -> None:
    """A child has none of its parent's runs; the parent's lock may be held there."""
    global _lock, _runs_count  # noqa: PLW0603 - so is the interval
    _lock = threading.Lock()
    if _runs_count and sys.getswitchinterval() == _set_s:
        sys.setswitchinterval(_before_s)
    _runs_count = 0


os.register_at_fork(after_in_child=_after_fork)
