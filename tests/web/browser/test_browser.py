"""The console in a real browser: what happens live, the slider, keys, and who cannot see well."""

from __future__ import annotations

import re
import threading
from functools import partial
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, expect

import eventq
from eventq.audit import state_at
from eventq.catalog.catalog import Catalog
from eventq.replay.points import find_point
from eventq.web.access import Person
from eventq.web.console import Options
from eventq.web.serve import Address, ConsoleServer
from tests.web.browser.conftest import PATIENT_S, Visit

PATHS = (
    "/",
    "/tasks/img%2F1",
    "/tasks/img%2F1/why",
    "/flows/doc:1",
    "/flows",
    "/schedules",
    "/limits",
    "/compare?a=3&b=end",
    "/integrity",
    "/charts",
    "/what-if",
    "/new",
    "/help",
    "/?at=9",
)
OF_MANY = (
    "/tasks",
    "/tasks?state=expired&lapsed=no&count=true",
    "/tasks?name=none",
    "/errors",
    "/changes",
    "/changes?at=30",
)
NASTY = (
    "<script>alert(1)</script>",
    "<img src=//evil.example onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "\u202eevil\u2066",
    "</pre></td><iframe src=//evil.example>",
)


def test_a_failing_task_is_found_read_retried_and_called_off(
    visit: Visit, queue: eventq.Queue
) -> None:
    """By hand, as its user would: search, why, retry, and back."""
    page = visit.page
    page.keyboard.press("/")
    page.keyboard.type("img/1")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Task img/1")
    page.click("text=Why did it run when it did?")
    expect(page.locator(".verdict")).to_contain_text("expired")
    page.click("text=To the task")
    page.click("summary:text('Retry')")
    page.click("text=Retry this task")
    expect(page.locator(".told")).to_contain_text("is ready again")
    page.click("summary:text('Cancel')")
    page.click("text=Cancel this task")
    expect(page.locator(".told")).to_contain_text("is cancelled")
    task = queue.get("img/1")

    assert task is not None
    assert task.state == "cancelled"


def test_the_slider_shows_what_was(visit: Visit, queue: eventq.Queue) -> None:
    """The counts at a past position are those of the state there; the address keeps it."""
    page = visit.page
    page.locator("#slider").fill("9")
    expect(page.locator("body")).to_have_attribute("data-at", "9")
    log = queue.log
    wanted = state_at(log, find_point(log, 9, now=log.head().at)).counts
    found = {name: page.inner_text(f"[data-count={name}]") for name in wanted}

    assert found == {name: str(count) for name, count in wanted.items()}
    assert page.url.endswith("?at=9")
    page.keyboard.press("]")
    expect(page.locator("body")).to_have_attribute("data-at", "10")
    page.keyboard.press("[")
    expect(page.locator("body")).to_have_attribute("data-at", "9")
    page.click("text=Live again")
    expect(page.locator("body")).not_to_have_attribute("data-at", re.compile(""))
    expect(page.locator("#pulse")).to_have_text("Live")


def test_what_happens_is_seen_at_once(visit: Visit, queue: eventq.Queue) -> None:
    """Counts and lists follow; a page that is held does not."""
    page = visit.page
    expect(page.locator("#pulse")).to_have_text("Live")
    before = queue.stats().ready
    queue.new({"n": 99}, priority=99, key="fresh")
    expect(page.locator("[data-count=ready]")).to_have_text(str(before + 1))
    expect(page.locator("main [data-row]").first).to_have_text("fresh")
    page.click("#hold")
    queue.new({"n": 100})
    queue.new({"n": 101})
    held = page.inner_text("[data-count=ready]")
    page.click("#hold")

    assert held == str(before + 1)
    expect(page.locator("[data-count=ready]")).to_have_text(str(before + 3))


def test_two_people_see_what_the_other_does(
    visit: Visit, browser: Browser, served: ConsoleServer
) -> None:
    """One pauses a lane, the other one's page has it."""
    other = Visit(browser.new_page(), served)
    other.come_in()
    other.go("/limits")
    visit.go("/limits")
    expect(other.page.locator("#pulse")).to_have_text("Live")
    page = visit.page
    page.locator("summary", has_text="Pause").click()
    page.fill("#p-lane", "heavy")
    page.fill("#p-reason", "hot")
    page.locator("form", has_text="No task that fits").locator("button").click()

    expect(page.locator(".told")).to_contain_text("Paused: lane heavy")
    expect(other.page.locator("td", has_text="lane heavy").first).to_be_visible()
    assert other.problems == []


