"""How soon a thread that waits for Python's lock is given it, while a run has worker threads.

A run makes about ten system calls and statements between hearing of a task and starting it, and
must wait for the lock after each. Next to two workers that compute without a pause, that took 10 ms
each at Python's own 5 ms, so that a task that came in began after 300 ms.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.0005

_lock = threading.Lock()
# For each run that goes on: the interval before, and the one that was set, as Python rounds it.
_set: list[tuple[float, float]] = []


@contextmanager
def quick_switching() -> Iterator[None]:
    """Lowers the interval to SWITCH_S while a block lasts; the last block to end puts it back.

    An interval that is lower already, or that somebody changes meanwhile, stays.
    """
    with _lock:
        before = sys.getswitchinterval()
        if before > SWITCH_S:
            sys.setswitchinterval(SWITCH_S)
        _set.append(_set[0] if _set else (before, sys.getswitchinterval()))
    try:
        yield
    finally:
        with _lock:
            before, lowered = _set.pop()
            if not _set and lowered < before and sys.getswitchinterval() == lowered:
                sys.setswitchinterval(before)
