"""An event loop whose time is that of a clock which is moved: what it would wait for comes at once.

It runs in whatever thread calls it, and waits in earnest for threads and sockets alone.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context as Variables
from typing import Any, TypeVar, TypeVarTuple, Unpack

from eventq.core.durations import SECOND_US
from eventq.host.surroundings import running_loop
from eventq.runner.executors.loops import cancel
from eventq.testing.clock import ManualClock

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Moves the clock to its next timer instead of waiting for it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.threads_count = 0
        """Calls that go on in threads: while there are any, time passes as ever."""
        super().__init__(_Selector(self))

    def time(self) -> float:
        """See asyncio: the clock's."""
        return self.clock.monotonic()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """See asyncio."""
        future = super().run_in_executor(executor, func, *args)
        self.threads_count += 1
        future.add_done_callback(self._note_end)
        return future

    def finish(
        self,
        coroutine: Coroutine[Any, Any, T],
        variables: Variables,
        begun: Callable[[asyncio.Task[T]], object],
    ) -> T:
        """What comes of the coroutine; ``begun`` is told its asyncio task.

        Where another loop runs in this thread, as in a test that is ``async def``, a thread of its
        own runs this one.
        """
        # Not by the loop's own factory, which an application may have changed.
        handle = asyncio.Task(coroutine, loop=self, context=variables)
        begun(handle)
        if running_loop() is None:
            return self.run_until_complete(handle)
        with ThreadPoolExecutor(1, thread_name_prefix="eventq-test") as pool:
            return pool.submit(self.run_until_complete, handle).result()

    def end_tasks(self) -> None:
        """Cancels what workers have left running."""
        if not self.is_closed() and (left := asyncio.all_tasks(self)):
            self.finish(cancel(left), Variables(), lambda _: None)

    def end(self) -> None:
        """Closes it, and what was begun in it; may come twice."""
        if not self.is_closed():
            self.end_tasks()
            self.finish(self.shutdown_asyncgens(), Variables(), lambda _: None)
            self.finish(self.shutdown_default_executor(), Variables(), lambda _: None)
            self.close()

    def _note_end(self, _: object) -> None:
        self.threads_count -= 1


class _Selector(selectors.DefaultSelector):
    """Looks at sockets without waiting, as long as a timer says how far the clock may go."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See selectors."""
        if timeout is None or timeout <= 0 or self._loop.threads_count:
            return super().select(timeout)
        if not (found := super().select(0)):
            # Up, and by a microsecond at the least: else the loop would turn for ever.
            clock = self._loop.clock
            clock.move_to(clock.now_us() + max(1, math.ceil(timeout * SECOND_US)))
        return found
