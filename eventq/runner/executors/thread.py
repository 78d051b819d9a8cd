"""Calls a ``def`` worker in threads; what it hands out to be awaited, in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context as Variables
from queue import SimpleQueue
from typing import Any

from eventq.errors import LoopEndedError
from eventq.handlers.context import running
from eventq.handlers.work import Work
from eventq.host.forks import end_child
from eventq.runner.attempt import Attempt, is_awaitable, returned
from eventq.runner.executors.contract import LOOP_ENDED
from eventq.runner.executors.crew import Crew, CrewExecutor
from eventq.runner.executors.loops import JOIN_S


class ThreadExecutor(CrewExecutor):
    """Calls a ``def`` worker in `workers` threads; what it hands out to be awaited, in a loop."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of Executor
        super().__init__(**options)
        self.crew = Crew(self, self._workers, self._caller())
        self._awaiting: dict[SimpleQueue[Any], Attempt] = {}

    def calls(self, work: Work) -> bool:
        """See Executor.calls."""
        return not work.is_async and work.isolated is None

    def works_here(self) -> bool:
        """See Executor.works_here."""
        return self.crew.is_here() or (bool(self._awaiting) and self.host.is_here())

    def mend(self) -> bool:
        """See Executor.mend."""
        has_died = super().mend()
        return has_died if self._stopped else self.replace_dead() or has_died

    def end_lost(self, killed: BaseException) -> None:
        """See Executor.end_lost."""
        for box, attempt in list(self._awaiting.items()):
            attempt.fail(killed)
            attempt.stop(LOOP_ENDED)
            box.put(killed)

    def end(self) -> None:
        """See Executor.end."""
        self.crew.end()
        self.crew.join(JOIN_S, self._clock)
        self.host.stop(lambda: asyncio.sleep(0))

    def _caller(self) -> Callable[[int, Attempt], None]:
        """What the threads do with an attempt; what it needs for each is looked up once."""
        monotonic, copy, note_end = self._clock.monotonic, self._variables.copy, self.note_end
        process, tracing = self._process, self._tracing

        def call(_: int, attempt: Attempt) -> None:
            task = attempt.task
            try:
                attempt.begin(monotonic())
                # A task that was cancelled or expired while it waited its turn must not begin.
                attempt.context.check()
                variables = copy()
                variables.run(running.set, attempt.context)
                if tracing is not None:
                    attempt.trace = variables.run(tracing.begin, task)
                try:
                    value = variables.run(attempt.work.call, attempt.context, task)
                finally:
                    end_child(process)
                if value is not None and is_awaitable(value):
                    value = self._await(attempt, value, variables)
                outcome = returned(task, value, attempt.work)
                if attempt.context.visit is not None:
                    attempt.complete(outcome)
                attempt.outcome = outcome
            except BaseException as error:  # noqa: BLE001 - whatever a worker raises is its outcome
                attempt.fail(error)
            attempt.ended_s = monotonic()
            note_end(attempt)

        return call

    def _await(self, attempt: Attempt, value: Any, variables: Variables) -> object:  # noqa: ANN401
        """What comes of a coroutine that the worker handed out, as a plain decorator does.

        It runs in the loop, and the thread keeps its place until it has ended.
        """
        # Comes by its end: the asyncio task, or what ended its loop.
        box: SimpleQueue[asyncio.Task[object] | BaseException] = SimpleQueue()
        attempt.context.become_async()

        def begin() -> None:
            loop = asyncio.get_running_loop()
            handle = asyncio.Task(_awaited(value, self._process), loop=loop, context=variables)
            attempt.interrupt = lambda _: self.host.call(handle.cancel)
            handle.add_done_callback(box.put)
            if attempt.context.cancelled:
                # Whoever cancelled it may have been too early to find the handle.
                handle.cancel()

        self._awaiting[box] = attempt
        try:
            self.host.start()
            if not self.host.call(begin):
                if hasattr(value, "close"):
                    value.close()
                raise LoopEndedError("there is no event loop to await the worker's coroutine in")
            ended = box.get()
        finally:
            del self._awaiting[box]
        if isinstance(ended, BaseException):
            raise ended
        return ended.result()


async def _awaited(value: Any, process: int) -> object:  # noqa: ANN401 - whatever can be awaited
    try:
        return await value
    finally:
        end_child(process)
