"""The shop of the tutorial: FastAPI, SQLAlchemy and PostgreSQL, killed in the middle."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import create_engine, text

import eventq
from eventq.verify import verify
from tests.contrib.postgres import Postgres

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial" / "shop.md"
FILE = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)


def wait_until(condition: Callable[[], object], within_s: float) -> None:
    """Looks again and again; fails when it takes too long."""
    ends_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_s, "it takes too long"
        threading.Event().wait(0.1)


class Shop:
    """The tutorial's files in a folder, and the process that serves them."""

    def __init__(self, folder: Path, database: str) -> None:
        for content, name in FILE.findall(PAGE.read_text(encoding="utf-8")):
            (folder / name).write_text(content, encoding="utf-8")
        self.folder = folder
        self.database = database.replace("postgresql://", "postgresql+psycopg://")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        # One for all: each reads the certificates of all authorities anew.
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """The site, until the block ends."""
        command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", str(self.port)]
        paths = os.pathsep.join([str(self.folder), str(ROOT)])
        settings = {"SHOP_DATABASE": self.database, "PYTHONPATH": paths}
        with (self.folder / "site.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **settings},
                stdout=output,
                stderr=output,
            )
            try:
                wait_until(lambda: process.poll() is not None or self.answers(), within_s=120)
                assert process.poll() is None, (self.folder / "site.log").read_text()
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)

    def answers(self) -> bool:
        """Whether the site does."""
        try:
            return self.client.get("/orders/0").status_code == 200
        except httpx2.HTTPError:
            return False

    def place(self) -> int | None:
        """Orders something: the order's number, or None where no answer came."""
        try:
            number: int = self.client.post("/orders/tea").json()["order"]
        except httpx2.HTTPError:
            return None
        return number

    def rows(self, query: str) -> list[Any]:
        """What PostgreSQL says."""
        engine = create_engine(self.database)
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_nothing_is_lost_and_nothing_is_done_twice(postgres: Postgres, tmp_path: Path) -> None:
    """Killed twice in the middle, all orders that were answered are paid once and mailed once."""
    shop = Shop(tmp_path, postgres.new_url())
    answered: list[int] = []
    for _ in range(2):
        with shop.serving() as site:
            answered += [number for _ in range(8) if (number := shop.place()) is not None]
            site.kill()
    with shop.serving():
        answered += [number for _ in range(4) if (number := shop.place()) is not None]

        def is_done() -> bool:
            [(orders, mails)] = shop.rows(
                "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM mails)"
            )
            return bool(orders == mails)

        wait_until(is_done, within_s=120)
        seen = shop.client.get(f"/orders/{answered[0]}").json()
        page = shop.client.get(f"/queue/tasks/pay:{answered[0]}")
        command = [sys.executable, "-m", "eventq", "schedules", "trigger", "report"]
        subprocess.run(
            [*command, "--url", "sqlite:///tasks.db", "--by", "ada"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
        )
        wait_until(lambda: bool(shop.rows("SELECT * FROM reports")), within_s=120)
        metrics = shop.client.get("/metrics/").text

    shop.client.close()
    orders = {number for (number,) in shop.rows("SELECT id FROM orders")}
    assert len(answered) == 20
    assert set(answered) <= orders
    assert {number for (number,) in shop.rows('SELECT "order" FROM payments')} == orders
    assert {number for (number,) in shop.rows('SELECT "order" FROM mails')} == orders
    assert shop.rows("SELECT paid FROM reports") == [(len(orders),)]
    assert shop.rows("SELECT * FROM eventq_outbox") == []
    assert set(seen.values()) <= {"paid", "was paid before", "sent", "was sent before"}
    assert page.status_code == 200
    assert 'eventq_attempts_total{lane="default",name="pay",outcome="failed"}' in metrics
    with eventq.Queue(f"sqlite:///{tmp_path}/tasks.db") as queue:
        assert queue.stats().completed == 2 * len(orders) + 1
        assert verify(queue.log).findings == ()
