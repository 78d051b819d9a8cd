"""A queue in an application for ASGI, such as FastAPI's and Starlette's: opened, given, run.

Nothing here knows routes; the application's own do.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypedDict

from starlette.requests import HTTPConnection
from starlette.types import Scope

from eventq.errors import ArgumentError
from eventq.host.logger import SafeLogger
from eventq.queue import AsyncQueue, Queue
from eventq.runner.relays import Relayed

if TYPE_CHECKING:
    from eventq.contrib.outbox import Outbox

logger = SafeLogger("eventq.contrib.asgi")

AnyQueue = Queue | AsyncQueue
Opening = AnyQueue | Callable[[], AnyQueue | Awaitable[AnyQueue]]
Outboxes = Iterable[Relayed] | Callable[[Queue], Iterable["Outbox"]]

# Under which name a request's state has it: `request.state.eventq`.
STATE = "eventq"
# Until a run that broke off is begun again.
AGAIN_S = 5.0
# How often is looked whether a run that begins can be asked to stop.
LOOK_S = 0.05
MISSING = "no queue is open here: FastAPI(lifespan=eventq.contrib.asgi.lifespan(queue))"


class LifespanState(TypedDict):
    """What a request's state has."""

    eventq: HeldQueue


class HeldQueue:
    """The queue of an application, as long as it lives."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.queue = queue
        self.outboxes: list[Outbox] = []
        """Those that are its lifespan's own."""
        self.on_end: list[Callable[[], object]] = []
        """Called when the application ends, before the queue is closed."""

    def end(self) -> None:
        """Calls them."""
        for each in self.on_end:
            each()


def lifespan(
    queue: Opening,
    *,
    run: bool = False,
    outboxes: Outboxes = (),
    **options: Any,  # noqa: ANN401 - those of Queue.run
) -> Callable[[Any], AbstractAsyncContextManager[LifespanState]]:
    """For ``FastAPI(lifespan=...)``: the queue is open while the application lives, then closed.

    ``queue``: a queue, or a function (also ``async def``) that opens one, so that the application
    can be started more than once. ``run``: its handlers are run meanwhile in this process, with
    these ``options`` of `Queue.run`. ``outboxes``: those that the run relays; or a function of the
    queue that makes them, which are closed before it (see `get_outbox`). Raises ArgumentError.
    """
    if not callable(outboxes) and outboxes != ():
        options["outboxes"] = outboxes
    if options and not run:
        raise ArgumentError("run", run, f"True beside options of a run: {', '.join(options)}")

    @asynccontextmanager
    async def live(_app: object) -> AsyncIterator[LifespanState]:
        opened = await _opened(queue)
        held = HeldQueue(opened)
        async with opened:
            try:
                if callable(outboxes):
                    held.outboxes = list(outboxes(opened.queue))
                    options["outboxes"] = held.outboxes
                if run:
                    async with running(opened, **options):
                        yield {"eventq": held}
                else:
                    yield {"eventq": held}
            finally:
                held.end()
                for each in held.outboxes:
                    # It waits for what its relay has at hand.
                    await asyncio.to_thread(each.close)

    return live


def get_queue(connection: HTTPConnection) -> AsyncQueue:
    """For ``Depends(get_queue)``: the application's queue; its ``.queue`` is that for threads.

    In Starlette, call it with the request. Raises ArgumentError where no lifespan has opened one.
    """
    return held_by(connection.scope).queue


def get_outbox(connection: HTTPConnection) -> Outbox:
    """For ``Depends(get_outbox)``: the first outbox that the lifespan has made.

    Raises ArgumentError where it has made none.
    """
    held = held_by(connection.scope)
    if not held.outboxes:
        raise ArgumentError("outboxes", held.outboxes, "a function of the lifespan that makes one")
    return held.outboxes[0]


@asynccontextmanager
async def running(
    queue: AnyQueue,
    **options: Any,  # noqa: ANN401 - those of Queue.run
) -> AsyncIterator[None]:
    """Runs the queue's handlers while the block lasts; at its end what runs has ``grace``.

    A run that breaks off is logged, and begun again after a while. Raises as `Queue.run` does for
    what it cannot begin with.
    """
    opened = queue if isinstance(queue, AsyncQueue) else queue.aio
    over = asyncio.Event()
    first = asyncio.create_task(opened.run(**options))
    # To its first wait: what is wrong about the options is raised here.
    await asyncio.sleep(0)
    if first.done():
        await first
    course = asyncio.create_task(_keep_running(opened, first, over, options))
    try:
        yield
    finally:
        over.set()
        while not course.done() and not opened.stop():
            # It is just about to begin, or to end.
            await asyncio.wait([course], timeout=LOOK_S)
        await course


async def _keep_running(
    queue: AsyncQueue,
    course: asyncio.Task[Any],
    over: asyncio.Event,
    options: dict[str, Any],
) -> None:
    while True:
        try:
            await course
        except Exception as error:
            values = {"error": str(error)}
            logger.exception("the run has broken off: %(error)s", values, extra=values)
        if over.is_set():
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), AGAIN_S)
        if over.is_set():
            return
        course = asyncio.create_task(queue.run(**options))


async def _opened(queue: Opening) -> AsyncQueue:
    found: Any = queue
    if not isinstance(found, (Queue, AsyncQueue)) and callable(found):
        found = found()
        if inspect.isawaitable(found):
            found = await found
    if isinstance(found, Queue):
        return found.aio
    if isinstance(found, AsyncQueue):
        return found
    raise ArgumentError("queue", found, "an eventq.Queue, or a function that opens one")


def held_by(scope: Scope) -> HeldQueue:
    """What a request's application holds. Raises ArgumentError where no lifespan has begun."""
    found = (scope.get("state") or {}).get(STATE)
    if not isinstance(found, HeldQueue):
        raise ArgumentError("connection", scope.get("path"), MISSING)
    return found
