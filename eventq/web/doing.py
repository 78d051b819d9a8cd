"""A POST: who, whether they may, whether the form is ours and new; then the act, once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from eventq.errors import EventqError
from eventq.web.access import Person
from eventq.web.acting import Acting, Done
from eventq.web.answering import Problem, path_words, problem_of
from eventq.web.console import Console
from eventq.web.form import optional, read_form
from eventq.web.naming import told_error
from eventq.web.routes import Act
from eventq.web.rule_veil import RuleVeil, secrets_in
from eventq.web.showing import Veil


async def act(console: Console, each: Act, request: Request) -> Response:
    """The answer to a POST: to the page that shows what was done, or why nothing was."""
    person = await console.person(request)
    if person is None:
        return console.nobody(request)
    try:
        form = await read_form(request)
        refusal = _refusal(console, each, person, request, form)
        if refusal is not None:
            return console.problem(request, person, refusal)
        run = partial(_run, console, each, person, path_words(request), form)
        done = await console.in_slow_thread(run)
    except Exception as error:  # noqa: BLE001 - told in words
        return console.problem(request, person, await _problem(console, person, error))
    told = console.told.put(done.words, person, done.undo)
    return RedirectResponse(console.url(request, done.path, done=told), 303)


async def _problem(console: Console, person: Person, error: Exception) -> Problem:
    """Why nothing was done, without a key that is not shown."""
    found = problem_of(error)
    if not isinstance(error, EventqError):
        return found
    tell = partial(told_error, console.log, error, found.problem, console.veil(person))
    return Problem(found.status, await console.in_thread(tell))


def _refusal(
    console: Console, each: Act, person: Person, request: Request, form: Mapping[str, str]
) -> Problem | None:
    """Why this form does nothing."""
    if not person.may(each.right):
        words = "This console only looks." if console.options.read_only else "You may not do that."
        return Problem(403, words)
    if not console.is_own_form(request, person, form):
        return console.stale_form()
    if each.asks_reason and console.options.require_reason and optional(form, "reason") is None:
        words = "A reason is asked for here; nothing was done. Go back and give one."
        return Problem(422, words)
    return None


def _run(
    console: Console,
    each: Act,
    person: Person,
    path: Mapping[str, str],
    form: Mapping[str, str],
) -> Done:
    """Acts, unless this very form has been sent before: then what it did is told again."""
    veil = console.veil(person)
    acting = Acting(
        queue=console.queue,
        node=console.node,
        checking=console.checking,
        person=person,
        path=path,
        form=form,
        plans=console.plans,
        saved=console.saved,
        catalog=console.catalog,
        veil=veil,
        rules=partial(_rules, console, veil),
        began=console.log.head().seq,
    )
    if not form.get("form_id"):
        # Made by hand: each is another one.
        return each.do(acting)
    # A form does one thing: the same id sent to another address is another form.
    name = "\0".join([person.name, each.path, *path.values(), form["form_id"]])
    before = console.sent.begin(name)
    if before is not None:
        return before
    try:
        done = each.do(acting)
    except BaseException:
        console.sent.forget(name)
        raise
    console.sent.end(name, done)
    return done


def _rules(console: Console, veil: Veil) -> RuleVeil:
    with console.node.reading() as projection:
        return RuleVeil(veil, secrets_in(projection))
