"""The one run that a queue may have at a time, in a thread or in an event loop, and its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, Unpack

from eventq.core.durations import Duration
from eventq.core.validation import check_flag
from eventq.errors import AlreadyRunningError, EventLoopError
from eventq.host.interrupts import Holding
from eventq.host.loading import check_guarded
from eventq.host.signals import stopping_on_signals
from eventq.host.surroundings import in_thread, running_loop
from eventq.node.node import Node
from eventq.runner.workload import Workload

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from eventq.runner.runner import Runner, RunReport


class Beside(Protocol):
    """What goes on beside a run, for as long as it does."""

    def start(self) -> None:
        """Starts it."""

    def stop(self) -> None:
        """Ends it, and waits for that."""


class RunArguments(TypedDict):
    """What a run takes beside its worker; see `Queue.run`."""

    until: Literal["idle"] | None
    grace: Duration
    lease_ttl: Duration
    max_stuck: Duration | None
    health: str | os.PathLike[str] | None


class RunSlot:
    """A place for one run; a second one is refused while the first goes on."""

    def __init__(
        self, node: Node, *, chance: Callable[[], float], beside: Callable[[], Beside | None]
    ) -> None:
        """``beside`` gives what is to go on beside each run; None for nothing."""
        self.runner: Runner | None = None
        self.closing = False
        # Its workers may outlive it.
        self._last: Runner | None = None
        self._node = node
        self._chance = chance
        self._beside = beside
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None

    def run(
        self, workload: Workload, *, signals: bool, **arguments: Unpack[RunArguments]
    ) -> RunReport:
        """Runs the workload in this thread. Raises AlreadyRunningError, and as the run does."""
        signals = check_flag(signals, "signals")
        return self.run_with(self._make_runner(workload, arguments, loop=None), signals=signals)

    def run_with(self, runner: Runner, *, signals: bool) -> RunReport:
        """The same with a runner that is there already."""
        with self._occupied(runner, None), _signals_to(runner, listen=signals):
            try:
                return self._work(runner)
            finally:
                self.runner = None

    async def run_in_loop(
        self, workload: Workload, *, signals: bool, **arguments: Unpack[RunArguments]
    ) -> RunReport:
        """Like `run`, in a thread; coroutines run in this loop. Cancelling it is a forced stop."""
        import asyncio  # noqa: PLC0415 - costs more to import than the rest of eventq

        signals = check_flag(signals, "signals")
        loop = asyncio.get_running_loop()
        runner = self._make_runner(workload, arguments, loop=loop)
        with _signals_to(runner, listen=signals):
            running = self._begin(runner, loop)
            try:
                return await asyncio.shield(running)
            except asyncio.CancelledError:
                runner.stop()
                runner.stop()
                while not running.done():
                    # However often it is cancelled: the run must end before its loop does.
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([running])
                raise

    @property
    def was_stopped(self) -> bool:
        """Whether the newest run was asked to stop."""
        return self._last is not None and self._last.stopping.asked_count > 0

    def stop(self) -> bool:
        """Asks the run to stop; returns whether there was one."""
        runner = self.runner
        if runner is None:
            return False
        runner.stop()
        return True

    def check_not_in_loop(self, call: str, instead: str) -> None:
        """Raises EventLoopError in the loop that hosts the run, which the call would hold up."""
        if self._loop is not None and self._loop is running_loop():
            raise EventLoopError(call, instead)

    def close(self) -> None:
        """Stops the run, waits for it, and closes the node; see `Queue.close`."""
        self._check_not_inside()
        self.check_not_in_loop("close()", "`await queue.aio.close()`, or `async with`")
        self._begin_close()
        self._finish_close()

    async def close_in_loop(self) -> None:
        """Does what `close` does while the loop goes on, with a run in it."""
        self._check_not_inside()
        # Before a thread is had: the run's workers may hold all those of the loop's pool.
        self._begin_close()
        await in_thread(self._finish_close)

    def after_fork(self) -> None:
        """Forgets the run, which is the parent's."""
        self._lock = threading.Lock()
        self.runner = self._last = self._loop = None

    def _check_not_inside(self) -> None:
        self._node.check_not_visiting()
        runner = self.runner
        if runner is not None and runner.works_here():
            raise AlreadyRunningError("a worker cannot close its own queue; it may call stop()")

    def _begin_close(self) -> None:
        self.closing = True
        self.stop()

    def _finish_close(self) -> None:
        with self._lock:
            self._node.close()

    def _make_runner(
        self, workload: Workload, arguments: RunArguments, *, loop: AbstractEventLoop | None
    ) -> Runner:
        check_guarded("run")
        from eventq.runner.setup import make_runner  # noqa: PLC0415 - loads asyncio

        return make_runner(
            self._node,
            workload,
            chance=self._chance,
            loop=loop,
            **arguments,
        )

    def _work(self, runner: Runner) -> RunReport:
        """The run itself; it goes on with what the last one left."""
        if self._last is not None:
            runner.take_over(self._last)
        self._last = runner
        beside = self._beside()
        if beside is None:
            return runner.run()
        beside.start()
        try:
            return runner.run()
        finally:
            beside.stop()

    def _occupied(self, runner: Runner, loop: AbstractEventLoop | None) -> Holding[None]:
        def begin() -> None:
            self.runner = runner
            self._loop = loop
            if self.closing:
                # A close that came before there was a run to ask waits for its end.
                runner.stop()

        return Holding(self._lock, begin, busy=AlreadyRunningError)

    def _begin(self, runner: Runner, loop: AbstractEventLoop) -> Future[RunReport]:
        """The run as a future of the loop.

        It ends in its thread, not here: the loop may be given up by its owner before it is done.
        """
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - see run_in_loop

        # The worker sees the context variables of the caller, as under `run`.
        context = copy_context()

        def end() -> None:
            self.runner = self._loop = None
            self._lock.release()

        def run() -> RunReport:
            try:
                return self._work(runner)
            finally:
                end()

        # Left by `end`, in another thread than this one.
        self._occupied(runner, loop).__enter__()
        try:
            # A thread of its own: the loop's pool is small, and workers may need it.
            pool = ThreadPoolExecutor(1, thread_name_prefix="eventq-run")
            running = loop.run_in_executor(pool, context.run, run)
        except BaseException:
            end()
            raise
        pool.shutdown(wait=False)
        return running


def _signals_to(runner: Runner, *, listen: bool) -> AbstractContextManager[None]:
    return stopping_on_signals(runner.stop) if listen else nullcontext()
