"""Moments in a real browser: times and their zones, the slider, an archive, hostile values."""

from __future__ import annotations

import threading
from datetime import datetime
from itertools import islice, product
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Route, expect

import eventq
from eventq.archive import archive_events, delete_archived
from eventq.catalog.catalog import Catalog
from eventq.core.events import Created
from eventq.replay.points import Point, find_end
from eventq.web.serve import ConsoleServer
from tests.web.browser.conftest import PATIENT_S, Visit

STARTS = (
    "",
    '"',
    "'>",
    "</td></table>",
    "</pre>",
    "-->",
    "{{ 7*7 }}",
    "${7*7}",
    "\u202e",
    "\\u003c",
)
ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=//evil.example/a.png onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=//evil.example></iframe>",
    "<a href=javascript:alert(1)>x</a>",
    "<style>@import '//evil.example/a.css'</style>",
    "<link rel=stylesheet href=//evil.example/a.css>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<form action=//evil.example><button autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "onmouseover=alert(1) autofocus tabindex=1 onfocus=alert(1)",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "\x1b[31m\x1b]8;;//evil.example\x07x\x1b]8;;\x07",
    "\u2066evil\u2069\u200b\u00ad\ufeff",
    "\x08\x7f\x9b31m",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "%3Cscript%3Ealert(1)%3C/script%3E",
)
HOSTILE = tuple(islice((f"{start}{attack}" for attack, start in product(ATTACKS, STARTS)), 200))
FOREIGN = "iframe, base, main img, main script, main style, main link, math, "
FOREIGN += "[onload], [onerror], [onfocus], [onmouseover]"
LISTS = (
    "/",
    "/tasks?limit=500",
    "/tasks?limit=500&columns=state,error,place,tags,by,nodes",
    "/errors",
    "/changes?limit=500",
    "/limits",
    "/flows",
    "/schedules",
    "/charts",
    "/new",
    "/integrity",
    "/help",
    "/compare?a=3&b=end",
    "/?at=60",
    "/tasks?at=300&limit=500",
)


def elsewhere(call: object) -> None:
    """Calls it in another thread: the browser has an event loop in this one."""
    assert callable(call)
    thread = threading.Thread(target=call)
    thread.start()
    thread.join(PATIENT_S)


def test_times_are_the_viewers(browser: Browser, served: ConsoleServer) -> None:
    """In the zone of the browser; UTC stands in what shows when one points at it."""
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    visit = Visit(context.new_page(), served)
    visit.come_in()
    visit.go("/tasks/img%2F1")
    time = visit.page.locator("main time").first
    at = datetime.fromisoformat(time.get_attribute("datetime") or "")
    title = time.get_attribute("title") or ""

    there = at.astimezone(ZoneInfo("Asia/Tokyo"))
    assert time.inner_text() == there.strftime("%d/%m/%Y, %H:%M:%S")
    assert at.strftime("%H:%M:%S") in title
    assert visit.problems == []


def test_the_slider_is_dragged_and_plays(visit: Visit, queue: eventq.Queue) -> None:
    """Each rest of the hand is a moment of the address; playing goes on until it is stopped."""
    page, last = visit.page, queue.log.head().seq
    # The present would replace the slider under the hand.
    visit.go(f"/?at={last}")
    box = page.locator("#slider").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(page.locator("body")).not_to_have_attribute("data-at", str(last))
    dragged = int(page.locator("body").get_attribute("data-at") or 0)
    page.wait_for_url(f"**/?at={dragged}")
    page.click("#play")
    expect(page.locator("body")).not_to_have_attribute("data-at", str(dragged), timeout=30_000)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")

    page.go_back()
    page.wait_for_url(f"**/?at={last}")
    expect(page.locator("body")).to_have_attribute("data-at", str(last))
    page.click("#earlier")
    page.wait_for_url(f"**/?at={last - 1}")
    page.click("#live")
    expect(page.locator("#pulse")).to_have_text("Live")
    page.go_back()

    expect(page.locator("body")).to_have_attribute("data-at", str(last - 1))
    assert last / 4 < dragged < last * 3 / 4


