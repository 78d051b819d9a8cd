"""The event loop that coroutines run in: the caller's own, or one in a thread of the run.

It is watched: a loop that has ended unasked says what ended it. Nothing here knows attempts.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import suppress

from eventq.errors import LoopEndedError
from eventq.host.bell import Bell
from eventq.host.clock import Clock

# How long stopping waits for threads and tasks that have been told to end.
JOIN_S = 2.0
# A loop of the caller's that has not run for this long has been given up. Shorter pauses are
# those between two calls of `run_until_complete`.
STANDS_S = 0.5


class LoopHost:
    """One event loop, and the thread it runs in where it is not the caller's."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, *, bell: Bell, clock: Clock) -> None:
        self.is_given = loop is not None
        """It is the caller's; else nothing but workers runs in it."""
        self._loop = loop
        self._bell = bell
        self._clock = clock
        self._starting = threading.Lock()
        self.thread: threading.Thread | None = None
        self._killed: BaseException | None = None
        self._stands_since_s: float | None = None
        self._over = False

    def start(self) -> None:
        """Begins the thread, where there is to be one and it has not begun; from any thread."""
        with self._starting:
            if not self.is_given and self.thread is None:
                self._begin()

    def call(self, function: Callable[[], object]) -> bool:
        """Has the loop call this soon; False when the loop has ended."""
        loop = self._loop
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(function)
        except RuntimeError:
            # It was closed, perhaps at this very moment.
            return False
        return True

    def is_here(self) -> bool:
        """Whether this is called inside the loop."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def is_open(self) -> bool:
        """Whether the loop may still run what was begun in it."""
        return self._loop is not None and not self._loop.is_closed()

    def death(self) -> BaseException | None:
        """What ended the loop, if it has ended unasked."""
        if self._over:
            return None
        if self.is_given:
            return self._standstill()
        if self.thread is None or self.thread.is_alive():
            return None
        return self._killed or RuntimeError("the thread of the event loop ended")

    def replace(self, killed: BaseException) -> None:
        """A new loop for one that died. Raises LoopEndedError where there cannot be one."""
        if self.is_given:
            raise LoopEndedError(str(killed)) from killed
        with self._starting:
            try:
                self._begin()
            except (OSError, RuntimeError) as error:
                raise LoopEndedError(f"no new event loop: {error}") from error

    def stop(self, last: Callable[[], Awaitable[object]]) -> None:
        """Awaits ``last`` in the loop, and ends a loop of its own with all that is left in it.

        Waits a bounded time for what ignores its cancellation.
        """
        if self.thread is not None:
            if self.thread.is_alive():
                self._await(last)
                self._await(_cancel_all)
                self._over = True
                self.call(lambda: asyncio.get_running_loop().stop())
                self.thread.join(JOIN_S)
        elif self._loop is not None and self._loop.is_running():
            self._await(last)
        self._over = True

    def _begin(self) -> None:
        loop = asyncio.new_event_loop()
        self._killed = None
        thread = threading.Thread(target=self._serve, args=(loop,), name="eventq-loop", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            loop.close()
            raise
        self._loop, self.thread = loop, thread

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._over:
                # An exit raised in a child task of a worker passes through the loop, and leaves it
                # whole: whoever awaits that task gets the exit. A worker may also have stopped it.
                with suppress(SystemExit, KeyboardInterrupt):
                    loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - `death` returns it
            self._killed = error
        finally:
            with suppress(BaseException):
                if self._killed is None:
                    loop.run_until_complete(_end_generators())
            with suppress(BaseException):
                loop.close()
            self._bell.ring()

    def _await(self, function: Callable[[], Awaitable[object]]) -> None:
        async def awaited() -> None:
            await function()

        assert self._loop is not None
        last = awaited()
        try:
            ending = asyncio.run_coroutine_threadsafe(last, self._loop)
        except RuntimeError:
            # It was closed at this very moment.
            last.close()
            return
        # In vain, when a worker holds up the loop, or the loop is given up by its owner.
        with suppress(TimeoutError, CancelledError):
            ending.result(JOIN_S * 2)

    def _standstill(self) -> BaseException | None:
        loop = self._loop
        assert loop is not None
        if loop.is_closed():
            return RuntimeError("the event loop of the run was closed")
        if loop.is_running():
            self._stands_since_s = None
            return None
        now_s = self._clock.monotonic()
        if self._stands_since_s is None:
            self._stands_since_s = now_s
        if now_s - self._stands_since_s < STANDS_S:
            return None
        return RuntimeError("the event loop of the run no longer runs")


async def cancel(tasks: set[asyncio.Task[object]]) -> None:
    """Cancels them, and again after a while those that have not ended; then it waits no longer."""
    for task in tasks:
        # Whoever was told before may be cleaning up, which a second time would break off.
        if not task.cancelling():
            task.cancel()
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=JOIN_S)
        for task in late:
            task.cancel()
        await asyncio.sleep(0)


async def _cancel_all() -> None:
    """What workers left running in the background ends with the run."""
    await cancel(asyncio.all_tasks() - {asyncio.current_task()})


async def _end_generators() -> None:
    # Made here, not outside: cancelled before it begins, it would be a coroutine never awaited.
    ending = asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.wait_for(ending, JOIN_S)
