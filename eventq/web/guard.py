"""What stands before every page: hosts, origins, sizes, times, headers, and errors in words.

It knows no page and no person; what it lets through is a request of the right form.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eventq.host.logger import SafeLogger

logger = SafeLogger("eventq.web")

TARGET_BYTES = 8 * 1024
BODY_BYTES = 1024 * 1024
BODY_S = 10.0
# Of a larger body so much is read and dropped: who still sends sees no answer.
DRAINED_BYTES = 16 * 1024 * 1024
# Answers in progress, event streams among them.
MOST_REQUESTS = 200
FORM_TYPE = "application/x-www-form-urlencoded"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Refusal(Struct, frozen=True):
    """Why a request is not let through."""

    status: int
    words: str


class Guard:
    """The middleware. ``hosts`` are the names (with ports, if any) it answers to; None: any.

    The log says `...` for what a path names with ``hides_keys``, and where nothing goes by that
    name: a key that holds what is secret is the key of nothing.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, hides_keys: bool) -> None:
        self.app = app
        self._hosts = hosts
        self._hides_keys = hides_keys
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or refuses it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        # As it was sent: a key may hold a slash, which is %2F then, and no new part of the path.
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        scope = {**scope, "path": raw.partition(b"?")[0].decode("latin-1")}
        began_s = time.monotonic()
        answer = _Answer(send)
        self._running += 1
        try:
            refusal = self._refusal(scope)
            if refusal is None:
                refusal = await self._let_in(scope, receive, answer)
            elif refusal == _too_large():
                await _whole_body(receive)
            if refusal is not None:
                await _refuse(refusal, scope, receive, answer)
        except Exception as error:
            told = {"path": self._told_path(scope, None), "error": str(error)}
            logger.exception("a page failed", extra=told)
            if answer.status is None:
                failed = Refusal(500, "Something went wrong here; the console's log says what.")
                await _refuse(failed, scope, receive, answer)
        finally:
            self._running -= 1
            took_s = time.monotonic() - began_s
            _tell(scope, self._told_path(scope, answer.status), answer.status, took_s)

    def _told_path(self, scope: Scope, status: int | None) -> str:
        path: str = scope["path"]
        if self._hides_keys or status is None or status >= HTTPStatus.BAD_REQUEST:
            for word in scope.get("path_params", {}).values():
                path = path.replace(f"/{word}", "/...")
        return path

    async def _let_in(self, scope: Scope, receive: Receive, answer: _Answer) -> Refusal | None:
        if scope["method"] == "POST":
            body = await _whole_body(receive)
            if isinstance(body, Refusal):
                return body
            receive = _replayed(body, receive)
        await self.app(scope, receive, answer)
        return None

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > TARGET_BYTES:
            return Refusal(414, f"The address is longer than {TARGET_BYTES:,} bytes.")
        if self._running > MOST_REQUESTS:
            return Refusal(503, "Too many requests at once; try again in a moment.")
        if self._hosts is not None and headers.get("host", "").lower() not in self._hosts:
            return Refusal(421, "This console does not answer to that host name.")
        if scope["method"] not in {"GET", "HEAD", "POST"}:
            return Refusal(405, "There are only GET and POST here.")
        return _form_refusal(scope, headers) if scope["method"] == "POST" else None


def _form_refusal(scope: Scope, headers: Headers) -> Refusal | None:
    """What is wrong with a POST, by its headers."""
    if not is_own_origin(headers, scope["scheme"]):
        return Refusal(403, "The form comes from another site, so nothing was done.")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return Refusal(415, "A form was expected.")
    size = headers.get("content-length", "0")
    if not size.isdecimal() or int(size[:20]) > BODY_BYTES:
        return _too_large()
    return None


def is_own_origin(headers: Headers, scheme: str) -> bool:
    """Whether a POST comes from a page of this very console, as far as the browser says."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    # Without a referrer, browsers say "null" for forms; then the other header must say it.
    if origin is None or origin == "null":
        return site == "same-origin"
    return origin.lower() == f"{scheme}://{headers.get('host', '')}".lower()


class _Answer:
    """Sends an answer with the headers that all have, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self.status: int | None = None
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: _Answer) -> None:
    response: Response = PlainTextResponse(f"{refusal.words}\n", refusal.status)
    # What is left of its body is not waited for.
    response.headers["connection"] = "close"
    await response(scope, receive, send)


async def _whole_body(receive: Receive) -> bytes | Refusal:
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_S):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return Refusal(400, "The request was cut off, so nothing was done.")
                part = message.get("body", b"")
                size += len(part)
                if size <= BODY_BYTES:
                    body += part
                more = message.get("more_body", False) and size < DRAINED_BYTES
    except TimeoutError:
        return Refusal(408, "The request took too long to arrive, so nothing was done.")
    return bytes(body) if size <= BODY_BYTES else _too_large()


def _too_large() -> Refusal:
    return Refusal(413, f"More than {BODY_BYTES:,} bytes; nothing was done.")


def _replayed(body: bytes, receive: Receive) -> Callable[[], Awaitable[MutableMapping[str, Any]]]:
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _tell(scope: Scope, path: str, status: int | None, took_s: float) -> None:
    """Logs an access: no query, since that may hold values."""
    client = scope.get("client") or ("-", 0)
    extra = {
        "method": scope["method"],
        "path": path,
        "status": status,
        "client": client[0],
        "took_us": int(took_s * 1_000_000),
    }
    logger.info("asked", extra=extra)
