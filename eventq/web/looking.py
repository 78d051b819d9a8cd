"""A GET of a page: the moment, the question, the model, and its form as HTML or JSON."""

from __future__ import annotations

from concurrent.futures import wait
from functools import partial
from typing import Any

import msgspec
from anyio.to_thread import run_sync
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from eventq.errors import ArgumentError
from eventq.replay.points import Point
from eventq.web.access import Person
from eventq.web.answering import as_json, is_api, path_words, problem_of
from eventq.web.console import Console
from eventq.web.past import Job, Progress
from eventq.web.routes import Page
from eventq.web.scene import Live, Scene, When, live_scene
from eventq.web.showing import Veil

# A page of the past that takes longer is answered with how far it has come.
PATIENT_S = 1.0
LOOKS = 4


async def look(console: Console, page: Page, person: Person, request: Request) -> Response:
    """The answer to a GET of a page by somebody who may see it."""
    try:
        await console.note_ends()
        when = await console.when(request)
        if when is None:
            return await console.go(request)
        question = question_of(page, request)
        veil = console.veil(person)
        if isinstance(when, Live) and not page.folds:
            model = await console.in_thread(
                partial(_live_model, console, page, question, veil)
            )
            return _shown(console, page, person, request, when, model)
        job = await _asked(console, page, question, veil, request, when)
        if job is None:
            return Response(None, 499)
        if not job.future.done():
            return _working(console, page, person, request, when, job.progress)
        return _shown(console, page, person, request, when, job.future.result())
    except Exception as error:  # noqa: BLE001 - told in words
        return console.problem(request, person, problem_of(error))


def question_of(page: Page, request: Request) -> Struct:
    """What is asked of a page. Raises ArgumentError."""
    names = page.question.__struct_fields__
    given: dict[str, Any] = {n: v for n, v in request.query_params.items() if n in names}
    given.update(path_words(request))
    try:
        return msgspec.convert(given, page.question, strict=False)
    except msgspec.ValidationError as error:
        raise ArgumentError("query", str(error), "what this page can be asked") from None


def _live_model(console: Console, page: Page, question: Struct, veil: Veil) -> Any:  # noqa: ANN401
    return page.model(live_scene(console.node, console.log), question, veil)


async def _asked(
    console: Console, page: Page, question: Struct, veil: Veil, request: Request, when: When
) -> Job | None:
    """The job that makes the page, as far as it has come in a second; None if who asked has gone."""
    is_past = not isinstance(when, Live)
    point = await console.in_thread(partial(_point, console, when))
    key = (page.name, question, when.seq if not isinstance(when, Live) else None, veil.key)

    def tell(scene: Scene) -> Any:  # noqa: ANN401 - the page's model
        return page.model(scene, question, veil)

    job = console.past.ask(key, point, tell, keeps=is_past)
    for _ in range(LOOKS):
        done = await run_sync(
            partial(wait, [job.future], PATIENT_S / LOOKS), limiter=console.waiting
        )
        if done.done:
            return job
        if await request.is_disconnected():
            console.past.leave(key)
            return None
    return job


def _point(console: Console, when: When) -> Point:
    return console.point_of("end" if isinstance(when, Live) else str(when.seq))


def _working(
    console: Console,
    page: Page,
    person: Person,
    request: Request,
    when: When,
    progress: Progress,
) -> Response:
    """That it takes longer, and how far it has come: the browser asks again by itself."""
    headers = {"retry-after": "1"}
    if is_api(request):
        return as_json(progress, 202, headers)
    values = {"title": page.title, "progress": progress}
    response = console.page(request, person, "working.html", values, status=202, when=when)
    response.headers.update({**headers, "refresh": "1"})
    return response


def _shown(
    console: Console, page: Page, person: Person, request: Request, when: When, model: Any  # noqa: ANN401
) -> Response:
    if is_api(request):
        return as_json(model)
    values = {
        "model": model,
        "title": page.title,
        "page_name": page.name,
        "seq": model.seq,
        "follows": page.is_live and isinstance(when, Live),
        "check": console.checking.last,
        "asked": dict(request.query_params),
    }
    return console.page(request, person, page.template, values, when=when)


