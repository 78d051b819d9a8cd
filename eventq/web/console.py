"""The console's parts, and what all its answers have in common: who asks, links, forms, pages."""

from __future__ import annotations

import re
import secrets
import shlex
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from eventq.core.task import instant
from eventq.core.version import __version__
from eventq.eventlog.contract import EventLog
from eventq.node.node import Node
from eventq.queue import Queue
from eventq.replay.points import Point, find_point
from eventq.web.access import FindPerson, Person, Right
from eventq.web.answering import Problem, as_json, is_api, route_path
from eventq.web.cache import CACHE_BYTES, CachedSnapshots, cache_folder
from eventq.web.checking import Checking
from eventq.web.kept_catalog import KeptCatalog
from eventq.web.live import Pulse
from eventq.web.past import PastFolds
from eventq.web.plans import PlanShelf
from eventq.web.render import environment, query_text
from eventq.web.routes import PAGES
from eventq.web.saved import SavedFilters
from eventq.web.scraping import Scraping
from eventq.web.sent import SentForms
from eventq.web.session import FORM_S, FormKeys, Sessions, cookie_name, set_cookie
from eventq.web.showing import Veil
from eventq.web.sight import LIVE, At, Live, When, command_of

# Threads that make pages of the present, and that wait for those of the past.
LIVE_THREADS = 4
WAITING_THREADS = 40
FORM = re.compile("<form.*?</form>", re.DOTALL)
TOLD_KEPT = 1_000
STATIC = {"console.css": "text/css", "console.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Options(Struct, frozen=True):
    """How a console was started."""

    read_only: bool = False
    require_reason: bool = False
    redact: frozenset[str] = frozenset()
    cache: Path | None = None
    cache_bytes: int = CACHE_BYTES
    secret: bytes | None = None
    """What forms are signed with; None: drawn."""


class Console:
    """A queue's console. Close it to end its threads; the queue is its owner's."""

    def __init__(
        self, queue: Queue, find: FindPerson, sessions: Sessions | None, options: Options
    ) -> None:
        self.queue = queue
        self.sessions = sessions
        self.options = options
        self.node: Node = queue._node  # noqa: SLF001 - the console is a face of the queue
        self.log: EventLog = queue.log
        folder = cache_folder(self.log, options.cache)
        snapshots = CachedSnapshots(self.log.snapshots, folder, most_bytes=options.cache_bytes)
        self.catalog = KeptCatalog(self.log)
        self.past = PastFolds(self.log, snapshots, now=self.node.now, catalog=self.catalog)
        self.pulse = Pulse(self.node)
        self.scraping = Scraping(self.node)
        self.checking = Checking(self.log, now=self.node.now)
        self.limiter = CapacityLimiter(LIVE_THREADS)
        self.waiting = CapacityLimiter(WAITING_THREADS)
        self.forms = FormKeys(options.secret)
        self.told = Tellings()
        self.sent = SentForms()
        self.plans = PlanShelf()
        self.saved = SavedFilters(folder)
        self._find = find
        self._templates = environment()
        self._static = _static_files()
        # Where the log begins and ends, as it was last seen.
        self._begin = self._head = 0

    def close(self) -> None:
        """Ends its threads; may come twice."""
        self.pulse.close()
        self.checking.close()
        self.past.close()
        self.plans.close()
        self.catalog.close()

    async def in_thread(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
        """Calls what reads the log, beside the event loop."""
        return await run_sync(call, limiter=self.limiter)

    async def in_slow_thread(self, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - what it returns
        """Calls what may take long: quick pages of the present need not wait for it."""
        return await run_sync(call, limiter=self.waiting)

    def note_ends(self, head: int | None = None) -> None:
        """Sees where the log begins and, unless that is known, ends: for the slider of pages."""
        self._begin = self.log.start().seq
        self._head = self.log.head().seq if head is None else head

    async def person(self, request: Request) -> Person | None:
        """Who asks, with the rights that they have here."""
        found = await self._find(request)
        if found is not None and self.options.read_only:
            return found.only_looking()
        return found

    def veil(self, person: Person) -> Veil:
        """What they are not shown."""
        return Veil(person, self.options.redact)

    # Moments.

    def point_of(self, word: str) -> Point:
        """The point that a word means. Raises ArgumentError."""
        return find_point(self.log, word, now=self.node.now(), argument="at")

    async def when(self, request: Request) -> When | None:
        """The moment that a request asks about; None for a word that is to become a position."""
        word = request.query_params.get("at", "").strip()
        if not word:
            return LIVE
        if not (word.isascii() and word.isdigit()):
            return None
        point = await self.in_thread(lambda: self.point_of(word))
        return At(point.seq)

    async def go(self, request: Request) -> Response:
        """Leads to a page as of the position that a word means. Raises ArgumentError."""
        query = request.query_params
        word = query.get("to", query.get("at", "")).strip()
        back = query.get("back", "/") if "to" in query else route_path(request)
        # Only pages of this console.
        path, _, rest = back.partition("?")
        if not path.startswith("/") or path.startswith("//") or "\\" in path:
            path, rest = "/", ""
        asked = parse_qsl(rest) if "to" in query else query.multi_items()
        pairs = [(name, value) for name, value in asked if name != "at"]
        if word and word != "now":
            point = await self.in_thread(lambda: self.point_of(word))
            pairs.append(("at", str(point.seq)))
        where = self.url(request, path) + (f"?{urlencode(pairs)}" if pairs else "")
        return RedirectResponse(where, 303)

    # Answers.

    def url(self, request: Request, path: str, when: When = LIVE, **query: Any) -> str:  # noqa: ANN401
        """The address of a page, as of a moment."""
        asked = query if isinstance(when, Live) else {**query, "at": when.seq}
        root = (request.scope.get("root_path") or "").rstrip("/")
        text = query_text(asked)
        return f"{root}{path}{text.replace('?', '&', 1) if '?' in path else text}"

    def clean_url(self, request: Request) -> str:
        """The address of a request as a link has it: nothing empty, and each name once."""
        asked = request.query_params
        joined = {n: ",".join(v for v in asked.getlist(n) if v) for n in asked}
        return f"{self.url(request, route_path(request))}{query_text(joined)}"

    def nobody(self, request: Request, *, is_page: bool = True) -> Response:
        """For who has not come in: a page leads to the door."""
        leads = is_page and not is_api(request) and request.method == "GET"
        if self.sessions is not None and leads:
            return RedirectResponse(self.url(request, "/start"), 303)
        return self.problem(request, None, Problem(401, "You have not come in, or not lately."))

    def problem(self, request: Request, person: Person | None, found: Problem) -> Response:
        """An error, as JSON where that is asked for."""
        if is_api(request):
            return as_json(found, found.status)
        return self.page(request, person, "problem.html", {"found": found}, status=found.status)

    @staticmethod
    def stale_form() -> Problem:
        """For a form without the key that it must have."""
        words = "The form is too old, or not one of this console; nothing was done. Load it again."
        return Problem(403, words)

    def page(
        self,
        request: Request,
        person: Person | None,
        template: str,
        values: dict[str, Any],
        *,
        status: int = 200,
        when: When = LIVE,
    ) -> Response:
        """A page of HTML."""
        cookie = request.cookies.get(cookie_name(request, "form"))
        is_new = not cookie
        cookie = cookie or secrets.token_urlsafe(24)
        common: dict[str, Any] = {
            "person": person,
            "may": (lambda right: person is not None and person.may(Right(right))),
            "when": when,
            "is_live": isinstance(when, Live),
            "seq": None,
            "begin": self._begin,
            "head": self._head,
            "link": lambda path, **query: self.url(request, path, when, **query),
            "live_link": lambda path, **query: self.url(request, path, LIVE, **query),
            "task_link": lambda key: self.url(request, f"/tasks/{quote(key, safe='')}", when),
            "at_link": lambda seq: self._here(request, seq),
            "here": self._here(request, None, rooted=False),
            "path": route_path(request),
            "pages": [page for page in PAGES if page.key],
            "form_key": self.forms.key_of(cookie, person),
            "form_id": secrets.token_urlsafe(12),
            "options": self.options,
            "has_door": self.sessions is not None,
            "namespace": self.log.namespace,
            "version": __version__,
            "told": self.told.take(request.query_params.get("done"), person),
            "title": "eventq",
            "style": None,
            "file_link": self._here(
                request, None if isinstance(when, Live) else when.seq, file=True
            ),
            "catalog_command": shlex.join(command_of(self.log, "catalog", "build")),
            "follows": False,
            "model": None,
        }
        text = self._templates.get_template(template).render({**common, **values})
        response = HTMLResponse(text, status)
        if is_new:
            set_cookie(response, request, "form", cookie, FORM_S)
        return response

    def as_file(
        self,
        request: Request,
        person: Person,
        template: str,
        values: dict[str, Any],
        *,
        when: When,
    ) -> Response:
        """A page as one file: it asks nothing of this console, and leads nowhere."""
        style = self._static["console.css"][0].decode()

        def nowhere(*_: object, **__: object) -> str:
            return "#"

        own = {
            "style": style,
            "saved_at": instant(self.node.now()),
            **dict.fromkeys(("link", "live_link", "task_link", "at_link"), nowhere),
        }
        looker = person.seeing_no_values()
        page = self.page(request, looker, template, {**values, **own}, when=when)
        # Values are escaped, so that none ends a form.
        text = FORM.sub("", bytes(page.body).decode())
        page = HTMLResponse(text)
        name = f"eventq-{values['title'].lower().replace(' ', '-')}-{values['seq']}.html"
        page.headers["content-disposition"] = f'attachment; filename="{name}"'
        return page

    def _here(
        self, request: Request, seq: int | None, *, rooted: bool = True, file: bool = False
    ) -> str:
        """This very page, as of another moment, or as a file."""
        left = {"at", "done", "as"}
        query = {n: v for n, v in request.query_params.multi_items() if n not in left}
        asked = {**query, "at": seq, "as": "file" if file else None}
        text = f"{route_path(request)}{query_text(asked)}"
        root = (request.scope.get("root_path") or "").rstrip("/")
        return f"{root}{text}" if rooted else text

    def is_own_form(self, request: Request, person: Person | None, form: Mapping[str, str]) -> bool:
        """Whether a form was made by this console for this person and browser."""
        cookie = request.cookies.get(cookie_name(request, "form"))
        return self.forms.fits(form.get("form_key", ""), cookie, person)

    def static(self, request: Request, person: Person | None) -> Response:
        """A file of the console's own."""
        found = self._static.get(request.path_params["file"])
        if found is None:
            return self.problem(request, person, Problem(404, "There is no such file."))
        data, kind, tag = found
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        return Response(data, 200, headers, kind)


class DoneTold(Struct, frozen=True):
    """What somebody has done, and where it stands in the log if it can be taken back."""

    person: str
    words: str
    undo: int | None


class Tellings:
    """What was done, for the page that comes next: each is told once, to who did it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: OrderedDict[str, DoneTold] = OrderedDict()

    def put(self, words: str, person: Person, undo: int | None) -> str:
        """Keeps the words; returns the name that they go by."""
        name = secrets.token_urlsafe(9)
        with self._lock:
            self._words[name] = DoneTold(person.name, words, undo)
            while len(self._words) > TOLD_KEPT:
                self._words.popitem(last=False)
        return name

    def take(self, name: str | None, person: Person | None) -> DoneTold | None:
        """What goes by a name; None where it has been told."""
        with self._lock:
            found = self._words.get(name or "")
            if found is None or person is None or found.person != person.name:
                return None
            del self._words[name or ""]
            return found


def _static_files() -> dict[str, tuple[bytes, str, str]]:
    folder = resources.files("eventq.web") / "static"
    found = {}
    for name, kind in STATIC.items():
        data = (folder / name).read_bytes()
        found[name] = data, kind, f'"{sha256(data).hexdigest()[:20]}"'
    return found
