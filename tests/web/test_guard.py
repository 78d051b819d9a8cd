"""What stands before every page: hosts, origins, sizes, methods, headers."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from eventq.web.guard import BODY_BYTES, is_own_origin
from tests.web.desk import HOST, Desk, MakeDesk


def test_every_answer_is_bolted(full: Desk) -> None:
    """No answer may be framed, cached, sniffed or run scripts from elsewhere, errors included."""
    for path in ("/", "/nope", "/api/now", "/static/console.js", "/tasks/none"):
        headers = full.client.get(path).headers

        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] in {"no-store", "no-cache"}


def test_pages_hold_no_script_and_no_style_of_their_own(full: Desk) -> None:
    """The policy forbids them, so that a page with one would be broken."""
    for path in ("/", "/tasks/img%2F1", "/flows/doc:1", "/limits", "/schedules", "/integrity"):
        page = full.get(path)

        assert "style=" not in page
        assert "<style" not in page
        assert page.count("<script") == 1
        assert "onclick" not in page


def test_another_host_name_is_refused(make_desk: MakeDesk) -> None:
    """A page that rebinds its name to this machine gets nothing."""
    desk = make_desk(hosts=["queue.example.org"])

    assert desk.client.get("/", headers={"host": "evil.example"}).status_code == 421
    assert desk.client.get("/", headers={"host": "queue.example.org"}).status_code == 200


@pytest.mark.parametrize(
    "origin,site,is_own",
    [
        ("http://a:1", None, True),
        ("http://a:1", "same-origin", True),
        ("null", "same-origin", True),
        (None, "same-origin", True),
        (None, None, False),
        ("null", None, False),
        ("http://b:1", None, False),
        ("http://a:1", "cross-site", False),
        ("https://a:1", None, False),
        ("null", "none", False),
    ],
)
def test_a_form_comes_from_here(origin: str | None, site: str | None, *, is_own: bool) -> None:
    """What the browser says of where a form comes from decides."""
    given = {"host": "a:1", "origin": origin, "sec-fetch-site": site}
    headers = Headers({name: value for name, value in given.items() if value is not None})

    assert is_own_origin(headers, "http") is is_own


def test_a_form_of_another_site_does_nothing(full: Desk) -> None:
    """With the right key even, since that may have been stolen."""
    before = full.queue.log.head()
    data = {"form_key": full.form_key()}
    headers = {"origin": "http://evil.example"}
    answer = full.client.post("/tasks/img%2F1/retry", data=data, headers=headers)

    assert answer.status_code == 403
    assert full.queue.log.head() == before


def test_a_form_without_its_key_does_nothing(full: Desk) -> None:
    """A form needs the key of this browser, made for this person."""
    before = full.queue.log.head()
    key = full.form_key()
    full.post("/tasks/img%2F1/retry", 403, form_key="0" * 64)
    full.client.cookies.clear()
    full.post("/tasks/img%2F1/retry", 403, form_key=key)

    assert full.queue.log.head() == before


def test_bad_requests_get_clear_answers(full: Desk) -> None:
    """Each has the right status, and nothing of ours in it."""
    post = full.client.post
    own = {"origin": HOST}

    assert full.client.get("/?at=1&x=" + "y" * 60 * 1024).status_code == 414
    assert post("/new", content=b"{}", headers={**own, "content-type": "x/y"}).status_code == 415
    large = b"a=" + b"b" * (BODY_BYTES + 1)
    form = {**own, "content-type": "application/x-www-form-urlencoded"}
    assert post("/new", content=large, headers=form).status_code == 413
    assert post("/new", content=iter([large]), headers=form).status_code == 413
    assert post("/new", content=b"a=%ff%fe", headers=form).status_code in {400, 403}
    assert full.client.put("/new").status_code == 405
    assert full.client.post("/", data={"a": "b"}, headers=own).status_code == 405
    assert full.client.get("/static/..%2Fapp.py").status_code == 404
    assert full.client.get("/nope").status_code == 404


def test_a_page_that_fails_shows_no_traceback(
    full: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The browser reads words; the log has the rest."""

    def broken(*_: object) -> None:
        raise RuntimeError("of the inside")

    monkeypatch.setattr("eventq.web.looking.live_sight", broken)
    page = full.get("/", 500)

    assert "of the inside" not in page
    assert "Traceback" not in page
    assert "of the inside" in caplog.text


def test_accesses_are_logged_without_their_query(
    full: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """A query may hold values; the path, the status and the time are enough."""
    with caplog.at_level("INFO", "eventq.web"):
        full.get("/find?key=secret-key", 303)
    [record] = [r for r in caplog.records if r.getMessage() == "asked"]

    assert vars(record)["path"] == "/find"
    assert vars(record)["status"] == 303
    assert "secret-key" not in str(vars(record))
