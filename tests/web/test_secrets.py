"""Values of redacted tags leave the console by no way: pages, JSON, files, filters, acts, log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import closing
from html import unescape
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec
import pytest

import eventq
from eventq.archive import archive_events, delete_archived
from eventq.catalog.catalog import Catalog
from eventq.web.access import Right
from eventq.web.live import Beat, Watcher
from eventq.web.showing import HIDDEN
from tests.web.desk import Desk, MakeDesk
from tests.web.leaks import (
    CANARY,
    FORMS,
    LEAST_PAGES,
    LINK,
    PATIENT_S,
    asked_of,
    logged,
    numbers_of,
)


def test_a_secret_leaves_by_no_page(leaky: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """As HTML, JSON and files, now and at moments of the past, by links and by numbers."""
    caplog.set_level(logging.DEBUG, "eventq.web")
    last = leaky.queue.log.head().seq
    seen: dict[str, str] = {}

    def ask(path: str) -> str:
        answer = leaky.asked(path)
        seen[path] = f"{answer.text}\n{answer.headers}"
        return answer.text

    pages = asked_of(leaky)
    links = [link for path in pages for link in LINK.findall(ask(path))]
    for path in pages:
        ask(f"/api{path}" if path != "/" else "/api/now")
    for link in dict.fromkeys(unescape(link) for link in links):
        if link not in seen:
            ask(link)
    for moment in range(1, last + 1, 7):
        for path in ("/", "/tasks", "/limits", "/flows", "/changes", "/errors", "/schedules"):
            ask(f"{path}?at={moment}")
    for form in ("csv", "jsonl"):
        ask(f"/export/tasks.{form}")
        ask(f"/export/changes.{form}?parts=true")
    ask("/metrics")

    assert len(seen) > LEAST_PAGES
    assert all(str(number) in "".join(links) for number in numbers_of(leaky))
    assert {path for path, text in seen.items() if any(form in text for form in FORMS)} == set()
    assert not any(form in told for told in logged(caplog) for form in FORMS)


def test_a_secret_leaves_by_no_act(leaky: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Neither by what was done, nor by why it was not."""
    caplog.set_level(logging.DEBUG, "eventq.web")
    said = []

    def send(path: str, **form: str) -> None:
        answer = leaky.sent(path, **form)
        told = leaky.asked(answer.headers["location"]).text if answer.is_redirect else ""
        said.append((path, f"{answer.text}\n{answer.headers}\n{told}"))

    for number in numbers_of(leaky):
        for act in ("retry", "cancel", "repeat", "update"):
            send(f"/tasks/{number}/{act}", priority="3", seen="1")
            send(f"/tasks/{number}/{act}", priority="4")
    for seq in range(1, leaky.queue.log.head().seq + 1):
        send(f"/changes/{seq}/undo")
    send("/plans", filter="state=cancelled,scheduled,ready,expired", action="retry")

    assert any(answer.startswith("\n") for _, answer in said), "some acts are done"
    assert {path for path, text in said if any(form in text for form in FORMS)} == set()
    assert not any(form in told for told in logged(caplog) for form in FORMS)


@pytest.mark.parametrize(
    "query",
    [
        {"key": f"sent/{CANARY}"},
        {"tags": f"email={CANARY}"},
        {"tags": '{"email":{"$exists":true}}'},
        {"text": "c4n4ry"},
        {"message": "c4n4ry"},
        {"place": "c4n4ry"},
    ],
)
def test_nothing_is_found_by_a_secret(leaky: Desk, query: dict[str, str]) -> None:
    """A filter, a file, a plan and a saved filter by one are refused: each would be an oracle.

    By tags that are secret of some tasks alone, none of these is found.
    """
    text = urlencode(query)
    if not leaky.app.state.console.options.redact:
        assert leaky.json(f"/tasks?count=true&{text}")["count"] == 0
        assert leaky.json(f"/tasks?{text}")["rows"] == []
        assert leaky.asked(f"/export/tasks.jsonl?{text}").text == ""
        assert leaky.post("/plans", 303, filter=text, action="retry").headers["location"]
        return

    for path in (f"/tasks?{text}", f"/api/tasks?{text}", f"/export/tasks.csv?{text}"):
        assert leaky.asked(path).status_code == HTTPStatus.FORBIDDEN
    assert leaky.sent("/plans", filter=text, action="retry").status_code == HTTPStatus.FORBIDDEN
    assert leaky.sent("/filters/save", filter=text, name="x").status_code == HTTPStatus.FORBIDDEN


