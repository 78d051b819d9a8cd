"""What goes wrong outside of the console: clear answers, and nothing is changed."""

from __future__ import annotations

import re
import shutil
import socket
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

import eventq
from eventq.catalog.catalog import Catalog
from eventq.errors import LogUnavailableError
from eventq.web.routes import PAGES
from eventq.web.serve import ConsoleServer
from tests.web.desk import HOST, Desk
from tests.web.test_serve import server

__all__ = ["server"]

LINK = re.compile(r'href="(/[^"#]*)"')
LOOKING = re.compile(r'<form method="get" action="([^"]*)"(.*?)</form>', re.DOTALL)
FIELD = re.compile(r'name="([^"]*)"')
FORM = {"origin": HOST, "content-type": "application/x-www-form-urlencoded"}


def sent(server: ConsoleServer, data: bytes) -> bytes:
    """What a server answers to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while more := connection.recv(65_536):
            found += more
    return found


def test_an_address_of_64_kib_is_refused(server: ConsoleServer, queue: eventq.Queue) -> None:
    """By what stands before the console already, and without a traceback."""
    before = queue.log.head()
    host = f"Host: 127.0.0.1:{server.port}\r\n\r\n".encode()
    answer = sent(server, b"GET /?x=" + b"y" * 65_536 + b" HTTP/1.1\r\n" + host)

    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 414"))
    assert b"Traceback" not in answer
    assert queue.log.head() == before


def test_who_sends_too_much_is_told_so(server: ConsoleServer, queue: eventq.Queue) -> None:
    """Only once all of it was sent do most clients look for an answer."""
    before = queue.log.head()
    base = f"127.0.0.1:{server.port}"
    head = (
        f"POST /new HTTP/1.1\r\nHost: {base}\r\nOrigin: http://{base}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000000\r\n\r\n"
    )
    answer = sent(server, head.encode() + b"x" * 10_000_000)

    assert answer.startswith(b"HTTP/1.1 413")
    assert queue.log.head() == before


def test_half_a_request_changes_nothing(server: ConsoleServer, queue: eventq.Queue) -> None:
    """Cut off within its headers, or within its body."""
    before = queue.log.head()
    base = f"127.0.0.1:{server.port}"
    sent(server, b"POST /new HTTP/1.1\r\nHost: ")
    head = (
        f"POST /new HTTP/1.1\r\nHost: {base}\r\nOrigin: http://{base}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 500\r\n\r\nname=x"
    )
    sent(server, head.encode())

    assert queue.log.head() == before


def test_an_upload_of_10_mb_is_refused(full: Desk) -> None:
    """Before it is read."""
    before = full.queue.log.head()
    answer = full.client.post("/new", content=b"tags=" + b"x" * 10_000_000, headers=FORM)

    assert answer.status_code == 413
    assert "nothing was done" in answer.text
    assert full.queue.log.head() == before


@pytest.mark.parametrize("path", ["/", "/tasks/1", "/?at=3", "/charts", "/metrics", "/api/now"])
def test_a_log_that_cannot_be_read_is_told(
    full: Desk, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """By every page, in words."""

    def gone(*_: object, **__: object) -> None:
        raise LogUnavailableError("the disk is gone")

    for name in ("read", "head", "start", "history"):
        monkeypatch.setattr(type(full.queue.log), name, gone)
    answer = full.client.get(path)

    assert answer.status_code == 503
    assert "he disk is gone" in answer.text
    assert "Traceback" not in answer.text


def test_a_catalog_that_is_none_is_told(full: Desk) -> None:
    """Charts are counted without it, and say so."""
    path = Path(f"{full.queue.log.url.removeprefix('sqlite:///')}.catalog")
    path.write_bytes(b"no catalog at all")
    page = full.json("/charts")

    assert page["source"] == "log"
    assert "catalog" in page["lack"]


@pytest.mark.parametrize("version", [0, 999])
def test_a_catalog_of_another_version_is_told(full: Desk, version: int) -> None:
    """Open tasks are shown, and what to do about the others."""
    path = _build(full.queue)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    page = full.get("/tasks")

    assert "Only open tasks are shown" in page
    assert "eventq catalog build" in page
    assert "behind" in page


def test_a_catalog_of_another_log_is_told(full: Desk, tmp_path: Path) -> None:
    """What it says of its own log is said nowhere."""
    with eventq.Queue(f"sqlite:///{tmp_path}/other.db") as other:
        for number in range(40):
            other.new({"n": number}, key=f"stranger/{number}")
        shutil.copy(_build(other), f"{full.queue.log.url.removeprefix('sqlite:///')}.catalog")
    pages = [full.get(path) for path in ("/tasks", "/errors", "/changes", "/charts")]

    assert "Only open tasks are shown" in pages[0]
    assert all("stranger" not in page for page in pages)


@pytest.mark.parametrize("at", ["1999-01-01T00:00:00Z", "-5d", "99999", "noon", "-1h2"])
def test_a_moment_that_is_none_is_told(full: Desk, at: str) -> None:
    """Before the first event, behind the last one, or no moment at all."""
    page = full.client.get("/tasks", params={"at": at})
    answer = full.client.get("/api/tasks", params={"at": at})

    assert (page.status_code, answer.status_code) == (400, 400)
    assert answer.json()["problem"].startswith("At: expected")
    assert "Traceback" not in page.text


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
@pytest.mark.parametrize(
    "path",
    [
        "/changes?task={}",
        "/changes?bulk={}",
        "/changes?before={}",
        "/changes?limit={}",
        "/tasks?after={}",
        "/tasks?after={}&order=number",
        "/tasks?limit={}",
        "/tasks?number={}",
        "/tasks?flow={}",
        "/tasks?min_attempts={}",
        "/errors?limit={}",
        "/export/changes.csv?bulk={}",
        "/export/tasks.csv?after={}",
    ],
)
def test_a_number_that_no_log_can_have_is_told(full: Desk, path: str, number: int) -> None:
    """By the catalog, too."""
    _build(full.queue)
    answer = full.client.get(path.format(number))

    assert answer.status_code == 400
    assert "expected" in answer.text


@pytest.mark.parametrize(
    "path", ["/tasks?stat=expired", "/api/tasks?stat=expired", "/export/tasks.csv?stat=expired"]
)
def test_a_word_that_a_page_does_not_know_is_told(full: Desk, path: str) -> None:
    """A filter that is misspelled does not show all tasks."""
    answer = full.client.get(path)

    assert answer.status_code == 400
    assert "what this page can be asked by: state, name" in answer.text
    assert "stat" in answer.text


def test_no_form_or_link_asks_what_its_page_does_not_know(full: Desk) -> None:
    """Each that looks, of each page, with all its fields."""
    _build(full.queue)
    full.done("/schedules/check_mail/preview", since="2026-01-01T00:00Z", until="2026-01-01T01:00Z")
    paths = [page.path for page in PAGES if "{" not in page.path]
    paths += ["/tasks/img%2F1", "/tasks/img%2F1/why", "/flows/doc:1", "/tasks?state=ready&limit=1"]
    asked = set()
    for path in paths:
        page = full.get(f"{path}{'&' if '?' in path else '?'}at=30")
        asked |= {unescape(link) for link in LINK.findall(page)}
        for action, fields in LOOKING.findall(page):
            words = dict.fromkeys(FIELD.findall(fields), "1")
            asked.add(f"{unescape(action)}?{urlencode(words)}")
    refused = {path for path in asked if "can be asked by" in full.asked(path).text}

    assert len(asked) > len(paths)
    assert refused == set()


def _build(queue: eventq.Queue) -> Path:
    with closing(Catalog.open(queue.log)) as catalog:
        catalog.catch_up()
    return Path(f"{queue.log.url.removeprefix('sqlite:///')}.catalog")
