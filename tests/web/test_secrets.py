"""Values of redacted tags leave the console by no way: pages, JSON, files, filters, acts, log."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from html import unescape
from http import HTTPStatus
from urllib.parse import quote, quote_plus, urlencode

import pytest

import eventq
from eventq.catalog.catalog import Catalog
from eventq.core.task import TaskState
from eventq.web.access import Right
from eventq.web.pages.tasks import COLUMNS, ORDERS
from eventq.web.routes import PAGES
from tests.web.desk import Desk, MakeDesk

CANARY = "c4n4ry+<ada>@example.org"
OLD = "0ld-canary"
FORMS = {CANARY, OLD, quote(CANARY), quote(CANARY, safe=""), quote_plus(CANARY)}
FORMS |= {CANARY.replace("<", "&lt;").replace(">", "&gt;"), "c4n4ry"}
LINK = re.compile(r'href="(/[^"#]*)"')
LEAST_PAGES = 300
PATIENT_S = 60.0


def leak(queue: eventq.Queue) -> None:
    """A secret wherever users can put one beside its tag, in tasks of all kinds."""
    queue.limit("smtp", running=1, per="email")
    queue.limit("host", running=1)
    queue.fair(per="email", weights={CANARY: 3})

    def work(ctx: eventq.Context, task: eventq.Task) -> object:
        ctx.log.info("to %s", task.tags["email"])
        ctx.progress(1, 2, f"writes to {task.tags['email']}")
        ctx.save({"to": task.tags["email"]})
        if task.tags.get("fails"):
            raise ConnectionError(f"{task.tags['email']} is not there")
        return {"sent": [task.tags["email"]]}

    secret = {"email": CANARY, "copy": f"cc {CANARY}", "deep": {"to": [CANARY]}}
    queue.new(secret, key=f"sent/{CANARY}", limits=["smtp"])
    queue.new({**secret, "fails": 1}, key=f"failed/{CANARY}", max_retries=0)
    queue.new({"email": OLD}, key=f"moved/{OLD}", delay="1h")
    queue.update(f"moved/{OLD}", tags={"email": CANARY}, by="ada", reason=f"not {OLD}, {CANARY}")
    with queue.flow(f"flow/{CANARY}") as flow:
        first = flow.new(secret, key=f"first/{CANARY}")
        flow.new(secret, after=[first])
    queue.run(work, until="idle", signals=False)
    queue.new(secret, name="nobody", key=f"held/{CANARY}", limits={"host": CANARY}, unique=CANARY)
    queue.new(secret, name="nobody", key=f"next/{CANARY}", limits={"host": CANARY})
    queue.new({"n": 1}, name="nobody", key="behind", after=[f"held/{CANARY}"])
    queue.new({"email": CANARY}, name="paused", key=f"paused/{CANARY}", share=CANARY)
    queue.new(secret, delay="2h", key=f"off/{CANARY}")
    queue.cancel(f"off/{CANARY}", by="ada", reason=f"{CANARY} has asked for it")
    queue.pause(name="paused", tags={"email": CANARY}, by="ada", reason=f"{CANARY} bounces")
    queue.pause(limit="host", value=CANARY, by="ada")
    queue.select(tags={"email": CANARY}, state="expired").retry().apply(by="ada", reason="bulk")


@pytest.fixture
def leaky(make_desk: MakeDesk, queue: eventq.Queue) -> Iterator[Desk]:
    """A console that is to hide the tag, over such a queue; one of its tasks runs."""
    leak(queue)
    with closing(Catalog.open(queue.log)) as catalog:
        catalog.catch_up()
    begun, goes_on = threading.Event(), threading.Event()

    def stay(ctx: eventq.Context, task: eventq.Task) -> None:
        ctx.progress(1, 3, f"stays with {task.tags['email']}")
        begun.set()
        goes_on.wait(PATIENT_S)

    queue.resume(limit="host", value=CANARY)
    run = threading.Thread(target=lambda: queue.run(stay, names=["nobody"], signals=False))
    run.start()
    begun.wait(PATIENT_S)
    yield make_desk(redact=["email"])
    goes_on.set()
    queue.stop()
    run.join(PATIENT_S)


def numbers_of(desk: Desk) -> list[int]:
    """All tasks of the queue."""
    return [event.seq for event in desk.queue.events() if event.kind == "created"]


def asked_of(desk: Desk) -> list[str]:
    """Every page and file, each task and flow by its number, and lists in every order."""
    last = desk.queue.log.head().seq
    numbers = numbers_of(desk)
    paths = [page.path for page in PAGES if "{" not in page.path]
    paths += [f"/tasks/{n}{end}" for n in numbers for end in ("", "/why")]
    paths += [f"/flows/{n}" for n in numbers]
    paths += [f"/tasks?order={order}&columns={','.join(COLUMNS)}" for order in ORDERS]
    paths += [f"/tasks?state={state}&limit=500" for state in sorted(map(str, TaskState))]
    paths += [f"/compare?a={n}&b={last}" for n in range(1, last, 5)]
    paths += [f"/compare?task={one}&other={two}" for one in numbers for two in numbers[:2]]
    paths += [f"/changes?parts=true&task={n}" for n in numbers]
    return paths


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the console has logged, with all fields."""
    found = [str(vars(each)) for each in caplog.records if each.name == "eventq.web"]
    assert found
    return found


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
    """A filter, a file, a plan and a saved filter by one are refused: each would be an oracle."""
    text = urlencode(query)

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
@pytest.mark.parametrize("redact", [["email"], []])
def test_no_act_tells_whether_a_guess_is_right(
    make_desk: MakeDesk, queue: eventq.Queue, redact: list[str], act: tuple[str, str, str]
) -> None:
    """Edits, pauses and their ends by what is hidden are refused, be it secret or all values."""
    path, field, text = act
    queue.new({"email": "right"}, name="nobody", key="behind")
    desk = make_desk(redact=redact)
    if not redact:
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
