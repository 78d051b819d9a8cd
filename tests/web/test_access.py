"""Who may do what: no route without a right, and every right is asked for on the server."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

import eventq
from eventq.web import app
from eventq.web.access import Person, Right
from eventq.web.api import api_path
from eventq.web.routes import ACTS, PAGES, SERVICES
from tests.web.desk import SECRET, Desk, MakeDesk

# What nobody needs to have come in for.
OPEN = {"/start", "/static/{file}"}
PATIENT_S = 60.0


def test_every_route_stands_in_the_table(desk: Desk) -> None:
    """Each route of the application is a row of the table, with the right that it takes."""
    rows = {(each.path, each.method): each.right for each in SERVICES}
    rows |= {(page.path, "GET"): page.right for page in PAGES}
    rows |= {(api_path(page), "GET"): page.right for page in PAGES}
    rows |= {(each.path, "POST"): each.right for each in ACTS}
    routes = [route for route in desk.app.routes if isinstance(route, Route)]
    found = {(r.path, m) for r in routes for m in (r.methods or set()) - {"HEAD"}}

    assert len(routes) == len(desk.app.routes)
    assert found == rows.keys()
    assert {path for (path, _), right in rows.items() if right is None} == OPEN


@pytest.mark.parametrize("each", ACTS, ids=lambda each: each.path)
def test_who_may_only_look_can_do_nothing(full: Desk, each: object) -> None:
    """Every POST is refused to who has every right but the one that it takes."""
    act = next(one for one in ACTS if one is each)
    before = full.queue.log.head()
    key = full.form_key()
    full.person = Person("ada", frozenset(set(Right) - {act.right}))
    full.post(
        act.path.format(key="img%2F1", name="check_mail"), 403, form_key=key, lane="x", reason="why"
    )

    assert full.queue.log.head() == before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_nobody_sees_nothing(full: Desk, page: object) -> None:
    """Without a person, pages, JSON and the event stream are refused."""
    found = next(one for one in PAGES if one is page)
    full.person = None
    path = found.path.format(key="img%2F1")

    full.get(path, 401)
    full.get(f"/api{path}" if path != "/" else "/api/now", 401)
    full.get("/help", 401)

    assert full.client.get("/events").status_code == 401


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_takes_its_right(full: Desk, page: object) -> None:
    """Who has every right but that one sees neither the page nor its JSON."""
    found = next(one for one in PAGES if one is page)
    full.person = Person("bob", frozenset(set(Right) - {found.right}))
    path = found.path.format(key="img%2F1")

    assert full.client.get(path).status_code == 403
    assert full.client.get(api_path(found).format(key="img%2F1")).status_code == 403


def test_without_values_none_is_shown(full: Desk) -> None:
    """Who may look, but not into values, sees names and states, and no tag, result or message."""
    full.may()
    page = full.get("/tasks/img%2F1") + full.get("/") + full.get("/api/tasks/img%2F1")

    assert "refused" not in page
    assert "hunter2" not in page
    assert "ConnectionError" in page
    assert "(hidden)" in page


def test_a_lane_bounds_what_is_seen_and_done(full: Desk) -> None:
    """Who may act in one lane neither opens nor changes tasks of another, nor all of them."""
    full.may(Right.VALUES, Right.CANCEL, Right.PAUSE, Right.LIMIT, Right.CREATE, lanes=["mail"])
    number = next(t.key for t in full.queue.tasks() if t.lane == "mail")

    full.get("/tasks/img%2F1", 404)
    full.get("/tasks/img%2F1/why", 404)
    full.post("/tasks/img%2F1/cancel", 403)
    full.post("/limits/pause", 403, everything="yes")
    full.post("/limits/set", 403, limit="smtp", running="1")
    full.post("/new", 403, tags="{}")
    assert "behind" not in full.get("/")
    assert "cancelled" in full.done(f"/tasks/{number}/cancel")


def test_lists_of_a_lane_are_not_cut_by_other_lanes(
    make_desk: MakeDesk, queue: eventq.Queue
) -> None:
    """Those of another come first, and are more than a list holds; also where a limit is set."""
    for n in range(12):
        queue.new({"n": n}, priority=5, max_age="1h")
        queue.new({"n": n}, delay="1h")
    queue.new({"n": 0}, key="mine", lane="mail", max_age="2h")
    queue.new({"n": 0}, key="later", lane="mail", delay="2h")
    desk = make_desk()
    desk.may(Right.VALUES, lanes=["mail"])

    def lists() -> list[list[str]]:
        page = desk.json("/now")
        return [[row["key"] for row in page[name]] for name in ("ready", "scheduled", "expiring")]

    plain = lists()
    queue.limit("smtp", running=1)

    assert plain == lists() == [["mine"], ["later"], ["mine"]]


def test_what_runs_is_told_up_to_ten_with_how_many_more(tmp_path: Path) -> None:
    """A person of one lane sees its own, though it began last."""
    begun, told = threading.Barrier(12), threading.Barrier(12)
    pages: list[dict[str, Any]] = []
    shown: list[str] = []
    with eventq.Queue(f"sqlite:///{tmp_path}/queue.db", workers=12) as queue:
        desk = Desk(queue, tmp_path / "cache")

        def work(_ctx: eventq.Context, _task: eventq.Task) -> None:
            if begun.wait(PATIENT_S) == 0:
                pages.append(desk.json("/now"))
                shown.append(desk.get("/"))
                desk.may(Right.VALUES, lanes=["mail"])
                pages.append(desk.json("/now"))
            told.wait(PATIENT_S)

        queue.new_many({"n": n} for n in range(11))
        queue.new({"n": 11}, key="mine", lane="mail")
        queue.run(work, until="idle", signals=False)
        desk.close()
    everything, lane = pages

    assert (len(everything["leases"]), everything["more_leases"]) == (10, 2)
    assert "and 2 more" in shown[0]
    assert [lease["task"]["key"] for lease in lane["leases"]] == ["mine"]
    assert lane["more_leases"] == 0


def test_a_console_without_access_is_not_mounted(queue: eventq.Queue) -> None:
    """Who forgets to say who may come in is told."""
    with pytest.raises(eventq.ArgumentError, match="access"):
        app(queue)


def test_a_login_may_be_a_coroutine_that_gives_a_name(queue: eventq.Queue) -> None:
    """An application answers with a name and words for rights, and may await what it asks."""
    from starlette.testclient import TestClient  # noqa: PLC0415

    async def access(_request: object) -> tuple[str, list[str]]:
        return "eve", ["view"]

    console = app(queue, access)
    answer = TestClient(console).get("/")
    console.state.console.close()

    assert answer.status_code == 200
    assert "eve" in answer.text
    assert "New task" not in answer.text


def test_read_only_takes_every_right_to_change(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """`--read-only` beats whatever the login says."""
    task = queue.new({"n": 1})
    desk = make_desk(read_only=True)
    answer = desk.post(f"/tasks/{task.key}/cancel", 403)

    assert "only looks" in answer.text
    assert "Cancel this task" not in desk.get(f"/tasks/{task.key}")


def test_a_number_does_not_tell_a_key(full: Desk) -> None:
    """Of a task in another lane neither its key nor its flow is told, however it is asked for."""
    number = full.queue.log.find_keys(["img/1"])["img/1"]
    member = next(t for t in full.queue.tasks(state="completed") if t.flow is not None)
    seen = full.json(f"/tasks/{number}")["row"]["key"]
    full.may(Right.VALUES, lanes=["mail"])

    assert seen == "img/1"
    assert "img" not in full.get(f"/tasks/{number}", 404)
    assert "img" not in full.get(f"/tasks/{number}/why", 404)
    assert "doc:1" not in full.get(f"/flows/{member.flow}", 404)


def test_a_pause_that_is_not_shown_whole_has_no_form(full: Desk) -> None:
    """Who sees no values is told what resumes it; its values are told nowhere."""
    full.queue.pause(tags={"token": SECRET}, by="ada")
    full.queue.pause(limit="smtp", value=SECRET, by="ada")
    full.queue.new({"n": 1, "token": SECRET}, name="kept")
    full.may(Right.PAUSE)
    pages = full.get("/limits") + full.get("/") + full.get("/api/limits") + full.get("/changes")

    assert "eventq resume" in pages
    assert SECRET not in pages
    assert "kept back" in pages
