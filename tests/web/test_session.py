"""The door of a console without a login: a code of one use, a cookie, and the way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import eventq
from eventq.web.access import Person
from eventq.web.app import serving
from eventq.web.console import Options
from eventq.web.session import CODE_S, SESSION_S, Sessions
from tests.web.desk import FORM_KEY, HOST


class Watch:
    """A clock in seconds, which tests move."""

    now_s = 0.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    """A clock that stands."""
    return Watch()


@pytest.fixture
def sessions(watch: Watch) -> Sessions:
    """Sessions of one person."""
    return Sessions(Person("ada@here", authenticated=False), clock=watch)


@pytest.fixture
def client(queue: eventq.Queue, sessions: Sessions, tmp_path: Path) -> Iterator[TestClient]:
    """A browser before the door."""
    app = serving(queue, sessions.find, sessions, Options(cache=tmp_path / "cache"), None)
    yield TestClient(app, base_url=HOST, follow_redirects=False)
    app.state.console.close()


def come_in(client: TestClient, code: str) -> int:
    """Gives a code; the status of the answer."""
    answer = client.post("/start", data={"code": code}, headers={"origin": HOST})
    return answer.status_code


def test_a_code_lets_in_once(client: TestClient, sessions: Sessions) -> None:
    """The first use gives a cookie, the second nothing."""
    code = sessions.new_code()

    assert client.get("/").headers["location"] == "/start"
    assert come_in(client, code) == 303
    assert client.get("/").status_code == 200
    assert "a claimed name" in client.get("/").text
    client.cookies.clear()
    assert come_in(client, code) == 403


def test_a_code_is_good_for_a_minute(client: TestClient, sessions: Sessions, watch: Watch) -> None:
    """After that, and once there is a newer one, it is void."""
    code = sessions.new_code()
    watch.now_s = CODE_S + 1

    assert come_in(client, code) == 403
    first = sessions.new_code()
    sessions.new_code()
    assert come_in(client, first) == 403
    assert come_in(client, "") == 403


def test_the_cookie_is_kept_from_scripts_and_other_sites(
    client: TestClient, sessions: Sessions
) -> None:
    """It is named by the port, so that two consoles do not take each other's."""
    answer = client.post("/start", data={"code": sessions.new_code()}, headers={"origin": HOST})
    cookie = answer.headers["set-cookie"]

    assert cookie.startswith("eventq_session_http=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie


def test_a_session_ends(client: TestClient, sessions: Sessions, watch: Watch) -> None:
    """By itself, half a day later."""
    come_in(client, sessions.new_code())
    watch.now_s = SESSION_S + CODE_S

    assert client.get("/").status_code == 303
    assert client.get("/api/now").status_code == 401


@pytest.mark.parametrize("path", ["/events", "/metrics", "/export/tasks.csv"])
def test_a_program_is_told_by_the_status(client: TestClient, path: str) -> None:
    """It would take the page of the door for what it has asked for."""
    assert client.get(path).status_code == 401


def test_logging_out_ends_the_session(client: TestClient, sessions: Sessions) -> None:
    """Also for who kept the cookie."""
    come_in(client, sessions.new_code())
    found = FORM_KEY.search(client.get("/").text)
    assert found is not None
    cookies = dict(client.cookies)
    answer = client.post("/log-out", data={"form_key": found[1]}, headers={"origin": HOST})
    client.cookies.update(cookies)

    assert answer.status_code == 303
    assert client.get("/").status_code == 303
