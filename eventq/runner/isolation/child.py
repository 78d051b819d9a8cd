"""What runs in the process of isolated attempts: it finds handlers and calls them, one at a time.

It never writes the log: attempts come in by the socket, and outcomes go out by it. Its parent
decides when one must end.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Awaitable
from contextlib import suppress
from contextvars import Context as Variables
from importlib.machinery import SourceFileLoader
from queue import SimpleQueue
from types import FrameType, ModuleType
from typing import Any

from msgspec.structs import replace

from eventq.core.settle import Outcome
from eventq.core.values import ProcessExit
from eventq.errors import ArgumentError
from eventq.handlers.context import running
from eventq.handlers.handler import Handler
from eventq.handlers.isolation import MAIN, IsolatedCall, find
from eventq.handlers.tracing import Continuing
from eventq.handlers.work import Work, unpacking, work_of_handler
from eventq.host.forks import end_child
from eventq.host.groups import die_with_parent, limit_memory, peak_bytes, peak_of
from eventq.host.loading import loading
from eventq.host.logger import SafeLogger
from eventq.host.records import Forwarding
from eventq.runner.attempt import concluded, is_awaitable, is_stop, raised, returned
from eventq.runner.describing import describe
from eventq.runner.frames import StackLine, awaited, lines_of, outwards
from eventq.runner.isolation.context import AsyncIsolatedContext, IsolatedContext, ParentLine
from eventq.runner.isolation.messages import (
    Answer,
    AskStack,
    AttemptEnded,
    Channel,
    Hello,
    Loaded,
    LoadHandler,
    Logged,
    Stands,
    Start,
    Stop,
    ToProcess,
    Unloaded,
)
from eventq.runner.variables import RunVariables

logger = SafeLogger("eventq.runner")

# What stands in for a program's `__main__` here, so that it does not begin its run once more.
MAIN_HERE = "__eventq_main__"


def main(parent: int, descriptor: int) -> None:
    """Serves the parent, which has begun this process, until its end of the socket is closed."""
    die_with_parent(parent)
    end = socket.socket(fileno=descriptor)
    # What handlers begin must not hold it open.
    end.set_inheritable(False)
    with suppress(AttributeError):
        # What a killed process has printed is not lost; there may be no standard output at all.
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    AttemptServer(Channel(end, ToProcess)).serve()


class AttemptServer:
    """The main thread calls handlers; another one listens to the parent meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._line = ParentLine(channel)
        self._inbox: SimpleQueue[Hello | LoadHandler | Start | None] = SimpleQueue()
        self._works: dict[str, Work] = {}
        self._hello: Hello | None = None
        self._main: ModuleType | None = None
        self._busy = False
        self._context: IsolatedContext | None = None
        self._trace: Continuing | None = None
        self._variables = RunVariables()
        self._runner: asyncio.Runner | None = None
        self._handle: asyncio.Task[object] | None = None
        self._was_signalled = False

    def serve(self) -> None:
        """Does what the parent says until it has no more to say."""
        # It has a terminal's signals no more, and a stop of all processes is the parent's to hear.
        signal.signal(signal.SIGINT, lambda _, __: None)
        signal.signal(signal.SIGTERM, self._take_signal)
        threading.Thread(target=self._listen, name="eventq-parent", daemon=True).start()
        # Without the parent there is nobody left to tell.
        with suppress(OSError):
            for message in iter(self._inbox.get, None):
                if isinstance(message, Hello):
                    self._begin(message)
                elif isinstance(message, LoadHandler):
                    self._load(message.call)
                else:
                    self._attempt()
        if self._runner is not None:
            self._runner.close()

    def _listen(self) -> None:
        with suppress(ConnectionError):
            while self._channel.read():
                while (message := self._channel.take()) is not None:
                    self._hear(message)
        if self._busy:
            # The parent died. Whatever the handler has begun goes as well.
            os.killpg(0, signal.SIGKILL)
        self._inbox.put(None)

    def _hear(self, message: object) -> None:
        if isinstance(message, Stop):
            self._stop(message)
        elif isinstance(message, Answer):
            self._line.take(message)
        elif isinstance(message, AskStack):
            with suppress(OSError):
                self._channel.send(Stands(self._stack()))
        else:
            self._busy = True
            if isinstance(message, Start):
                # Here, so that whatever comes right behind finds it.
                work = self._works[message.task.name or ""]
                kind = AsyncIsolatedContext if work.is_async else IsolatedContext
                self._context = kind(message, self._line, keeps_level=work.keeps_level)
                self._trace = message.trace
            self._inbox.put(message)  # type: ignore[arg-type]

    def _stop(self, stop: Stop) -> None:
        context = self._context
        if context is None or context.fence != stop.fence:
            return
        if stop.is_late:
            context.expire()
        context.stop(stop.why)
        if (handle := self._handle) is not None:
            handle.get_loop().call_soon_threadsafe(handle.cancel)

    def _stack(self) -> list[StackLine]:
        """Where the handler stands, while another thread calls it."""
        if (handle := self._handle) is not None:
            return lines_of(list(awaited(handle.get_coro()))[1:])
        frames: list[FrameType] = []
        for frame in outwards(sys._current_frames().get(threading.main_thread().ident or 0)):  # noqa: SLF001 - the only way to another thread
            if frame.f_code is AttemptServer._called.__code__:
                return lines_of(reversed(frames))
            frames.append(frame)
        return []

    def _take_signal(self, _: int, __: object) -> None:
        """Ends a handler that does not look at its context, where the parent has said so; once."""
        context = self._context
        if context is not None and context.cancelled and not self._was_signalled:
            self._was_signalled = True
            context.check()

    def _begin(self, hello: Hello) -> None:
        self._hello = hello
        sys.argv[:] = hello.argv
        if hello.memory_bytes is not None:
            limit_memory(hello.memory_bytes)
        Forwarding.begin(self._log, hello.levels)
        self._busy = False

    def _log(self, name: str, level: int, message: str, attributes: dict[str, Any]) -> None:
        self._channel.send(Logged(name, level, message, attributes))

    def _load(self, call: IsolatedCall) -> None:
        try:
            with loading():
                handler = find(call.handler, self._main_of(call))
                arounds = [find(place, self._main_of(call)) for place in call.arounds]
            if not isinstance(handler, Handler):
                raise ArgumentError(str(call.handler), handler, "a handler")  # noqa: TRY301
            self._works[call.name] = work_of_handler(handler, arounds, call=unpacking(handler))
        except BaseException as error:  # noqa: BLE001 - what a module raises is the outcome
            reply: Loaded | Unloaded = Unloaded(describe(error))
        else:
            reply = Loaded(peak_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        self._busy = False
        self._channel.send(reply)

    def _main_of(self, call: IsolatedCall) -> ModuleType | None:
        """The program that the parent was begun with, as a module, where it is called for."""
        assert self._hello is not None, "the parent introduces itself first"
        if self._main is None and MAIN in {place.module for place in (call.handler, *call.arounds)}:
            if self._hello.main_name is not None:
                self._main = importlib.import_module(self._hello.main_name)
            else:
                self._main = _module_of(self._hello.main_path or "")
        return self._main

    def _attempt(self) -> None:
        """Calls the handler, and says how that ended."""
        context = self._context
        assert context is not None, "it was made as the message came in"
        work = self._works[context.task.name or ""]
        stopped, self._was_signalled, ran_out = False, False, False
        try:
            outcome = returned(context.task, self._called(context, work), work)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its outcome
            stopped, ran_out = is_stop(error), _is_out_of_memory(error)
            outcome = raised(context.task, error, work)
        self._context = None
        outcome = concluded(outcome, context)
        if ran_out:
            outcome = self._with_memory(outcome)
        # After either of these nobody knows what state its modules are in.
        spent = ran_out or self._was_signalled
        self._busy = False
        self._channel.send(AttemptEnded(outcome, stopped, spent))

    def _called(self, context: IsolatedContext, work: Work) -> object:
        variables, process = self._variables.copy(), os.getpid()
        variables.run(running.set, context)
        if self._trace is not None:
            variables.run(_go_on, self._trace)
        context.check()
        try:
            value = variables.run(work.call, context, context.task)
            if value is not None and is_awaitable(value):
                if not work.is_async:
                    context.become_async()
                value = self._awaited(value, context, variables)
        finally:
            end_child(process)
        return value

    def _awaited(
        self, value: Awaitable[object], context: IsolatedContext, own: Variables
    ) -> object:
        """What comes of a coroutine, in an event loop that stays for the next attempts."""

        async def waiting() -> object:
            self._handle = handle = asyncio.current_task()
            if context.cancelled and handle is not None:
                # Whoever said so may have been too early to find it.
                handle.cancel()
            return await value

        self._runner = self._runner or asyncio.Runner()
        try:
            return self._runner.run(waiting(), context=own)
        finally:
            self._handle = None

    def _with_memory(self, outcome: Outcome) -> Outcome:
        assert self._hello is not None, "the parent introduces itself first"
        found = ProcessExit(peak_bytes=peak_of(os.getpid()), memory_bytes=self._hello.memory_bytes)
        return replace(outcome, exit=found)


def _go_on(trace: Continuing) -> None:
    """What is done in this process belongs to the attempt's trace."""
    try:
        find(trace.place)(trace.context)
    except Exception as error:  # noqa: BLE001 - no fault of a tracing system ends an attempt
        values = {"error": str(error)}
        logger.warning("the trace does not go on here: %(error)s", values, extra=values)


def _module_of(path: str) -> ModuleType:
    """A program in a file, as a module; its guarded run does not begin."""
    spec = importlib.util.spec_from_file_location(
        MAIN_HERE, path, loader=SourceFileLoader(MAIN_HERE, path)
    )
    assert spec is not None, "it has a loader"
    assert spec.loader is not None, "it has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[MAIN_HERE] = module
    spec.loader.exec_module(module)
    return module


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_out_of_memory(each) for each in error.exceptions)
    return isinstance(error, MemoryError)
