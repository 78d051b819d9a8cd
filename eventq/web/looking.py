"""A GET of a page: the moment, the question, the model, and its form as HTML or JSON."""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from eventq.errors import ArgumentError
from eventq.replay.points import Point
from eventq.web.access import Person
from eventq.web.answering import as_json, is_api, path_words, problem_of
from eventq.web.console import Console
from eventq.web.pages.tasks import COLUMNS
from eventq.web.past import FoldProgress, Job
from eventq.web.routes import ConsolePage
from eventq.web.sight import At, Live, Sight, When, live_sight

# A page of the past that takes longer is answered with how far it has come.
PATIENT_S = 1.0
LOOKS = 4
# Who asked has closed the connection: nobody reads this.
GONE = 499
# The moment, what has been done, and the form of the answer.
OF_EVERY_PAGE = ("at", "done", "as")
# Logs and catalogs count to this.
MOST = 2**63 - 1


class Looking:
    """One look at a page: who looks, by which request, at which moment."""

    def __init__(
        self, console: Console, page: ConsolePage, person: Person, request: Request
    ) -> None:
        self._console = console
        self._page = page
        self._person = person
        self._request = request
        self._question = asked_by(page.question, request)
        # For a ticket, which others read: without what users wrote.
        self._is_file = request.query_params.get("as") == "file" and not is_api(request)
        self._veil = console.veil(person.seeing_no_values() if self._is_file else person)

    async def answer(self, when: When) -> Response:
        """The page, or how far it has come."""
        if isinstance(when, Live) and not self._page.folds:
            console = self._console
            # A page that asks the catalog waits for whoever asks it already.
            call = console.in_thread if self._page.keeps else console.in_slow_thread
            return self._shown(when, await call(self._live_model))
        job = await self._asked(when)
        if job is None:
            return Response(None, GONE)
        if not job.future.done():
            return self._working(when, job.progress)
        return self._shown(when, job.future.result())

    def _live_model(self) -> Any:  # noqa: ANN401 - the page's model
        console = self._console
        model = self._tell(live_sight(console.node, console.log, console.catalog))
        if not is_api(self._request):
            console.note_ends(model.seq)
        return model

    def _point(self, word: str) -> Point:
        if not is_api(self._request):
            self._console.note_ends()
        return self._console.point_of(word)

    def _tell(self, sight: Sight) -> Any:  # noqa: ANN401 - the page's model
        return self._page.model(sight, self._question, self._veil)

    async def _asked(self, when: When) -> Job | None:
        """The job that makes the page, a second later; None if who asked has gone."""
        console = self._console
        word = "end" if isinstance(when, Live) else str(when.seq)
        point = await console.in_thread(partial(self._point, word))
        key = (self._page.name, self._question, word, self._veil.key)
        job = console.past.ask(
            key, point, self._tell, keeps=isinstance(when, At) and self._page.keeps
        )
        for _ in range(LOOKS):
            waiting = partial(wait, [job.future], PATIENT_S / LOOKS)
            done = await console.in_slow_thread(waiting)
            if done.done:
                if isinstance(when, Live):
                    console.past.taken(key)
                return job
            if await self._request.is_disconnected():
                console.past.leave(key)
                return None
            console.past.stay(key)
        return job

    def _working(self, when: When, progress: FoldProgress) -> Response:
        """That it takes longer, and how far it has come: the browser asks again by itself."""
        headers = {"retry-after": "1"}
        if is_api(self._request):
            return as_json(progress, 202, headers)
        values = {"title": self._page.title, "progress": progress}
        response = self._console.page(
            self._request, self._person, "working.html", values, status=202, when=when
        )
        response.headers.update({**headers, "refresh": "1"})
        return response

    def _shown(self, when: When, model: Any) -> Response:  # noqa: ANN401 - the page's model
        if is_api(self._request):
            return as_json(model)
        values = {
            "model": model,
            "title": self._page.title,
            "seq": model.seq,
            "follows": self._page.is_live and isinstance(when, Live),
            "check": self._console.checking.last,
            "saved_filters": partial(self._console.saved.of, self._person.name),
            "task_columns": COLUMNS,
            "asked": dict(self._request.query_params),
        }
        if self._is_file:
            return self._console.as_file(
                self._request, self._person, self._page.template, values, when=when
            )
        return self._console.page(
            self._request, self._person, self._page.template, values, when=when
        )


async def look(console: Console, page: ConsolePage, person: Person, request: Request) -> Response:
    """The answer to a GET of a page by somebody who may see it."""
    said = request.query_params.multi_items()
    if not is_api(request) and (any(not v for _, v in said) or len(dict(said)) < len(said)):
        # As a form sends it: without what was left empty, the address can be read.
        return RedirectResponse(console.clean_url(request), 303)
    try:
        when = await console.when(request)
        if when is None:
            return await console.go(request)
        return await Looking(console, page, person, request).answer(when)
    except Exception as error:  # noqa: BLE001 - told in words
        return console.problem(request, person, problem_of(error))


def asked_by(kind: type[Struct], request: Request) -> Any:  # noqa: ANN401 - one of the kind
    """What the path and the query of a request ask. Raises ArgumentError."""
    names, said = kind.__struct_fields__, request.query_params
    unknown = sorted(said.keys() - {*names, *OF_EVERY_PAGE})
    if unknown:
        # A filter that is misspelled would show more than it says.
        known = ", ".join(names) or "nothing but the moment"
        raise ArgumentError("query", unknown[0], f"what this page can be asked by: {known}")
    # What is ticked several times is several words.
    given: dict[str, Any] = {n: ",".join(said.getlist(n)) for n in said if n in names}
    given.update(path_words(request))
    try:
        found = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ArgumentError("query", str(error), "what this page can be asked") from None
    for name in names:
        value = getattr(found, name)
        if isinstance(value, int) and abs(value) > MOST:
            raise ArgumentError(name, value, "a number of less than 64 bits")
    return found
