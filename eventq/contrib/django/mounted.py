"""The console within Django: a request of Django's is answered by the ASGI application of `web`.

That runs in one event loop of its own for each process, whichever server Django is under. Needs
``eventq[web]``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.crypto import salted_hmac
from starlette.applications import Starlette
from starlette.requests import Request

from eventq.contrib.django.queues import DjangoQueue
from eventq.queue import Queue
from eventq.web import Person, app

PERSON = "eventq.person"
SALT = "eventq.console"
EVENTS = "text/event-stream"
# How long a page may take, and how long a stream is looked at where it would take a worker.
ANSWER_S = 60.0
GLANCE_S = 2.0
END: dict[str, Any] = {"type": "http.response.end"}


class DjangoConsole:
    """One queue's console, and the loop that it runs in."""

    def __init__(self, queue: Queue, alias: str, **options: Any) -> None:  # noqa: ANN401 - of `app`
        secret = salted_hmac(SALT, alias, algorithm="sha256").digest()
        self._app: Starlette = app(queue, _person_of, secret=secret, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="eventq-console", daemon=True
        )
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it goes on; not in a forked child."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends it, and waits until it has ended; may come twice."""
        if not self._thread.is_alive():
            return
        self._app.state.console.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def answer(self, request: HttpRequest, person: Person, root: str) -> HttpResponseBase:
        """What the console answers to a request of this person; ``root`` is where it is mounted."""
        scope = _scope_of(request, root) | {PERSON: person}
        exchange = Exchange(self._loop, request.body)
        exchange.begin(lambda: self._app(scope, exchange.receive, exchange.send))
        start = exchange.next(ANSWER_S)
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in start["headers"]]
        response: HttpResponseBase
        if not dict(headers).get("content-type", "").startswith(EVENTS):
            response = HttpResponse(b"".join(exchange.bodies(ANSWER_S)), status=start["status"])
        elif hasattr(request, "scope"):
            response = StreamingHttpResponse(exchange.stream(), status=start["status"])
        else:
            # Here an open stream would take a worker: the browser asks again for the next beat.
            response = HttpResponse(exchange.glance(), status=start["status"])
        _set_headers(response, headers)
        return response


class Exchange:
    """One request and its answer, between a thread of Django's and the console's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body: bytes) -> None:
        self._loop = loop
        self._asked: list[dict[str, Any]] = [{"type": "http.request", "body": body}]
        self._left = asyncio.Event()
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._work: Any = None

    def begin(self, call: Callable[[], Any]) -> None:
        """Has the console answer."""

        async def work() -> None:
            try:
                await call()
            finally:
                self._told.put_nowait(END)

        self._work = asyncio.run_coroutine_threadsafe(work(), self._loop)

    async def receive(self) -> dict[str, Any]:
        """The request, and then, when it is so, that nobody waits for an answer."""
        if self._asked:
            return self._asked.pop()
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:  # noqa: ANN401 - as ASGI has it
        """Takes a part of the answer."""
        self._told.put_nowait(message)

    def next(self, timeout_s: float) -> dict[str, Any]:
        """The next part. Raises TimeoutError, and what the console raised instead of answering."""
        found = asyncio.run_coroutine_threadsafe(self._told.get(), self._loop).result(timeout_s)
        if found is END:
            self._work.result()
        return found

    def bodies(self, timeout_s: float) -> Iterator[bytes]:
        """The answer's body, to its end."""
        while (found := self.next(timeout_s)) is not END:
            yield found.get("body", b"")

    def glance(self) -> bytes:
        """The first beat of a stream."""
        found = b""
        try:
            for part in self.bodies(GLANCE_S):
                found += part
                if b"data:" in part:
                    break
        except TimeoutError:
            pass
        self.leave()
        return found

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes, in a loop of Django's, until either side leaves."""
        try:
            while True:
                waiting = asyncio.run_coroutine_threadsafe(self._told.get(), self._loop)
                found = await asyncio.wrap_future(waiting)
                if found is END:
                    return
                yield found.get("body", b"")
        finally:
            self.leave()

    def leave(self) -> None:
        """Nobody waits for more."""
        self._loop.call_soon_threadsafe(self._left.set)
        self._work.cancel()


_guard = threading.Lock()


def console_of(queue: DjangoQueue, alias: str, **options: Any) -> DjangoConsole:  # noqa: ANN401 - of `app`
    """The console of a backend's queue, one in a process; it is closed with the queue."""
    with _guard:
        found = queue.console
        if isinstance(found, DjangoConsole) and found.is_alive():
            return found
        queue.console = made = DjangoConsole(queue, alias, **options)
        return made


def _person_of(request: Request) -> Person | None:
    found: Person | None = request.scope.get(PERSON)
    return found


def _scope_of(request: HttpRequest, root: str) -> dict[str, Any]:
    """The request as ASGI has it."""
    raw = request.META.get("RAW_URI") or request.META.get("REQUEST_URI") or ""
    own: dict[str, Any] = getattr(request, "scope", {})
    path = own.get("raw_path") or raw.partition("?")[0].encode() or quote(request.path).encode()
    given = {name.lower(): value for name, value in request.headers.items()}
    # As Django's settings have it, for forms that must come from this host.
    given["host"] = request.get_host()
    headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in given.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": path if path.startswith(b"/") else quote(request.path).encode(),
        "root_path": root,
        "query_string": request.META.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "client": (request.META.get("REMOTE_ADDR", ""), 0),
        "server": (request.META.get("SERVER_NAME", ""), int(request.get_port())),
    }


def _set_headers(response: HttpResponseBase, headers: list[tuple[str, str]]) -> None:
    """The console's headers instead of Django's; each cookie is one of Django's."""
    for name, value in headers:
        if name == "set-cookie":
            response.cookies.load(value)
        elif name != "content-length":
            response.headers[name] = value
