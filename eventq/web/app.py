"""The console as an ASGI application: from the table of routes to answers.

It decides who may come in and which moment is asked about; what a page says is made in `pages`,
what an act does in `acting`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from eventq.errors import ArgumentError, EventqError
from eventq.queue import Queue
from eventq.web.access import Access, FindPerson, Person, person_by
from eventq.web.answering import Problem, problem_of
from eventq.web.api import api_path, describe_api
from eventq.web.cache import CACHE_BYTES
from eventq.web.console import Console, Options
from eventq.web.doing import act
from eventq.web.filtering import FilterRefusedError
from eventq.web.form import read_form
from eventq.web.guard import Guard
from eventq.web.kept_catalog import SlowQuestionError
from eventq.web.looking import look
from eventq.web.routes import ACTS, PAGES, SERVICES, ConsolePage, Service
from eventq.web.session import CODE_S, SESSION_S, Sessions, cookie_name, drop_cookie, set_cookie
from eventq.web.showing import check_redact
from eventq.web.telling import export, plan_page
from eventq.web.watching import EVENT_STREAM, HEADERS, watch

Endpoint = Callable[[Request], Awaitable[Response]]

MOUNTED = "a function that says who asks and what they may do; a console without one is not mounted"


def app(
    queue: Queue,
    access: Access | None = None,
    *,
    read_only: bool = False,
    require_reason: bool = False,
    redact: Iterable[str] = (),
    cache: Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    hosts: Iterable[str] | None = None,
    secret: bytes | None = None,
) -> Starlette:
    """The console of a queue, to be mounted in an application with a login of its own.

    ``access(request)``: who asks and what they may do: a name and rights, a `Person`, or None for
    nobody; it may be a coroutine function. ``redact``: names of tags that nobody is shown.
    ``hosts``: the host names that it answers to (None: the application sees to that). ``cache``:
    the folder for snapshots of the past, which may take ``cache_bytes``. ``secret``: what forms are
    signed with, the same in all processes of a server (None: each draws its own). Raises
    ArgumentError.
    """
    if access is None:
        raise ArgumentError("access", access, MOUNTED)
    options = Options(
        read_only=read_only,
        require_reason=require_reason,
        redact=check_redact(redact),
        cache=cache,
        cache_bytes=cache_bytes,
        secret=secret,
    )
    return serving(queue, person_by(access), None, options, hosts)


def serving(
    queue: Queue,
    find: FindPerson,
    sessions: Sessions | None,
    options: Options,
    hosts: Iterable[str] | None,
) -> Starlette:
    """The application; with ``sessions``, it has a door of its own."""
    console = Console(queue, find, sessions, options)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        console.close()

    names = None if hosts is None else frozenset(name.lower() for name in hosts)
    made = Starlette(
        routes=list(_routes(console)),
        middleware=[Middleware(Guard, hosts=names, hides_keys=bool(options.redact))],
        exception_handlers={HTTPException: partial(_not_found, console)},
        lifespan=lifespan,
    )
    made.state.console = console
    return made


def _routes(console: Console) -> Iterable[Route]:
    """One route for each row of the table, and each page twice."""
    services = Services(console)
    for service in SERVICES:
        answer = getattr(services, service.name)
        yield Route(service.path, _served(console, service, answer), methods=[service.method])
    for page in PAGES:
        # Before the pages, whose keys may be anything.
        yield Route(api_path(page), partial(_page, console, page), name=f"api-{page.name}")
    for each in ACTS:
        yield Route(each.path, partial(act, console, each), methods=["POST"])
    for page in sorted(PAGES, key=lambda page: page.path.count("{")):
        yield Route(page.path, partial(_page, console, page), name=page.name)


async def _page(console: Console, page: ConsolePage, request: Request) -> Response:
    person = await console.person(request)
    if person is None:
        return console.nobody(request)
    if not person.may(page.right):
        return console.problem(request, person, Problem(403, f"You may not: {page.right}."))
    return await look(console, page, person, request)


def _served(console: Console, service: Service, answer: Any) -> Endpoint:  # noqa: ANN401
    async def serve(request: Request) -> Response:
        person = await console.person(request)
        if service.right is not None:
            if person is None:
                return console.nobody(request, is_page=service.is_page)
            if not person.may(service.right):
                return console.problem(request, person, Problem(403, "You may not look."))
        try:
            found: Response = await answer(request, person)
        except (EventqError, FilterRefusedError, SlowQuestionError) as error:
            return console.problem(request, person, problem_of(error))
        return found

    return serve


async def _not_found(console: Console, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for these"
    words = {404: "There is no such page.", 405: "That is not to be done here."}
    person = await console.person(request)
    found = Problem(error.status_code, words.get(error.status_code, error.detail))
    return console.problem(request, person, found)


class Services:
    """What is neither a page nor an act, by the names in the table."""

    def __init__(self, console: Console) -> None:
        self._console = console

    async def start(self, request: Request, person: Person | None) -> Response:
        """The page on which a start code is given."""
        if self._console.sessions is None or person is not None:
            return RedirectResponse(self._console.url(request, "/"), 303)
        return self._console.page(request, None, "start.html", {"problem": None})

    async def come_in(self, request: Request, person: Person | None) -> Response:
        """Takes a start code, and gives a cookie for it."""
        console = self._console
        if console.sessions is None:
            return console.problem(request, person, Problem(404, "There is no such page."))
        form = await read_form(request)
        code = form.get("code", "").strip()
        token = console.sessions.redeem(code)
        if token is None:
            words = (
                f"This code is not known: each works once, for {CODE_S:.0f} seconds. Press Enter "
                "where `eventq console` runs for a new one."
            )
            return console.page(request, None, "start.html", {"problem": words}, status=403)
        response = RedirectResponse(console.url(request, "/"), 303)
        set_cookie(response, request, "session", token, SESSION_S)
        return response

    async def log_out(self, request: Request, person: Person | None) -> Response:
        """Ends the session."""
        console = self._console
        if not console.is_own_form(request, person, await read_form(request)):
            return console.problem(request, person, console.stale_form())
        token = request.cookies.get(cookie_name(request, "session"))
        if console.sessions is not None and token is not None:
            console.sessions.end(token)
        response = RedirectResponse(console.url(request, "/start"), 303)
        drop_cookie(response, request, "session")
        return response

    async def go(self, request: Request, person: Person | None) -> Response:
        """Leads from a word like ``-2h`` to a page as of that position."""
        del person
        return await self._console.go(request)

    async def find(self, request: Request, person: Person | None) -> Response:
        """Leads from a key to the page of its task, or of its flow."""
        del person
        flow = request.query_params.get("flow", "").strip()
        key = request.query_params.get("key", "").strip()
        path = f"/flows/{quote(flow, safe='')}" if flow else f"/tasks/{quote(key, safe='')}"
        at = request.query_params.get("at")
        where = self._console.url(request, path if flow or key else "/", at=at)
        return RedirectResponse(where, 303)

    async def events(self, request: Request, person: Person | None) -> Response:
        """The pulse, as server-sent events, or the head alone."""
        assert person is not None, "it takes a right"
        if request.method == "HEAD":
            return Response(None, 200, HEADERS, EVENT_STREAM)
        return watch(self._console, request, person)

    async def plan(self, request: Request, person: Person | None) -> Response:
        """What a change to many is about, before it is made, and what became of it."""
        assert person is not None, "it takes a right"
        return await plan_page(self._console, request, person)

    async def export(self, request: Request, person: Person | None) -> Response:
        """Tasks or changes as a file."""
        assert person is not None, "it takes a right"
        return await export(self._console, request, person)

    async def help(self, request: Request, person: Person | None) -> Response:
        """What the keys do, and what words mean."""
        return self._console.page(request, person, "help.html", {"title": "Help"})

    async def openapi(self, request: Request, person: Person | None) -> Response:
        """The description of the API."""
        del request, person
        return Response(msgspec.json.encode(describe_api()), media_type="application/json")

    async def metrics(self, request: Request, person: Person | None) -> Response:
        """The queue's numbers, for those who may see all lanes."""
        assert person is not None, "it takes a right"
        console = self._console
        if not person.may_in(None):
            words = "These numbers are of all lanes, of which you may see some."
            return console.problem(request, person, Problem(403, words))
        veil = console.veil(person)
        # The first one takes long.
        found = await console.in_slow_thread(lambda: console.scraping.text(veil))
        return console.problem(request, person, found) if isinstance(found, Problem) else found

    async def static(self, request: Request, person: Person | None) -> Response:
        """The style and the script."""
        return self._console.static(request, person)