def test_playing_waits_for_a_slow_page(visit: Visit) -> None:
    """One that takes longer than the beat of playing is shown, and then the next one is asked."""
    page = visit.page
    visit.go("/?at=5")

    def slowly(route: Route) -> None:
        threading.Event().wait(1.0)
        route.continue_()

    page.route("**/?at=*", slowly)
    page.click("#play")
    expect(page.locator("body")).not_to_have_attribute("data-at", "5", timeout=30_000)
    page.click("#play")
    page.unroute("**/?at=*")

    assert not page.url.endswith("?at=5")


def test_a_log_is_archived_under_an_open_page(
    visit: Visit, queue: eventq.Queue, tmp_path: Path
) -> None:
    """The present goes on; a moment that is gone says how it is had; the slider begins later."""
    page, log = visit.page, queue.log
    expect(page.locator("#pulse")).to_have_text("Live")
    until = find_end(log, Point(log.head().seq - 6, 0))

    def archive() -> None:
        archive_events(log, tmp_path / "archive", until=until)
        delete_archived(log, tmp_path / "archive", until=until, now=log.head().at)

    elsewhere(archive)
    queue.new({"n": 5}, key="later", priority=99)
    expect(page.locator("main [data-row]").first).to_have_text("later", timeout=20_000)
    expect(page.locator("#slider")).to_have_attribute("min", str(until.seq))
    visit.go(f"/?at={until.seq + 1}")
    page.keyboard.press("[")
    expect(page.locator("body")).to_have_attribute("data-at", str(until.seq))
    with page.expect_response("**/?at=*") as answer:
        page.keyboard.press("[")
    stays = answer.value.url
    visit.go("/?at=8")

    assert stays.endswith(f"?at={until.seq}")
    assert "--archive" in page.inner_text("main")
    assert "Traceback" not in page.content()
    # The browser itself reports the status 404.
    visit.problems[:] = [each for each in visit.problems if "404" not in each]


@pytest.mark.parametrize("at_once", [True, False], ids=["lists", "tasks"])
def test_two_hundred_hostile_values_stay_text(
    visit: Visit, queue: eventq.Queue, *, at_once: bool
) -> None:
    """In keys, tags, errors, reasons, shares, limits and names of people: the fixture looks on."""

    def work(_ctx: eventq.Context, task: eventq.Task) -> None:
        raise ValueError(task.tags["text"])

    def fill() -> None:
        for number, text in enumerate(HOSTILE):
            shown = "".join(c for c in text if c.isprintable())
            key = f"{number}{shown}"
            queue.new({"text": text, "host": text}, key=key, max_retries=0)
            queue.new({"text": text}, key=f"off {key}", limits={"l": shown or "x"}, unique=key)
            queue.cancel(f"off {key}", by=text, reason=text)
        queue.set_limit("h", running=1, per="host", by=HOSTILE[2], reason=HOSTILE[3])
        queue.pause(tags={"text": HOSTILE[0]}, by=HOSTILE[1], reason=HOSTILE[2])
        queue.run(work, until="idle", signals=False)
        catalog = Catalog.open(queue.log)
        catalog.catch_up()
        catalog.close()

    elsewhere(fill)
    bodies = [event.body for event in queue.events()]
    keys = [body.key for body in bodies if isinstance(body, Created)]
    own = [f"/tasks/{quote(key, safe='')}" for key in keys if key and key[:1].isdigit()]
    paths = LISTS if at_once else [*own[::12], f"{own[1]}/why", f"{own[0]}?at=400"]
    for path in paths:
        visit.go(path)
        visit.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert (path, visit.page.locator(FOREIGN).count()) == (path, 0)

    assert len(HOSTILE) == len(set(HOSTILE)) == 200