def test_it_connects_again_when_the_server_comes_back(
    visit: Visit, queue: eventq.Queue, served: ConsoleServer, tmp_path: Path
) -> None:
    """A page that was left open says that it is cut off, and then goes on by itself."""
    page = visit.page
    expect(page.locator("#pulse")).to_have_text("Live")
    served.stop()
    expect(page.locator("#pulse")).to_have_text("Not connected")
    # Its port is free once it has ended.
    for ending in [each for each in threading.enumerate() if each.name == "console"]:
        ending.join(PATIENT_S)
    address, options = Address(port=served.port), Options(cache=tmp_path / "cache")
    again = ConsoleServer(queue, Person("ada@here"), options, address, sessions=served.sessions)
    thread = threading.Thread(target=again.run)
    thread.start()
    queue.new({"n": 5}, key="later", priority=99)
    expect(page.locator("#pulse")).to_have_text("Live", timeout=20_000)
    expect(page.locator("main [data-row]").first).to_have_text("later")
    again.stop()
    thread.join()

    # What the browser itself says of a server that is gone.
    assert all("ERR_" in problem for problem in visit.problems)
    visit.problems.clear()


def test_a_page_left_open_over_a_restart_leads_to_the_door(
    visit: Visit, queue: eventq.Queue, served: ConsoleServer, tmp_path: Path
) -> None:
    """The new server knows no sessions; its start address works in the same tab."""
    page = visit.page
    expect(page.locator("#pulse")).to_have_text("Live")
    served.stop()
    for ending in [each for each in threading.enumerate() if each.name == "console"]:
        ending.join(PATIENT_S)
    address, options = Address(port=served.port), Options(cache=tmp_path / "cache")
    again = ConsoleServer(queue, Person("ada@here"), options, address)
    thread = threading.Thread(target=again.run)
    thread.start()
    page.wait_for_url("**/start", timeout=30_000)
    page.goto(again.start_url())
    page.wait_for_url(f"{visit.base}/")
    expect(page.locator("#pulse")).to_have_text("Live")
    again.stop()
    thread.join()

    # What the browser itself says of a server that is gone, and of the status 401.
    assert all("ERR_" in problem or "401" in problem for problem in visit.problems)
    visit.problems.clear()


def test_what_happens_leaves_the_focus_where_it_is(visit: Visit, queue: eventq.Queue) -> None:
    """On a row, which may have moved, and on a link; keys go on from the chosen row."""
    page, rows = visit.page, visit.page.locator("main [data-row]")
    page.keyboard.press("j")
    key = rows.first.inner_text()
    queue.new({"n": 5}, key="first", priority=99)
    expect(rows.first).to_have_text("first", timeout=20_000)
    focused = page.locator(":focus").inner_text(), page.locator("tr.chosen [data-row]").inner_text()
    page.locator("nav a").nth(2).focus()
    link = page.locator(":focus").inner_text()
    queue.new({"n": 6}, key="second", priority=100)
    expect(rows.first).to_have_text("second", timeout=20_000)

    assert focused == (key, key)
    assert page.locator(":focus").inner_text() == link


def test_verifying_is_seen_to_its_end(visit: Visit) -> None:
    """The page asks again by itself, though nothing happens in the log."""
    visit.go("/integrity")
    page = visit.page
    page.click("text=Verify the whole log")
    expect(page.locator(".good")).to_contain_text("Nothing is wrong")

    assert page.locator("[data-runs]").count() == 0


def test_hostile_values_stay_text(visit: Visit, queue: eventq.Queue) -> None:
    """No dialog, no request to elsewhere, no report of the policy: the fixture looks at all."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        raise ValueError(task.tags["text"])

    for number, text in enumerate(NASTY):
        queue.new({"text": text}, key=f"bad/{number}", max_retries=0)
    queue.pause(name="x", reason=" ".join(NASTY), by="<b>eve</b>")
    run = partial(queue.run, work, until="idle", signals=False)
    # Not here: the browser has an event loop in this thread.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    for path in ("/", "/limits", *(f"/tasks/bad%2F{number}" for number in range(len(NASTY)))):
        visit.go(path)
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert visit.page.locator("iframe, main img, main script").count() == 0


@pytest.mark.parametrize("paths", [PATHS, OF_MANY], ids=["of one", "of many"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_for_everybody(
    browser: Browser, served: ConsoleServer, queue: eventq.Queue, theme: str, paths: tuple[str, ...]
) -> None:
    """Axe finds nothing serious; at 360 px nothing is cut off but what scrolls by itself."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": 360, "height": 800},
        bypass_csp=True,
    )
    visit = Visit(context.new_page(), served)
    visit.come_in()
    catalog = Catalog.open(queue.log)
    catalog.catch_up()
    catalog.close()
    found = {}
    for path in paths:
        visit.go(path)
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        results = Axe().run(visit.page, options={"resultTypes": ["violations"]})
        serious = [
            (each["id"], [node["html"][:120] for node in each["nodes"][:3]])
            for each in results.response["violations"]
            if each["impact"] in {"serious", "critical"}
        ]
        over = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if serious or over > 0:
            found[path] = serious, over

    assert found == {}
    assert visit.problems == []


