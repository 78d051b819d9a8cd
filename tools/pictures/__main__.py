"""Makes the pictures of the docs: ``python -m tools.pictures [FOLDER]``.

Needs chromium and the packages of the tests.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Browser, sync_playwright

from eventq import Queue
from eventq.catalog.catalog import Catalog
from eventq.web.access import Person
from eventq.web.console import Options
from eventq.web.serve import Address, ConsoleServer
from tools.pictures.png import smaller

FOLDER = Path(__file__).parents[2] / "docs" / "how-to" / "pictures"
FILES = 150
WIDTH, HEIGHT = 1200, 760
# No sandbox: it may be run as root in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> int:
    """Runs the demo and looks at it."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="eventq-pictures-") as scratch:
        url = f"sqlite:///{scratch}/demo.db"
        demo = [sys.executable, "-m", "eventq", "demo", "--url", url, "--limit-files", str(FILES)]
        subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
        with _served(url, Path(scratch)) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            for theme in ("light", "dark"):
                _look(browser, server, theme, folder)
            browser.close()
    return 0


@contextmanager
def _served(url: str, scratch: Path) -> Iterator[ConsoleServer]:
    with Queue(url, namespace="demo", workers=1) as queue:
        catalog = Catalog.open(queue.log)
        catalog.catch_up()
        catalog.close()
        person = Person("ada", authenticated=False)
        server = ConsoleServer(queue, person, Options(cache=scratch / "cache"), Address(port=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        yield server
        server.stop()
        thread.join()


def _look(browser: Browser, server: ConsoleServer, theme: str, folder: Path) -> None:
    """One picture of each page."""
    context = browser.new_context(
        color_scheme="dark" if theme == "dark" else "light",
        viewport={"width": WIDTH, "height": HEIGHT},
        timezone_id="UTC",
        locale="en-GB",
    )
    page = context.new_page()
    base = f"http://127.0.0.1:{server.port}"
    page.goto(server.start_url())
    page.wait_for_url(f"{base}/")
    key, failed_at = _failed(server)
    task = f"/tasks/{quote(key, safe='')}"
    pages = {
        "now": "/",
        "charts": "/charts",
        "tasks": "/tasks",
        "task": task,
        "past": f"/?at={failed_at}",
    }
    for name, path in pages.items():
        page.goto(f"{base}{path}")
        page.wait_for_selector("h1")
        page.wait_for_load_state("networkidle" if "?" in path else "load")
        if name in {"now", "past"}:
            page.wait_for_selector(".loads .chart")
        picture = smaller(page.screenshot())
        where = folder / f"console-{name}-{theme}.png"
        where.write_bytes(picture)
        print(f"{where} {len(picture) / 1_000:.0f} kB")
    context.close()


def _failed(server: ConsoleServer) -> tuple[str, int]:
    """The file that never succeeds, and where it failed first: much else went on then."""
    [task] = server.queue.tasks(state="expired", limit=1)
    history = server.queue.history(task.key)
    return task.key, next(event.seq for event in history if event.kind == "failed")


if __name__ == "__main__":
    sys.exit(main())
