"""A console that is mounted in an application: its links, its forms, its cookies stay below."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

import eventq
from eventq.web import app
from tests.web.desk import FORM_KEY, HOST

RIGHTS = ["view", "values", "retry", "cancel", "create"]


@pytest.fixture
def client(queue: eventq.Queue, tmp_path: Path) -> Iterator[TestClient]:
    """A browser at an application with a console at /jobs."""
    queue.new({"n": 1}, key="a/b")
    console = app(queue, lambda _request: ("ada", RIGHTS), cache=tmp_path / "cache")
    application = Starlette(routes=[Mount("/jobs", app=console)])
    yield TestClient(application, base_url=HOST, follow_redirects=False)
    console.state.console.close()


def test_every_link_stays_below(client: TestClient) -> None:
    """Each leads to a page of the console, and each is there."""
    for path in ("/jobs/", "/jobs/tasks/a%2Fb", "/jobs/tasks/a%2Fb?at=1", "/jobs/flows"):
        page = client.get(path)
        links = re.findall(r'(?:href|src|action)="([^"]*)"', page.text)

        assert page.status_code == 200
        assert links
        assert [link for link in links if not link.startswith(("/jobs/", "#"))] == []
        pages = [link for link in links if 'method="post"' not in link]
        for link in {link.replace("&amp;", "&") for link in pages}:
            assert client.get(link).status_code in {200, 303, 404, 405}


def test_an_act_leads_back_below(client: TestClient) -> None:
    """The form's key and the place to go to are the console's own."""
    found = FORM_KEY.search(client.get("/jobs/tasks/a%2Fb").text)
    assert found is not None
    form = {"form_key": found[1], "form_id": "1"}
    answer = client.post("/jobs/tasks/a%2Fb/cancel", data=form, headers={"origin": HOST})

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/jobs/tasks/a%2Fb?done=")
    assert "is cancelled" in client.get(answer.headers["location"]).text


def test_the_api_is_below_too(client: TestClient) -> None:
    """And errors there are JSON."""
    assert client.get("/jobs/api/tasks/a%2Fb").json()["row"]["key"] == "a/b"
    assert client.get("/jobs/api/tasks/none").json()["status"] == 404
    assert client.get("/jobs/api/now?at=-1").headers["location"] == "/jobs/api/now?at=0"


def test_no_sqlite_is_loaded_for_a_queue_without_one(tmp_path: Path) -> None:
    """Pages of a log elsewhere are made without its driver."""
    code = """
import sys
sys.modules["apsw"] = None
import eventq, eventq.web
from pathlib import Path
from starlette.testclient import TestClient
queue = eventq.Queue("memory://")
queue.new({"n": 1})
app = eventq.web.app(queue, lambda _: ("ada", list(eventq.web.Right)), cache=Path(sys.argv[1]))
client = TestClient(app, base_url="http://testserver")
for path in ("/", "/tasks", "/errors", "/charts", "/changes", "/tasks/1/why"):
    assert client.get(path).status_code == 200, path
app.state.console.close()
"""
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path], check=False, capture_output=True, text=True
    )

    assert (run.returncode, run.stderr) == (0, "")