def test_it_works_without_a_script(browser: Browser, served: ConsoleServer) -> None:
    """The code is pasted, and moments are typed."""
    context = browser.new_context(java_script_enabled=False)
    visit = Visit(context.new_page(), served)
    where, _, code = served.start_url().partition("#")
    page = visit.page
    page.goto(where)
    page.fill("#code", code)
    page.click("main button")
    page.fill("#to", "9")
    page.click(".go button")

    assert page.url.endswith("?at=9")
    assert "as it was at 9" in visit.heading
    page.click("text=Live again")
    assert page.url == f"{visit.base}/"
    assert visit.problems == []


def test_pages_that_watch_take_one_thread(
    visit: Visit, browser: Browser, served: ConsoleServer
) -> None:
    """However many there are."""
    others = [Visit(browser.new_page(), served) for _ in range(3)]
    for other in others:
        other.come_in()
        expect(other.page.locator("#pulse")).to_have_text("Live")
    threads = [t for t in threading.enumerate() if t.name == "eventq-console-pulse"]

    assert len(threads) == 1
    assert visit.heading == "Now"


def test_keys_lead_everywhere(visit: Visit) -> None:
    """To each page, along a list, back to the present; where somebody types, they are letters."""
    page = visit.page
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("tr.chosen [data-row]")).to_be_focused()
    letters = page.locator("nav a[data-key]").evaluate_all(
        "links => links.map(link => [link.dataset.key, link.textContent])"
    )
    assert len({key for key, _ in letters}) == len(letters)
    for key, title in letters:
        page.keyboard.press("g")
        with page.expect_navigation():
            page.keyboard.press(key)
        expect(page.locator("h1")).to_contain_text(title)
    page.keyboard.press("?")
    expect(page.locator("h1")).to_have_text("Help")
    visit.go("/?at=9")
    page.keyboard.press("l")
    expect(page.locator("#pulse")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("gl?[")

    assert page.input_value("#search") == "gl?["
    assert page.url == f"{visit.base}/"


def test_keys_are_switched_off(visit: Visit) -> None:
    """For this browser, until they are switched on again."""
    page = visit.page
    visit.go("/help")
    page.uncheck("#keys")
    visit.go("/tasks")
    for key in ("/", "g", "n", "[", "?"):
        page.keyboard.press(key)
    focused = page.locator("#search:focus").count()
    where, heading = page.url, visit.heading
    visit.go("/help")
    was_checked = page.is_checked("#keys")
    page.check("#keys")
    page.keyboard.press("g")
    with page.expect_navigation():
        page.keyboard.press("n")

    assert (where, heading) == (f"{visit.base}/tasks", "Tasks")
    assert (focused, was_checked) == (0, False)
    expect(page.locator("h1")).to_have_text("Now")


def test_twice_as_large_everything_is_there(browser: Browser, served: ConsoleServer) -> None:
    """At 200 % of a window of 1,280 pixels nothing is cut off but what scrolls by itself."""
    context = browser.new_context(
        viewport={"width": 640, "height": 400}, device_scale_factor=2, bypass_csp=True
    )
    visit = Visit(context.new_page(), served)
    visit.come_in()
    over = {}
    for path in PATHS:
        visit.go(path)
        wide = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            over[path] = wide

    assert over == {}
    assert visit.problems == []


def test_charts_come_to_the_page_now(visit: Visit) -> None:
    """Beside the page, and they stay while it is shown anew; each bar says what it is."""
    page = visit.page
    expect(page.locator(".loads .chart").first).to_be_visible()
    page.evaluate("document.querySelector('.loads .chart').dataset.kept = 'yes'")
    visit.server.queue.new({"n": 7}, key="news", priority=99)
    expect(page.locator("main [data-row]").first).to_have_text("news")

    assert page.locator(".loads .chart").first.get_attribute("data-kept") == "yes"
    assert "created" in page.locator(".loads .chart g title").first.inner_html()
