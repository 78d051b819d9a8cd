"""A real browser on a console that serves. Without chromium the tests skip; in CI they fail."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

import eventq
from eventq.web.access import Person
from eventq.web.console import Options
from eventq.web.serve import Address, ConsoleServer
from tests.web.desk import fill

# No sandbox: the tests may run as root in a container. Nothing else but what it is told.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENT_S = 60.0


class Visit:
    """A browser's page on a console, and what went wrong there."""

    def __init__(self, page: Page, server: ConsoleServer) -> None:
        self.page = page
        self.server = server
        self.base = f"http://127.0.0.1:{server.port}"
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", lambda dialog: self._dialog(dialog.message, dialog.dismiss))
        page.on("request", lambda request: self._request(request.url))

    def _dialog(self, text: str, dismiss: object) -> None:
        self.problems.append(f"a dialog: {text}")
        if callable(dismiss):
            dismiss()

    def _request(self, url: str) -> None:
        if not url.startswith(self.base):
            self.problems.append(f"a request to {url}")

    def come_in(self) -> None:
        """By the start address, as `eventq console` prints it."""
        self.page.goto(self.server.start_url())
        self.page.wait_for_url(f"{self.base}/")

    def go(self, path: str) -> None:
        """To a page."""
        self.page.goto(f"{self.base}{path}")

    @property
    def heading(self) -> str:
        """What the page calls itself."""
        return self.page.inner_text("h1")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the system's chromium is."""
    found = shutil.which("chromium")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no chromium")
    return str(found)


@pytest.fixture
def served(queue: eventq.Queue, tmp_path: Path) -> Iterator[ConsoleServer]:
    """A console over a queue with a past."""
    fill(queue)
    person = Person("ada@here", authenticated=False)
    server = ConsoleServer(queue, person, Options(cache=tmp_path / "cache"), Address(port=0))
    thread = threading.Thread(target=server.run, name="console")
    thread.start()
    yield server
    server.stop()
    thread.join(PATIENT_S)


@pytest.fixture
def browser(chromium: str, served: ConsoleServer, tmp_path: Path) -> Iterator[Browser]:
    """A browser with a home of its own; it has an event loop, in which no queue is opened."""
    assert served.port
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(tmp_path)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, env=environment)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, served: ConsoleServer) -> Iterator[Visit]:
    """Somebody who has come in."""
    visit = Visit(browser.new_page(), served)
    visit.come_in()
    yield visit
    assert visit.problems == []
