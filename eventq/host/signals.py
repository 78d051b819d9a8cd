"""Signals that ask a run to stop, shared with everybody else in the process who listens to them.

Handlers that were there are still called, and come back in whatever order runs end. A forked child
never keeps ours.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
# The first asks, the second forces; whoever sends more wants out at once.
CALLS = 2


def stopping_on_signals(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """Calls ``stop`` at SIGTERM and SIGINT while the block lasts: once asks, twice forces.

    A third one raises KeyboardInterrupt wherever the program is, even in a lock that a stopped
    process holds: what has been leased then lapses, as after a crash.
    """
    calls = 0

    def ask() -> bool:
        nonlocal calls
        calls += 1
        if calls <= CALLS:
            stop()
        return calls > CALLS

    return on_signals(STOPPING, ask)


@contextmanager
def on_signals(
    numbers: Iterable[signal.Signals], call: Callable[[], bool | None]
) -> Iterator[None]:
    """Calls ``call`` at each of these signals while the block lasts; True interrupts the program.

    The application's own handler is called too; what it raises comes at the end of the last block.
    Python delivers signals to the main thread only; elsewhere this does nothing, as for a signal
    whose handler was not set by Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        for number in numbers:
            _listen(number, call)
        yield
    finally:
        _leave(call)


class _Layer:
    """Our handler on top of one that was there; others may lay theirs over it, and ours again.

    A program may also put it back long after the last run. It then passes signals on to what was
    there before.
    """

    def __init__(self, before: Any) -> None:  # noqa: ANN401 - as signal has it
        self.before = before

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        if os.getpid() != _state.process:
            # A signal that came to a forked child before its hook did, or one forked without hooks.
            _after_fork()
        listeners = tuple(_state.listeners.get(number, ()))
        if not listeners:
            self._pass_on(number, frame)
            return
        # One handler may call the next below, down to another of ours: all have been told then.
        told = frame is None or any(frame is each for each in _state.frames)
        out = any([call() for call in listeners if not told])  # noqa: C419 - all must be told
        if callable(self.before) and not _is_pythons(self.before):
            _state.frames.append(frame)
            try:
                self.before(number, frame)
            except BaseException as error:  # noqa: BLE001 - raised again by the last block
                # Here it would tear the run away, and what it has leased would lapse.
                _state.raised.append(error)
            finally:
                _state.frames.pop()
        if out:
            raise KeyboardInterrupt

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        on_top = _top(number) is self
        _take_off(number)
        if callable(self.before):
            self.before(number, frame)
        elif on_top and self.before == signal.SIG_DFL:
            signal.raise_signal(number)


class _SignalState:
    """What all runs of this process share; only the main thread touches it."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forgets all listeners, as at first and in a forked child."""
        self.process = os.getpid()
        self.listeners: dict[int, list[Callable[[], bool | None]]] = {}
        self.frames: list[FrameType | None] = []
        """Where the signals struck that the handlers below ours are being told of."""
        self.raised: list[BaseException] = []
        """What those handlers raised; the last block to end raises the first of it."""


def _listen(number: int, call: Callable[[], bool | None]) -> None:
    before = signal.getsignal(number)
    if before is None:
        # Set by a library in C: it could be neither called nor put back.
        return
    # First, so that an interrupt in between leaves no handler behind.
    _state.listeners.setdefault(number, []).append(call)
    if _top(number) is None:
        signal.signal(number, _Layer(before).handle)


def _leave(call: Callable[[], bool | None]) -> None:
    for number, listeners in _state.listeners.items():
        if call in listeners:
            listeners.remove(call)
            _take_off(number)
    if _state.raised and not any(_state.listeners.values()):
        raised, _state.raised = _state.raised, []
        raise raised[0]


def _take_off(number: int) -> None:
    """Puts back what was there before our handlers on top, once no listener is left."""
    while not _state.listeners.get(number) and (layer := _top(number)) is not None:
        signal.signal(number, layer.before)


def _top(number: int) -> _Layer | None:
    """The layer whose handler is in force."""
    layer = getattr(signal.getsignal(number), "__self__", None)
    return layer if isinstance(layer, _Layer) else None


def _is_pythons(handler: Any) -> bool:  # noqa: ANN401 - any callable
    """Whether it is Python's own handler for Ctrl-C, or that of `asyncio.run`: none was chosen."""
    if handler is signal.default_int_handler:
        return True
    function = getattr(handler, "func", handler)
    return (
        getattr(function, "__module__", None) == "asyncio.runners"
        and getattr(function, "__name__", None) == "_on_sigint"
    )


def _before_fork() -> None:
    # Python forgets a signal that reaches a child before its hooks: held back, it comes after them.
    if any(_state.listeners.values()):
        _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, list(_state.listeners))


def _end_fork() -> None:
    if (mask := vars(_forking).pop("mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork() -> None:
    """The runs are the parent's: a child has the handlers from before them."""
    numbers = list(_state.listeners)
    _state.begin()
    for number in numbers:
        _take_off(number)
    _end_fork()


_state = _SignalState()
# Each thread that forks has a mask of its own.
_forking = threading.local()
os.register_at_fork(before=_before_fork, after_in_parent=_end_fork, after_in_child=_after_fork)