def test_a_key_that_holds_a_secret_is_no_key(leaky: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Its task is there by its number alone: no key can be tried, and none is logged."""
    caplog.set_level(logging.DEBUG, "eventq.web")
    key = quote(f"sent/{CANARY}", safe="")
    flow = quote(f"flow/{CANARY}", safe="")
    number = leaky.queue.log.find_keys([f"sent/{CANARY}"])[f"sent/{CANARY}"]

    assert leaky.json(f"/tasks/{number}")["row"]["key"] == str(number)
    for path in (f"/tasks/{key}", f"/tasks/{key}/why", f"/flows/{flow}", f"/compare?task={key}"):
        tried = leaky.json(path, 404)["problem"]
        other = leaky.json(path.replace("c4n4ry", "n0b0dy"), 404)["problem"]
        assert tried == other.replace("n0b0dy", "c4n4ry")
    assert leaky.sent(f"/tasks/{key}/retry").status_code == HTTPStatus.NOT_FOUND
    assert leaky.json("/tasks/behind")["waits"][0]["key"].isdigit()
    assert not any(form in told for told in logged(caplog) for form in FORMS)


GUESSES = [
    ("/tasks/behind/update", "tags", '{"email": "GUESS"}'),
    ("/tasks/behind/update", "tags", '{"deep": [{"email": "GUESS"}]}'),
    ("/limits/pause", "tags", '{"email": "GUESS"}'),
    ("/limits/resume", "tags", '{"email": "GUESS"}'),
    ("/limits/pause", "value", "GUESS"),
    ("/limits/resume", "value", "GUESS"),
]


@pytest.mark.parametrize("act", GUESSES)
@pytest.mark.parametrize("hides", ["redact", "own", "values"])
def test_no_act_tells_whether_a_guess_is_right(
    make_desk: MakeDesk, queue: eventq.Queue, hides: str, act: tuple[str, str, str]
) -> None:
    """Edits, pauses and their ends by what is hidden are refused, be it secret or all values."""
    path, field, text = act
    own = ["email"] if hides == "own" else []
    host = {"host": "right"}
    queue.new({"email": "right"}, name="nobody", key="behind", limits=host, secret=own)
    desk = make_desk(redact=["email"] if hides == "redact" else [])
    if hides == "values":
        desk.may(Right.EDIT, Right.PAUSE)
    head = queue.log.head()
    said = {
        desk.post(path, 403, limit="host", **{field: text.replace("GUESS", guess)}).text
        for guess in ("right", "wrong")
    }
    told = {re.sub('(form_id|form_key)" value="[^"]*"', "", page) for page in said}

    assert len(told) == 1
    assert "would tell what" in told.pop()
    assert queue.log.head() == head


@pytest.mark.parametrize("redact", [["email"], []])
def test_a_key_that_is_taken_tells_nothing_of_its_task(
    make_desk: MakeDesk, queue: eventq.Queue, redact: list[str]
) -> None:
    """Neither in what a new task would differ from it, nor that it would not."""
    queue.new({"email": "right"}, key="taken")
    desk = make_desk(redact=redact)
    if not redact:
        desk.may(Right.CREATE, Right.PAUSE)
    head = queue.log.head()
    for guess in ("right", "wrong"):
        answer = desk.post("/new", 409, key="taken", tags=f'{{"email": "{guess}"}}')

        assert "A task has the key taken already; nothing was done." in answer.text
    assert queue.log.head() == head


def test_tags_that_are_not_hidden_can_be_acted_by(leaky: Desk) -> None:
    """Where another tag is secret."""
    leaky.done("/tasks/behind/update", tags='{"n": 2}')
    leaky.done("/limits/pause", tags='{"n": 2}')

    assert leaky.json("/tasks/behind")["row"]["tags"] == {"n": 2}
    leaky.done("/limits/resume", tags='{"n": 2}')


def test_an_edit_leaves_what_a_task_calls_secret_as_it_is(
    make_desk: MakeDesk, queue: eventq.Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """Other tags are edited without it; it may be said as it is shown, and not otherwise."""
    caplog.set_level(logging.DEBUG, "eventq.web")
    tags = {"email": CANARY, "n": 1}
    queue.new(tags, name="nobody", key="one", secret=["email", "none"])
    desk = make_desk()
    shown = desk.json("/tasks/one")["row"]["tags"]
    head = queue.log.head()

    assert shown == {"email": HIDDEN, "n": 1}
    for guess in (CANARY, "wrong"):
        answer = desk.post("/tasks/one/update", 403, tags=json.dumps({"email": guess}))
        assert "Tag email is secret" in answer.text
    assert queue.log.head() == head
    told = [desk.done("/tasks/one/update", tags='{"n": 2}')]
    told.append(desk.done("/tasks/one/update", tags=json.dumps({**shown, "n": 3})))
    task = queue.get("one")
    assert task is not None
    assert (task.tags, task.secret) == ({"email": CANARY, "n": 3}, ("email", "none"))
    assert not any(form in text for text in [*told, *logged(caplog)] for form in FORMS)


def test_a_key_of_a_task_with_secrets_tells_nothing_of_it(
    make_desk: MakeDesk, queue: eventq.Queue
) -> None:
    """Neither in what a new task would differ from it, nor that it would not."""
    queue.new({"email": "right"}, key="taken", secret=["email"])
    desk = make_desk()
    head = queue.log.head()
    for guess in ("right", "wrong"):
        for secret in ("email", "email, n", ""):
            tags = f'{{"email": "{guess}"}}'
            answer = desk.post("/new", 409, key="taken", tags=tags, secret=secret)

            assert "A task has the key taken already; nothing was done." in answer.text
    assert queue.log.head() == head


def test_a_new_task_may_have_secrets(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """The form names those that open tasks of the handler have; what it holds is not told."""
    queue.new({"email": "x", "n": 1}, name="nobody", secret=["email"])
    desk = make_desk()

    assert 'name="secret" value="email"' in desk.get("/new?name=nobody")
    tags, named = json.dumps({"email": CANARY}), dict.fromkeys(["secret"], "email")
    text = desk.done("/new", name="nobody", key="new", tags=tags, **named)
    task = queue.get("new")
    assert task is not None
    assert (task.secret, task.tags) == (("email",), {"email": CANARY})
    assert not any(form in text for form in FORMS)
    desk.post("/new", 400, **dict.fromkeys(named, "not a tag"))


def test_what_is_archived_of_a_task_with_secrets_is_not_told(
    make_desk: MakeDesk, queue: eventq.Queue, tmp_path: Path
) -> None:
    """Its values are gone with its events, so that nobody knows what may hold one."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        raise ConnectionError(f"{task.tags['email']} is not there")

    tags = {"email": CANARY, "copy": f"cc {CANARY}", "to": "ada"}
    queue.new(tags, key=f"failed/{CANARY}", max_retries=0, secret=["email"])
    queue.new({"n": 1}, name="nobody")
    queue.run(work, until="idle", signals=False)
    with closing(Catalog.open(queue.log)) as catalog:
        catalog.catch_up()
    until = queue.log.head()
    archive_events(queue.log, tmp_path / "archive", until=until)
    delete_archived(queue.log, tmp_path / "archive", until=until, now=until.at)
    desk = make_desk()
    rows = desk.json("/tasks")["rows"]

    assert [(row["key"], row["tags"]) for row in rows if row["number"] == 1] == [
        ("1", {"email": HIDDEN, "to": HIDDEN})
    ]
    pages = [desk.get("/tasks"), str(rows), desk.get("/errors"), desk.get("/charts")]
    pages.append(desk.get("/export/tasks.csv"))
    assert not any(form in page for page in pages for form in FORMS)


def test_a_secret_leaves_by_no_stream(leaky: Desk) -> None:
    """What pages are told as it happens is numbers."""
    pulse = leaky.app.state.console.pulse

    async def hear() -> Beat | None:
        watcher = Watcher(asyncio.get_running_loop())
        assert pulse.join(watcher)
        beat = await watcher.next(PATIENT_S)
        pulse.leave(watcher)
        return beat

    told = msgspec.json.encode(asyncio.run(hear())).decode()

    assert str(leaky.queue.log.head().seq) in told
    assert not any(form in told for form in FORMS)
