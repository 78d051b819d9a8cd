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
        """Has the function called while the block lasts; it has ended when the block is left."""
        if function is None:
            yield
            return
        future = self._submit(function)
        try:
            yield
        finally:
            wait([future])

    def close(self) -> None:
        """Ends the thread; may come twice."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None

    def _submit(self, function: Callable[[], None]) -> Future[None]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="eventq-aside")
        return self._pool.submit(function)
