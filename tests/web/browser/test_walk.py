"""The newcomer's walk: the demo, the console, and the file that never succeeds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

import eventq
from tests.web.browser.conftest import FLAGS, PATIENT_S

FILES = "60"


def run(*words: str) -> None:
    """One command, as it is typed."""
    subprocess.run([sys.executable, "-m", "eventq", *words], check=True, capture_output=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The log of a demo, with the catalog that the console asks for."""
    url = f"sqlite:///{tmp_path}/demo.db"
    run("demo", "--url", url, "--limit-files", FILES)
    run("catalog", "build", "--url", url, "--namespace", "demo")
    return url


@pytest.fixture
def address(url: str, tmp_path: Path) -> Iterator[str]:
    """What `eventq console` prints; it runs as long as the test."""
    words = ["console", "--url", url, "--namespace", "demo", "--port", "0", "--no-open"]
    command = [sys.executable, "-m", "eventq", *words, "--by", "newcomer"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENT_S) == 0


@pytest.mark.timeout(400)
def test_the_file_that_never_succeeds(chromium: str, url: str, address: str) -> None:
    """Found, explained, looked at as it was given up, retried, and that taken back."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(PATIENT_S * 1_000)
        page.goto(address)
        expect(page.locator("h1")).to_contain_text("Now")
        # Which one it is.
        page.click("nav >> text=Tasks")
        page.click("text=Given up")
        link = page.locator("main [data-row]")
        expect(link).to_have_count(1)
        key = link.inner_text()
        link.click()
        # Why.
        expect(page.locator("h1")).to_contain_text("expired")
        expect(page.locator(".error")).not_to_be_empty()
        given_up = page.locator("tr", has_text="expired").locator("a.seq").last
        seq = given_up.inner_text().replace(",", "")
        # At which instant, and what was ahead of it then.
        given_up.click()
        expect(page.locator("body")).to_have_attribute("data-at", seq)
        page.goto(f"{page.url.partition('?')[0]}?at={seq}")
        expect(page.locator(".moment")).to_contain_text(f"position {int(seq):,}")
        page.click("nav >> text=Now")
        expect(page.locator("h1")).to_contain_text("as it was at")
        expect(page.locator("[data-count=expired]")).to_have_text("1")
        # Retried, and that taken back.
        page.click("text=Live again")
        expect(page.locator("#pulse")).to_be_visible()
        page.fill("#search", key)
        page.press("#search", "Enter")
        page.click("summary:text('Retry')")
        page.fill("#retry-reason", "just to see")
        page.click("text=Retry this task")
        expect(page.locator(".told")).to_contain_text("again")
        page.click(".told button")
        expect(page.locator(".told")).to_be_visible()
        browser.close()
    with eventq.Queue(url, namespace="demo") as queue:
        task = queue.get(key)
        kinds = [event.kind for event in queue.history(key)][-2:]

    assert task is not None
    assert task.state == "expired"
    assert kinds == ["retried", "expired"]
