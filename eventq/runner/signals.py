"""Signals ask a run to stop: here they only call a function, and the old handlers come back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT)


def stopping_on_signals(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """Calls ``stop`` at SIGTERM and SIGINT while the block lasts: once asks, twice forces."""
    return on_signals(STOPPING, stop)


@contextmanager
def on_signals(numbers: Iterable[signal.Signals], call: Callable[[], None]) -> Iterator[None]:
    """Calls ``call`` at each of these signals while the block lasts, then restores the handlers.

    Python delivers signals to the main thread only; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(_number: int, _frame: FrameType | None) -> None:
        call()

    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
