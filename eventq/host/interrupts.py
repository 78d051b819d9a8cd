"""What a signal handler raises: told apart from a log's errors, and no lock stays locked by it.

CPython runs handlers on the main thread as a function of Python begins, at a jump back, and after a
call. So a function in C, such as a lock's own ``__exit__``, cannot be interrupted before its work
is done, and one in Python can: never give a lock back in an ``__exit__`` of our own, nor in a
generator, which lives on in a kept traceback.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

T = TypeVar("T")

# These belong to the thread they struck, like an exception of a signal handler.
OF_THE_THREAD = (MemoryError, RecursionError)


class Holding(Generic[T]):
    """Holds a lock while a block lasts, and hands the block what ``enter`` returns.

    Where another one has the lock, it waits, or raises ``busy``. However an exception of a signal
    handler ends it, the lock is free afterwards.
    """

    # A descriptor, so that `with` finds the lock's own function, and no frame comes between.
    __slots__ = ("__exit__", "_busy", "_enter", "_lock")

    if TYPE_CHECKING:

        def __exit__(self, *error: object) -> None:
            """Gives the lock back."""

    def __init__(
        self,
        lock: threading.Lock | threading.RLock,
        enter: Callable[[], T],
        *,
        busy: type[Exception] | None = None,
    ) -> None:
        self.__exit__ = lock.__exit__  # type: ignore[method-assign, assignment]
        self._lock = lock
        self._enter = enter
        self._busy = busy

    def __enter__(self) -> T:
        """Takes the lock, then calls ``enter``."""
        held: list[bool] = []
        try:
            # One step in C takes the lock and keeps that it has: nothing comes between.
            held += map(self._lock.acquire, (self._busy is None,))
            if held[0] or self._busy is None:
                return self._enter()
        except BaseException:
            if held and held[0]:
                self._lock.release()
            raise
        raise self._busy


def interrupt_in(error: BaseException) -> BaseException | None:
    """What struck the thread and is, or caused, this error; None for an error that code raised.

    That is an exception of a signal handler, whatever its type, also where a driver or a log took
    it for an error of its own and raised another from it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if (
            not isinstance(cause, Exception)
            or isinstance(cause, OF_THE_THREAD)
            or _comes_from_handler(cause)
        ):
            return cause
        cause = cause.__cause__
    return None


def raise_interrupt(error: BaseException) -> None:
    """Raises what `interrupt_in` finds, if anything, as if it had not been caught."""
    found = interrupt_in(error)
    if found is None:
        return
    context = found.__context__
    try:
        raise found
    finally:
        # Else the two would be each other's context and cause.
        found.__context__ = context


def _comes_from_handler(error: BaseException) -> bool:
    """Whether one of its frames was called with the frame before it, as only handlers are."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        interrupted, step = step.tb_frame, step.tb_next
        for value in step.tb_frame.f_locals.values():
            # A handler may take its arguments as a tuple.
            if value is interrupted or (type(value) is tuple and _holds(value, interrupted)):
                return True
    return False


def _holds(values: tuple[Any, ...], frame: FrameType) -> bool:
    return any(each is frame for each in values)
