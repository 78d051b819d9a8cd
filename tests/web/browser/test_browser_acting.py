"""Acting in a real browser: find, see first, change many, take back; two at once; looking alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import eventq
from eventq.catalog.catalog import Catalog
from eventq.web.access import Person, Right
from eventq.web.console import Options
from eventq.web.routes import ACTS
from eventq.web.serve import Address, ConsoleServer
from tests.web.browser.conftest import PATIENT_S, Visit

NASTY = (
    "<script>alert(1)</script>",
    "\"'><img src=//evil.example onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "\u202eevil\u2066\x1b[31m",
    "</td></table><iframe src=//evil.example>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% include 'x' %}",
)
POST = """async ([path, key]) => {
    const form = new URLSearchParams({ form_key: key, lane: "x", reason: "why", name: "a" });
    return (await fetch(path, { method: "POST", body: form, redirect: "manual" })).status;
}"""


def in_thread(call: object) -> None:
    """Calls it elsewhere: the browser has an event loop in this thread."""
    assert callable(call)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENT_S)


@pytest.fixture(autouse=True)
def catalog(served: ConsoleServer, queue: eventq.Queue) -> None:
    """The queue has a catalog."""
    assert served.port
    catalog = Catalog.open(queue.log)
    catalog.catch_up()
    catalog.close()


@pytest.fixture
def looking(browser: Browser, queue: eventq.Queue, tmp_path: Path) -> Iterator[Visit]:
    """Somebody who may look, and save filters of their own."""
    person = Person("eve", frozenset({Right.VIEW}))
    server = ConsoleServer(queue, person, Options(cache=tmp_path / "cache"), Address(port=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    visit = Visit(browser.new_page(), server)
    visit.come_in()
    yield visit
    server.stop()
    thread.join(PATIENT_S)


def preview(page: Page, what: str) -> None:
    """Opens an act on all that fit, and asks for its preview."""
    page.locator("summary", has_text=what).click()
    page.locator("details[open] button", has_text="Preview").click()


def test_a_failing_task_is_found_by_its_error_retried_and_that_undone(
    visit: Visit, queue: eventq.Queue
) -> None:
    """From the error to its tasks, why, a retry with a reason, and back in one click."""
    page = visit.page
    page.keyboard.press("g")
    page.keyboard.press("e")
    expect(page.locator("h1")).to_have_text("Errors")
    page.click("main td a:text('ConnectionError')")
    expect(page.locator("h1")).to_have_text("Tasks")
    expect(page.locator("main [data-row]")).to_have_count(2)
    page.click("main [data-row]:text('img/1')")
    page.click("text=Why did it run when it did?")
    expect(page.locator(".verdict")).to_contain_text("expired")
    page.click("text=To the task")
    page.click("summary:text('Retry')")
    page.fill("#retry-reason", "DNS is back")
    page.click("text=Retry this task")
    expect(page.locator(".told")).to_contain_text("is ready again")
    page.click(".told button")
    expect(page.locator(".told")).to_contain_text("is taken back")
    expect(page.locator("h1")).to_contain_text("expired")
    visit.go("/changes")
    expect(page.locator("tbody tr").first).to_contain_text("undo 1 task")
    task = queue.get("img/1")

    assert task is not None
    assert task.state == "expired"


def test_many_are_retried_while_tasks_move_on(visit: Visit, queue: eventq.Queue) -> None:
    """What the preview showed is what is changed, but for what has moved on since."""
    page = visit.page
    visit.go("/tasks?state=expired")
    preview(page, "Retry all that fit")
    expect(page.locator("h1")).to_have_text("Retry 2 tasks")
    queue.retry("img/3")
    queue.cancel("img/3", by="bob")
    queue.new({"n": 1}, key="later", max_retries=0)
    page.fill("#reason", "DNS is back")
    page.click("main form button:text('Retry 2 tasks')")
    expect(page.locator(".good")).to_contain_text("1 changed; 1 had moved on")
    page.click("main section >> text=img/1")
    expect(page.locator("h1")).to_contain_text("ready")
    visit.go("/changes")
    page.locator("tr", has_text="retry 2 tasks").locator("button", has_text="Undo").click()
    expect(page.locator(".told")).to_contain_text("is taken back")
    states = {key: task.state for key in ("img/1", "img/3") if (task := queue.get(key))}

    assert states == {"img/1": "expired", "img/3": "cancelled"}


def test_two_people_change_many_at_once(
    visit: Visit, browser: Browser, served: ConsoleServer
) -> None:
    """Both see the same plan; who comes second is told that all had moved on."""
    other = Visit(browser.new_page(), served)
    other.come_in()
    for each in (visit, other):
        each.go("/tasks?error=ConnectionError")
        preview(each.page, "Retry all that fit")
    visit.page.click("main form button:text('Retry 2 tasks')")
    expect(visit.page.locator(".good")).to_contain_text("2 changed")
    other.page.click("main form button:text('Retry 2 tasks')")
    expect(other.page.locator(".good")).to_contain_text("0 changed; 2 had moved on")

    assert other.problems == []


def test_who_may_only_look_changes_nothing_by_any_post(looking: Visit, queue: eventq.Queue) -> None:
    """Each is tried with a form that is this browser's own."""
    page = looking.page
    key = page.locator("input[name=form_key]").first.get_attribute("value")
    before = queue.log.head()
    found = {}
    for act in ACTS:
        path = act.path.format(key="img%2F1", name="check_mail")
        found[act.path] = page.evaluate(POST, [path, key])
    own = {act.path for act in ACTS if act.right is Right.VIEW}
    refused = {path for path, status in found.items() if status == 403}

    assert own == {"/filters/save", "/filters/drop"}
    assert refused == found.keys() - own
    assert queue.log.head() == before
    looking.go("/tasks?state=expired")
    assert page.locator("main button", has_text="Preview").count() == 0


