"""Doing something on another thread while this one waits for a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager


class Aside:
    """One thread of its own, started when it is first needed."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    @contextmanager
    def doing(self, function: Callable[[], None] | None) -> Iterator[None]:
        """Has the function called while the block lasts; it has ended when the block is left.

        It is not called at all where no thread can be started.
        """
        future = None if function is None else self._submit(function)
        try:
            yield
        finally:
            if future is not None:
                wait([future])

    def close(self) -> None:
        """Ends the thread; may come twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _submit(self, function: Callable[[], None]) -> Future[None] | None:
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPoolExecutor(1, thread_name_prefix="eventq-aside")
        try:
            return pool.submit(function)
        except RuntimeError:
            # The program's main thread has ended, while others go on, or there are too many.
            # What was queued all the same must not be called later.
            pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
            return None
