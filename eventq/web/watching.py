"""The event stream of a page: the pulse as server-sent events, as long as the person may look."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from eventq.web.access import Person, Right
from eventq.web.answering import Problem
from eventq.web.console import Console
from eventq.web.live import Watcher

# A word now and then, so that proxies keep the stream, and a lost reader is found.
WORD_S = 15.0
EVENT_STREAM = "text/event-stream"
HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}
# Rights may have been taken away since.
ASK_AGAIN_S = 60.0


def watch(console: Console, request: Request, person: Person) -> Response:
    """The stream; a page reads it until it is closed."""
    watcher = Watcher(asyncio.get_running_loop())
    if not console.pulse.join(watcher):
        return console.problem(request, None, Problem(503, "Too many pages watch already."))
    stream = _stream(console, request, watcher, person)
    return StreamingResponse(stream, 200, HEADERS, EVENT_STREAM)


async def _stream(
    console: Console, request: Request, watcher: Watcher, person: Person
) -> AsyncIterator[bytes]:
    asked_s = time.monotonic()
    lanes = person.lanes
    try:
        yield b"retry: 2000\n\n"
        while not console.pulse.is_closed:
            beat = await watcher.next(WORD_S)
            if time.monotonic() - asked_s > ASK_AGAIN_S:
                found = await console.person(request)
                if found is None or not found.may(Right.VIEW):
                    yield b"event: bye\ndata: {}\n\n"
                    return
                asked_s, lanes = time.monotonic(), found.lanes
            if beat is None:
                yield b": still here\n\n"
            else:
                if lanes is not None:
                    # They are counted over all lanes.
                    beat = replace(beat, counts={})
                yield b"event: beat\ndata: " + msgspec.json.encode(beat) + b"\n\n"
    finally:
        console.pulse.leave(watcher)