def test_hostile_values_stay_text_on_pages_of_many(visit: Visit, queue: eventq.Queue) -> None:
    """In keys, tags, errors, reasons, names of people and of filters."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        raise ValueError(task.tags["text"])

    for number, text in enumerate(NASTY):
        name = text if text.isprintable() else "x"
        queue.new({"text": text, "n": number}, key=f"bad/{number}/{name}", max_retries=0)
        queue.new({"n": 1}, key=f"off/{number}")
        queue.cancel(f"off/{number}", by=text, reason=text)
    in_thread(partial(queue.run, work, until="idle", signals=False))
    page = visit.page
    visit.go("/tasks?error=ValueError&columns=state,error,place,tags,by")
    page.click("summary:text('Save this filter')")
    page.fill("#s-name", NASTY[1])
    page.click("text=Save the filter")
    expect(page.locator(".presets")).to_contain_text("<img src=")
    preview(page, "Retry all that fit")
    expect(page.locator("h1")).to_contain_text("Retry 7 tasks")
    page.fill("#reason", " ".join(NASTY[:3]))
    page.locator("main form button", has_text="Retry 7").click()
    expect(page.locator(".good")).to_contain_text("7 changed")
    for path in ("/errors", "/changes", "/tasks?by=%3Csvg*", "/tasks?tags=text=%3Csvg"):
        visit.go(path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert "alert" in page.inner_text("main") or path == "/errors"

    assert page.locator("iframe, main img, main script, main svg").count() == 0


def test_many_are_changed_without_a_script(
    browser: Browser, served: ConsoleServer, queue: eventq.Queue
) -> None:
    """Filter, preview, apply and undo are forms and links."""
    context = browser.new_context(java_script_enabled=False)
    visit = Visit(context.new_page(), served)
    where, _, code = served.start_url().partition("#")
    page = visit.page
    page.goto(where)
    page.fill("#code", code)
    page.click("main button")
    page.click("nav >> text=Tasks")
    page.check("main input[value=expired]")
    page.click("#filter button")
    assert page.url.endswith("/tasks?state=expired")
    preview(page, "Retry all that fit")
    page.click("main form button:text('Retry 2 tasks')")
    expect(page.locator(".good")).to_contain_text("2 changed")
    page.locator("main button", has_text="Undo…").click()
    expect(page.locator("h1")).to_have_text("Take back the change of 2 tasks")
    page.click("main form button:text('Take back 2 tasks')")
    expect(page.locator(".good")).to_contain_text("2 changed")
    task = queue.get("img/1")

    assert task is not None
    assert task.state == "expired"
    assert visit.problems == []
