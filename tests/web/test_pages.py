"""Pages: each shows what the queue holds, at any moment, escaped, and appends nothing."""

from __future__ import annotations

import re
import threading
from urllib.parse import parse_qsl, quote

import pytest

import eventq
from eventq.audit import state_at, story, why
from eventq.core.task import instant
from eventq.replay.points import find_point
from eventq.web.access import Person
from eventq.web.api import api_path
from eventq.web.exporting import EXPORTS, FORMATS
from eventq.web.pages.new_task import arguments_of
from eventq.web.routes import PAGES
from tests.web.desk import SECRET, Desk, MakeDesk

PATIENT_S = 60.0
# Each page, with what it is asked here.
PATHS = (
    "/",
    "/tasks/img%2F1",
    "/tasks/img%2F1/why",
    "/tasks/behind",
    "/flows",
    "/flows/doc:1",
    "/schedules",
    "/limits",
    "/compare",
    "/compare?a=3&b=end",
    "/compare?task=img%2F1&other=img%2F0",
    "/integrity",
    "/new",
    "/new?name=docs.ocr",
    "/help",
    "/start",
)
NASTY = (
    "<script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "'; DROP TABLE events; --",
    "\u202egnp.exe\u2066",
    "\x1b]0;owned\x07\x1b[31m",
    "{{ 7 * 7 }}",
    "javascript:alert(1)",
    "</textarea><img src=x onerror=alert(1)>",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_is_there_and_appends_nothing(full: Desk, path: str) -> None:
    """Now, and as it was at a position; a GET never writes."""
    before = full.queue.log.head()
    status = 303 if path == "/start" else 200
    full.get(path, status)
    sign = "&" if "?" in path else "?"
    if "compare?a" not in path and path != "/start":
        full.get(f"{path}{sign}at={before.seq}")

    assert full.queue.log.head() == before


@pytest.mark.parametrize("path", PATHS)
def test_an_empty_queue_has_pages_too(desk: Desk, path: str) -> None:
    """They say that there is nothing, and what to do."""
    answer = desk.client.get(path)

    assert answer.status_code in {200, 303, 400, 404}
    if path == "/":
        assert "eventq new" in answer.text


def test_now_counts_as_the_state_does(full: Desk) -> None:
    """At every position, the page has the counts that `eventq state --at` gives."""
    log = full.queue.log
    for seq in range(log.head().seq + 1):
        point = find_point(log, seq, now=log.head().at)
        page = full.json(f"/now?at={seq}")

        assert page["counts"] == state_at(log, point).counts, seq
        assert page["seq"] == seq


def test_live_counts_are_those_of_the_queue(full: Desk) -> None:
    """The page of the present asks the queue."""
    stats = full.queue.stats()
    found = full.json("/now")["counts"]

    assert found == {name: getattr(stats, name) for name in found}
    assert f'data-count="expired">{stats.expired}<' in full.get("/")


def test_a_task_tells_its_story(full: Desk) -> None:
    """Words, attempts and values are those that history and why tell."""
    log = full.queue.log
    page = full.json("/tasks/img%2F1")

    assert [step["words"] for step in page["steps"]] == [s.reason for s in story(log, "img/1")]
    assert page["attempts"][0]["error"]["type"] == "ConnectionError"
    assert page["row"]["tags"] == {"n": 1, "token": SECRET}
    point = find_point(log, log.head().seq, now=0)
    told = full.json(f"/tasks/img%2F1/why?at={log.head().seq}")
    assert told["verdict"] == why(log, "img/1", point).verdict
    assert "eventq why --url" in page["commands"][0]


def test_a_task_that_waits_names_its_neighbours(full: Desk) -> None:
    """In both directions, each a link."""
    [before] = full.json("/tasks/behind")["waits"]
    [after] = full.json(f"/tasks/{before['key']}")["awaited_by"]

    assert after["key"] == "behind"
    assert f"waits for task {before['key']}" in full.get("/tasks/behind")


def test_a_task_is_shown_as_it_was(full: Desk) -> None:
    """Before its first attempt it was ready, and after its end it is final."""
    number = full.queue.history("img/1")[0].seq

    assert full.json(f"/tasks/img%2F1?at={number}")["row"]["state"] == "ready"
    assert full.json("/tasks/img%2F1")["row"]["state"] == "expired"
    full.get(f"/tasks/img%2F1?at={number - 1}", 404)


def test_nothing_can_be_done_in_the_past(full: Desk) -> None:
    """The page offers no act, but leads to today's."""
    head = full.queue.log.head().seq
    page = full.get(f"/tasks/img%2F1?at={head}")

    assert 'method="post" action="/tasks' not in page
    assert "Act now" in page


def test_a_wait_begins_where_a_lease_was_given_back(desk: Desk, queue: eventq.Queue) -> None:
    """Of compared attempts: as in the story, not from when the task was first to run."""
    queue.new({"n": 1}, key="slow")
    begun, goes_on = threading.Event(), threading.Event()

    def stops(ctx: eventq.Context, _task: eventq.Task) -> None:
        begun.set()
        goes_on.wait(PATIENT_S)
        ctx.sleep("1h")

    run = threading.Thread(target=lambda: queue.run(stops, signals=False))
    run.start()
    begun.wait(PATIENT_S)
    queue.stop()
    queue.stop()
    goes_on.set()
    run.join(PATIENT_S)
    queue.run(lambda _ctx, _task: None, until="idle", signals=False)
    kinds = [event.kind for event in queue.history("slow")]
    waits = [
        side["facts"]["waited"]
        for side in desk.json("/compare?task=slow")["attempts"].values()
        if isinstance(side, dict)
    ]
    told = [
        re.search("waited ([^ ]+) after", step["words"])
        for step in desk.json("/tasks/slow")["steps"]
        if step["kind"] == "leased"
    ]

    assert kinds == ["created", "leased", "released", "leased", "completed"]
    assert waits == ["0s" if each is None else each[1] for each in reversed(told)]


def test_a_flow_has_a_critical_path(full: Desk) -> None:
    """The graph and the table hold all its tasks, and the longest way is told."""
    page = full.json("/flows/doc:1")

    assert [step["task"]["state"] for step in page["steps"]] == ["completed", "completed"]
    assert all(step["is_critical"] for step in page["steps"])
    assert page["critical_us"] == sum(step["took_us"] for step in page["steps"])
    assert full.get("/flows/doc:1").count("<rect") == 2
    assert "No flow has the key" in full.get("/flows/img%2F1", 404)
    assert "No flow has the key" in full.get("/flows/1", 404)
    full.get("/flows/nobody", 404)


def test_an_instant_becomes_a_position(full: Desk) -> None:
    """The address that one sends to others has a position, whatever was typed."""
    log = full.queue.log
    moved = full.client.get("/limits?at=-3")
    at = log.read(after=4, limit=1)[0].at
    by_instant = full.client.get(
        "/go", params={"to": instant(at).isoformat(), "back": "/flows?at=3"}
    )

    assert moved.headers["location"] == f"/limits?at={log.head().seq - 3}"
    assert by_instant.headers["location"].startswith("/flows?at=")
    assert full.client.get("/go?to=&back=//evil.example").headers["location"] == "/"


@pytest.mark.parametrize("word", ["-99999d", "2000-01-01T00:00:00Z", "999999", "yesterday", "2e5"])
def test_a_moment_that_there_is_not_is_refused(full: Desk, word: str) -> None:
    """Before the first event, behind the last, or no moment at all."""
    assert "expected" in full.get(f"/?at={word}", 400)
    assert full.json(f"/now?at={word}", 400)["status"] == 400


def test_what_users_wrote_is_escaped(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """In keys, names, tags, errors and reasons, on every page; nothing is taken for HTML."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        raise ValueError(task.tags["text"])

    for number, text in enumerate(NASTY):
        key = "".join(c for c in f"{number}{text}" if c.isprintable())
        queue.new({"text": text, "deep": [{"text": text}]}, key=key, max_retries=0)
    queue.run(work, until="idle", signals=False)
    queue.new({}, key="last")
    queue.cancel("last", reason=" ".join(NASTY), by="eve <b>")
    desk = make_desk()
    desk.person = Person("<i>mallory</i>")
    keys = [task.key for task in queue.tasks(state="expired")]
    paths = ["/", "/tasks/last", *(f"/tasks/{quote(key, safe='')}" for key in keys)]
    pages = [desk.get(path) for path in paths]

    assert len(keys) == len(NASTY)
    for page in pages:
        for bad in (
            "<script>alert",
            "<svg onload",
            "<img src=x",
            "\u202e",
            "\u2066",
            "\x1b",
            "\x07",
        ):
            assert bad not in page
        assert "<i>mallory" not in page
    assert any("{{ 7 * 7 }}" in page for page in pages)


def test_secret_tags_are_shown_nowhere(make_desk: MakeDesk, full: Desk) -> None:
    """Neither where they stand nor in the error that repeats them."""
    desk = make_desk(redact=["token"])
    last = full.queue.log.head().seq
    paths = ["/", "/tasks/img%2F1", "/tasks/img%2F1/why", "/compare?task=img%2F1&other=img%2F3"]
    texts = [desk.get(path) for path in paths]
    texts += [desk.get(path) for path in (f"/compare?a=4&b={last}", "/api/tasks/img%2F1")]

    assert SECRET in full.get("/tasks/img%2F1")
    assert all(SECRET not in text for text in texts)
    assert "refused (hidden)" in texts[1]


def test_json_holds_no_raw_character_that_a_terminal_takes_for_a_command(full: Desk) -> None:
    """Whoever asks for it with curl sees the text escaped, and a program reads the same."""
    key = full.queue.new({"a": "\x9b31m\x7f\u202e\U0001f600é"}).key
    paths = ("/api/tasks?state=ready", f"/api/tasks/{key}", "/export/tasks.jsonl?state=ready")
    texts = [full.get(path) for path in paths]

    assert all(text.replace("\n", "").isprintable() for text in texts)
    assert all("\\u009b31m\\u007f\\u202e\U0001f600é" in text for text in texts)


def test_the_api_is_described(full: Desk) -> None:
    """Each page's JSON stands in the description, with what it can be asked; so do the files."""
    found = full.json("/openapi.json")
    files = {path for path in found["paths"] if path.startswith("/export/")}

    assert found["paths"].keys() - files == {api_path(page) for page in PAGES}
    assert files == {f"/export/{what}.{form}" for what in EXPORTS for form in FORMATS}
    asked = found["paths"]["/export/tasks.csv"]["get"]["parameters"]
    assert {name: asked[0][name] for name in ("name", "in", "required")} == {
        "name": "state",
        "in": "query",
        "required": False,
    }
    assert found["openapi"] == "3.1.0"
    names = {p["name"] for p in found["paths"]["/api/tasks/{key}"]["get"]["parameters"]}
    assert names == {"key", "at"}
    assert "TaskModel" in found["components"]["schemas"]


def test_the_form_of_a_new_task_is_made_of_the_signature() -> None:
    """Text is typed as it is, all else as JSON; what has a default may be left out."""
    found = arguments_of("(path: str, *, dpi: int = 300)")
    assert found is not None
    path, dpi = found

    assert (path.name, path.is_text, path.default) == ("path", True, None)
    assert (dpi.name, dpi.is_text, dpi.default) == ("dpi", False, "300")
    assert arguments_of("(x: <broken>)") is None
    assert arguments_of("(): pass\nimport os\ndef g()") is None


def test_files_of_the_console_are_few_and_light(full: Desk) -> None:
    """The first load takes 120 kB at most; the next one asks only whether they have changed."""
    page = full.client.get("/")
    files = [
        full.client.get(f"/static/{name}") for name in ("console.css", "console.js", "icon.svg")
    ]
    again = full.client.get(
        "/static/console.js", headers={"if-none-match": files[1].headers["etag"]}
    )

    assert sum(len(answer.content) for answer in (page, *files)) < 120_000
    assert again.status_code == 304


def test_a_moment_keeps_what_is_asked(full: Desk) -> None:
    """Whatever stands in a filter comes out of the way to a position as it went in."""
    asked = "text=a%26b%3Dc+%25&state=ready"
    typed = full.client.get(f"/tasks?{asked}&at=end").headers["location"]
    chosen = full.client.get("/go", params={"to": "3", "back": f"/tasks?{asked}&at=9"})
    elsewhere = full.client.get("/go", params={"to": "3", "back": "//evil.example/"})

    assert parse_qsl(typed.partition("?")[2])[:2] == [("text", "a&b=c %"), ("state", "ready")]
    assert chosen.headers["location"] == f"/tasks?{asked}&at=3"
    assert elsewhere.headers["location"] == "/?at=3"


def test_a_final_task_has_no_next_wait(full: Desk) -> None:
    """It is not retried, whatever its policy was."""
    found = [dict(full.json(f"/tasks/{key}")["facts"]) for key in ("img%2F1", "behind")]

    assert "backoff" not in found[0]
    assert found[1]["backoff"].startswith("linear: next ")
