"""GETs that are neither pages nor acts: a plan as it stands, and lists as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from eventq.core.projection import Projection
from eventq.web.access import Person
from eventq.web.answering import Problem
from eventq.web.console import Console
from eventq.web.exporting import EXPORTS, FORMATS, export_lines, find_export
from eventq.web.kept_catalog import CatalogLackingError
from eventq.web.looking import asked_by
from eventq.web.pages.tasks import found_rows
from eventq.web.plans import KeptPlan
from eventq.web.sight import At, Sight, When, live_sight

SAMPLE = 20
MOVED_SHOWN = 100


async def plan_page(console: Console, request: Request, person: Person) -> Response:
    """A plan: how many tasks, some of them, a form to apply it; or what became of it."""
    kept = console.plans.get(str(request.path_params["key"]), person)
    if kept is None:
        words = "This plan is not known any more; nothing was done. Make it again."
        return console.problem(request, person, Problem(404, words))
    values = await console.in_slow_thread(partial(_plan_values, console, person, kept))
    response = console.page(request, person, "plan.html", values)
    if kept.state.runs:
        # The page asks again by itself, also without a script.
        response.headers["refresh"] = "1"
    return response


async def export(console: Console, request: Request, person: Person) -> Response:
    """A list as a file. Raises ArgumentError, FilterRefusedError and SlowQuestionError."""
    found = find_export(str(request.path_params["file"]))
    if found is None:
        return console.problem(request, person, Problem(404, "There is no such file."))
    what, form = found
    question = asked_by(EXPORTS[what].question, request)
    when = await console.when(request)
    if when is None:
        return await console.go(request)
    sight = await console.in_thread(partial(_sight, console, when))
    rows = EXPORTS[what].rows(sight, question, console.veil(person))
    try:
        lines: Iterator[bytes] = await console.in_slow_thread(partial(export_lines, form, rows))
    except CatalogLackingError as error:
        words = f"{error} This list needs it: eventq catalog build"
        return console.problem(request, person, Problem(409, words))
    name = f"eventq-{what}-{sight.seq}.{form}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(lines, 200, headers, FORMATS[form])


def _plan_values(console: Console, person: Person, kept: KeptPlan) -> dict[str, Any]:
    plan, state = kept.plan, kept.state
    moved_on = plan.moved_on if state.applied is None else state.applied.moved_on
    return {
        "title": "Plan",
        "kept": kept,
        "plan": plan,
        "state": state,
        "rows": found_rows(console.log, plan.sample(SAMPLE), console.veil(person)),
        "moved_on": moved_on[:MOVED_SHOWN],
        "more_moved": max(0, len(moved_on) - MOVED_SHOWN),
    }


def _sight(console: Console, when: When) -> Sight:
    """A sight that only the catalog answers for where it is of the past."""
    if isinstance(when, At):
        point = console.point_of(str(when.seq))
        return Sight(console.log, _no_look, point=point, catalog=console.catalog)
    return live_sight(console.node, console.log, console.catalog)


def _no_look() -> AbstractContextManager[tuple[Projection, int]]:
    """Nothing is folded for a file."""
    raise CatalogLackingError("Only a catalog can tell what was in the past.")
