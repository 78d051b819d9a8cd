"""Changes to many, what people did, and taking it back: with a preview, rights and reasons."""

from __future__ import annotations

import csv
import io
import re
import threading

import msgspec
import pytest

import eventq
from eventq.catalog.plan import Plan
from eventq.core.queue_events import Bulk, Limited
from eventq.errors import LogUnavailableError
from eventq.web.access import Person, Right
from tests.web.desk import SECRET, Desk, MakeDesk
from tests.web.test_tasks import build

ERRORS = "error=ConnectionError"
CHANGE = re.compile(r"/changes\?bulk=(\d+)")


def plan(desk: Desk, action: str = "retry", filter: str = ERRORS, **form: str) -> str:  # noqa: A002
    """Makes a plan; gives its path."""
    answer = desk.post("/plans", 303, action=action, filter=filter, **form)
    return str(answer.headers["location"]).partition("?")[0]


def apply(desk: Desk, path: str, reason: str = "DNS is back") -> str:
    """Applies a plan; gives the page that tells of it."""
    return desk.done(f"{path}/apply", reason=reason)


def undo_of(page: str) -> str:
    """The path of the first undo on a page."""
    found = re.search(r'action="(/changes/\d+/undo)"', page)
    assert found is not None, page
    return found[1]


def test_many_are_seen_retried_and_taken_back(full: Desk) -> None:
    """The plan changes nothing; the change is one event by the login's name, and its undo too."""
    before = full.queue.log.head()
    path = plan(full)
    page = full.get(path)

    assert "Retry 2 tasks" in page
    assert "img/1" in page
    assert full.queue.log.head() == before
    page = apply(full, path)
    assert "<strong>2</strong> changed" in page
    task = full.queue.get("img/1")
    assert task is not None
    assert task.state == "ready"
    [body] = [e.body for e in full.queue.events() if isinstance(e.body, Bulk)]
    assert (body.by, body.via, body.reason, body.count) == ("ada", "login", "DNS is back", 2)
    page = full.done(undo_of(page))
    assert "Take back the change of 2 tasks" in page
    found = re.search(r"/plans/[^/]+/apply", page)
    assert found is not None
    assert "<strong>2</strong> changed" in full.done(found[0])
    task = full.queue.get("img/1")
    assert task is not None
    assert task.state == "expired"


def test_what_moves_on_meanwhile_is_left_alone(full: Desk) -> None:
    """A plan is about just the tasks that it showed, as far as each still looks so."""
    path = plan(full)
    full.queue.retry("img/1")
    full.queue.cancel("img/1", by="bob")
    page = apply(full, path)

    assert "<strong>1</strong> changed" in page
    assert "1 had moved on" in page
    assert "Had moved on" in page
    task = full.queue.get("img/1")
    assert task is not None
    assert task.state == "cancelled"
    assert "1 task changed" in apply(full, path)


def test_a_plan_is_its_makers_alone(full: Desk) -> None:
    """Nobody else sees or applies it, nor who has other lanes since; one not known does nothing."""
    path = plan(full)
    full.person = Person("eve")
    full.get(path, 404)
    full.post(f"{path}/apply", 404)
    full.person = Person("ada", frozenset({Right.VIEW, Right.BULK, Right.PAUSE}))
    assert "the right to retry" in full.post(f"{path}/apply", 403).text
    full.person = Person("ada", lanes=frozenset({"mail"}))
    full.get(path, 404)
    full.post(f"{path}/apply", 404)
    full.person = Person("ada")
    full.post("/plans/none/apply", 404)

    assert not [e for e in full.queue.events() if isinstance(e.body, Bulk)]


def test_many_are_cancelled_and_edited(full: Desk) -> None:
    """Each by its own right, beside that to change many."""
    full.may(Right.BULK, Right.RETRY, Right.PAUSE)
    full.post("/plans", 403, action="cancel", filter="name=nobody")
    full.person = Person("ada")
    page = apply(full, plan(full, "update", "name=nobody", priority="8", at="2099-01-01T00:00Z"))
    task = full.queue.get("behind")

    assert "changed" in page
    assert task is not None
    assert task.priority == 8
    assert "Cancel" in full.get(plan(full, "cancel", "name=nobody"))
    for bad in ("", "state", "name=nobody&rate=x"):
        full.post("/plans", 400, action="retry", filter=bad)
    full.post("/plans", 400, action="drop", filter="name=nobody")
    full.post("/plans", 400, action="update", filter="name=nobody")
    full.post("/plans", 400, action="retry", filter="name=nobody", rate="fast")


def test_a_change_to_all_there_are_is_refused(full: Desk) -> None:
    """In words, without those for programs."""
    answer = full.post("/plans", 400, filter="", action="retry")

    assert '<p class="warn" role="alert">Say which tasks are meant: ' in answer.text


def test_who_may_look_into_no_lane_changes_nothing(full: Desk) -> None:
    """No lane is not any lane."""
    full.may(Right.BULK, Right.CANCEL, Right.PAUSE, lanes=[])
    answer = full.post("/plans", 403, filter="state=ready", action="cancel")

    assert "There is no lane whose tasks you may look into." in answer.text
    full.post("/filters/save", 403, filter="state=ready", name="mine")


def test_lanes_bound_changes_to_many(full: Desk) -> None:
    """A filter means tasks of their lanes alone."""
    full.may(Right.BULK, Right.CANCEL, Right.UNDO, Right.PAUSE, lanes=["mail"])
    page = apply(full, plan(full, "cancel", "state=ready"))

    assert "<strong>1</strong> changed" in page
    assert [t.lane for t in full.queue.tasks(state="cancelled")] == ["mail"]
    full.post(undo_of(page), 403)


def test_many_are_moved_to_another_lane(full: Desk) -> None:
    """All that fit, with the lane among what a form changes; back again by one undo."""
    page = apply(full, plan(full, "update", "name=nobody&state=ready", lane="heavy"))
    moved = [task.lane for task in full.queue.tasks(name="nobody", state="ready")]
    [body] = [event.body for event in full.queue.events() if isinstance(event.body, Bulk)]

    assert "<strong>2</strong> changed" in page
    assert (moved, body.lane) == (["heavy", "heavy"], "heavy")


def test_lanes_bound_where_many_are_moved(full: Desk) -> None:
    """Into no lane in which somebody may not act."""
    full.may(Right.BULK, Right.EDIT, Right.PAUSE, lanes=["mail"])
    answer = full.post("/plans", 403, action="update", filter="state=ready", lane="heavy")
    page = apply(full, plan(full, "update", "state=ready", lane="mail", priority="2"))

    assert "You may not act on tasks of lane heavy." in answer.text
    assert "<strong>1</strong> changed" in page


def test_without_a_catalog_a_long_log_is_not_gone_through(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how to build one."""
    monkeypatch.setattr("eventq.web.acting_many.PASS_EVENTS", 5)
    answer = full.post("/plans", 409, action="retry", filter=ERRORS)

    assert "eventq catalog build" in answer.text
    build(full.queue)
    assert "Retry 2 tasks" in full.get(plan(full))


def test_a_long_change_is_told_of_as_it_goes_on(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page asks again by itself; what breaks off can be finished."""
    goes_on, real = threading.Event(), Plan.apply
    monkeypatch.setattr("eventq.web.plans.PATIENT_S", 0.01)

    def wait(*args: object, **options: object) -> object:
        assert goes_on.wait(60)
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Plan, "apply", wait)
    path = plan(full)
    answer = full.client.get(full.post(f"{path}/apply").headers["location"])
    goes_on.set()

    assert "0 of 2 are done" in answer.text
    assert answer.headers["refresh"] == "1"
    kept = full.app.state.console.plans.get(path.rpartition("/")[2], full.person)
    kept._future.result(60)
    assert "<strong>2</strong> changed" in full.get(path)


def test_a_change_that_breaks_off_says_so(full: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is made when it is applied again."""
    real = Plan.apply

    def fail(*_: object, **__: object) -> None:
        raise LogUnavailableError("the disk is full")

    path = plan(full)
    monkeypatch.setattr(Plan, "apply", fail)
    assert "It broke off after 0: the disk is full" in apply(full, path)
    monkeypatch.setattr(Plan, "apply", real)
    assert "<strong>2</strong> changed" in apply(full, path)


def test_each_act_has_its_undo(full: Desk) -> None:
    """Right behind it, in one click, by whoever has its right and that of what it undoes."""
    queue = full.queue
    page = full.done("/tasks/img%2F1/retry")
    full.may(Right.UNDO, Right.PAUSE)
    assert "the right to retry" in full.post(undo_of(page), 403).text
    full.person = Person("ada")
    assert "is taken back" in full.done(undo_of(page))
    task = queue.get("img/1")
    assert task is not None
    assert task.state == "expired"
    page = full.done("/tasks/behind/update", priority="7")
    assert "is taken back" in full.done(undo_of(page))
    page = full.done("/tasks/behind/cancel")
    page = full.done(undo_of(page))
    task = queue.get("behind")
    assert task is not None
    assert (task.state, task.priority) == ("waiting", 0)
    full.done(undo_of(page))
    task = queue.get("behind")
    assert task is not None
    assert task.state == "cancelled"


def test_rules_are_taken_back(full: Desk) -> None:
    """Pauses, limits and schedules; what says it again since is not run over."""
    page = full.done("/limits/set", limit="smtp", running="9")
    assert "is taken back" in full.done(undo_of(page))
    last = [e.body for e in full.queue.events() if isinstance(e.body, Limited)][-1]
    assert last.running == 1
    page = full.done("/limits/resume", lane="mail")
    full.done(undo_of(page))
    assert len(full.queue.pauses()) == 1
    page = full.done("/schedules/check_mail/pause")
    full.done("/schedules/check_mail/resume")
    full.post(undo_of(page), 409)
    page = full.done("/schedules/check_mail/pause")
    assert "is taken back" in full.done(undo_of(page))
    assert "Do it again</button>" in full.get("/changes")
    assert not full.queue.schedules.named("check_mail").look().planned.paused


def test_what_cannot_be_undone_says_why(full: Desk) -> None:
    """A creation, what has moved on, and what is no change at all."""
    page = full.done("/tasks/img%2F1/retry")
    full.queue.cancel("img/1", by="bob")

    assert "it is cancelled since" in full.post(undo_of(page), 409).text
    full.post("/changes/1/undo", 409)
    full.post("/changes/99999/undo", 400)
    full.post("/changes/x/undo", 400)
    full.post("/changes/0/undo", 400)
    full.post("/changes/1/finish", 400)


def test_a_retry_takes_a_reason_where_one_is_asked_for(make_desk: MakeDesk, full: Desk) -> None:
    """So do its undo and a change to many; looking at a plan and saving a filter do not."""
    desk = make_desk(require_reason=True)
    desk.post("/tasks/img%2F1/retry", 422)
    page = desk.done("/tasks/img%2F1/retry", reason="again")
    desk.post(undo_of(page), 422)
    desk.done(undo_of(page), reason="too early")
    path = plan(desk)
    desk.post(f"{path}/apply", 422)
    assert "<strong>2</strong> changed" in apply(desk, path)
    desk.done("/filters/save", name="x", filter=ERRORS)
    del full


@pytest.mark.parametrize("has_catalog", [False, True])
def test_changes_are_told_by_who_and_what_it_is_worth(full: Desk, *, has_catalog: bool) -> None:
    """A change to many is one; names that are claims are told apart from those that were proved."""
    apply(full, plan(full))
    full.person = Person("mallory", authenticated=False)
    full.done("/tasks/behind/cancel", reason="<b>no</b>")
    full.person = Person("ada")
    if has_catalog:
        build(full.queue)
    found = full.json("/changes")["rows"]
    page = full.get("/changes")

    assert [(row["kind"], row["by"], row["proof"]) for row in found[:3]] == [
        ("cancelled", "mallory", "claimed"),
        ("bulk", "ada", "authenticated"),
        ("paused", "ada", "program"),
    ]
    assert found[0]["key"] == "behind"
    assert found[1]["many"]["changed"] == (2 if has_catalog else None)
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "retry 2 tasks" in page
    bulk = found[1]["seq"]
    assert len(full.json(f"/changes?bulk={bulk}")["rows"]) == 2
    assert [row["by"] for row in full.json("/changes?proof=claimed")["rows"]] == ["mallory"]
    assert {row["by"] for row in full.json("/changes?by=ada")["rows"]} == {"ada"}
    number = found[0]["number"]
    assert [row["seq"] for row in full.json(f"/changes?task={number}")["rows"]] == [found[0]["seq"]]
    assert full.json(f"/changes?at={bulk - 1}")["rows"][0]["kind"] == "paused"
    assert full.json(f"/changes?before={bulk}&limit=1")["rows"][0]["kind"] == "paused"
    full.get("/changes?proof=good", 400)
    full.get("/changes?limit=0", 400)
    assert "nothing before that" in full.get("/changes?before=1")


@pytest.mark.parametrize("has_catalog", [False, True])
def test_what_was_taken_back_says_by_what(full: Desk, *, has_catalog: bool) -> None:
    """And is not offered again."""
    page = full.done("/tasks/img%2F1/retry")
    full.done(undo_of(page))
    if has_catalog:
        build(full.queue)
    undo, retry = full.json("/changes")["rows"][:2]

    assert (undo["kind"], undo["undoes"]) == ("bulk", retry["seq"])
    assert retry["undone_by"] == undo["seq"]
    assert f"/changes/{retry['seq']}/undo" not in full.get("/changes")


def test_an_auditor_gets_all_of_it(full: Desk) -> None:
    """With names that were proved in a column of their own; without a catalog, nothing."""
    full.get("/export/changes.csv", 409)
    apply(full, plan(full), reason="=HYPERLINK(1)")
    full.person = Person("mallory", authenticated=False)
    full.done("/tasks/behind/cancel")
    full.person = Person("ada")
    build(full.queue)
    rows = list(csv.DictReader(io.StringIO(full.get("/export/changes.csv?parts=true"))))
    lines = full.get("/export/changes.jsonl").splitlines()

    assert [(row["authenticated_by"], row["claimed_by"]) for row in rows] == [
        ("", "mallory"),
        ("ada", ""),
        ("ada", ""),
        ("ada", ""),
        ("", "ada"),
    ]
    assert rows[3]["reason"] == "'=HYPERLINK(1)"
    assert rows[3]["selector"].startswith('{"error"')
    assert [msgspec.json.decode(line)["kind"] for line in lines] == ["cancelled", "bulk", "paused"]


def test_changes_hide_what_is_hidden(make_desk: MakeDesk, full: Desk) -> None:
    """Reasons and selectors from who sees no values, secrets from all, other lanes from a lane."""
    apply(full, plan(full, filter="tags=n=1"))
    full.done("/tasks/img%2F3/retry", reason=f"for {SECRET}")
    full.queue.pause(lane="heavy", reason="hot", by="eve")
    full.queue.new({"n": 1}, limits={"smtp": "relay-7"}, key="limited")
    full.queue.cancel("limited", reason="the cat knows", by="eve")
    build(full.queue)
    full.may()
    blind = full.get("/changes") + full.get("/limits") + full.get("/tasks/limited")
    blind += full.get("/tasks/limited/why") + full.get("/schedules")
    selectors = [row["many"]["selector"] for row in full.json("/changes")["rows"] if row["many"]]
    redacting = make_desk(redact=["token"])
    hidden = redacting.get("/changes")
    lanes = full
    lanes.may(Right.VALUES, lanes=["mail"])
    found = lanes.json("/changes")["rows"]

    assert SECRET not in blind
    assert "the cat knows" not in blind
    assert "relay-7" not in blind
    assert "hot" not in re.sub(r"<[^>]*>", "", blind)
    assert selectors == ["(hidden)"]
    assert SECRET not in hidden
    assert [row["what"] for row in found] == ["paused lane mail"]
    assert "paused lane heavy" not in lanes.get("/limits")


def test_two_people_change_the_same_tasks(full: Desk) -> None:
    """Who comes second changes nothing twice, and is told what had moved on."""
    ada = plan(full)
    full.person = Person("bob")
    bob = plan(full)
    assert "<strong>2</strong> changed" in apply(full, bob)
    full.person = Person("ada")
    page = apply(full, ada)

    assert "<strong>0</strong> changed" in page
    assert "2 had moved on" in page


def test_what_broke_off_is_finished(full: Desk, queue: eventq.Queue) -> None:
    """From the page of changes, by whoever may change many."""
    done = queue.select(error="ConnectionError").retry().apply(by="ada")
    full.may(Right.BULK, Right.PAUSE)
    assert "the right to retry" in full.post(f"/changes/{done.id}/finish", 403).text
    full.person = Person("ada")

    assert f"Change {done.id}" in full.done(f"/changes/{done.id}/finish")


def test_a_task_runs_at_an_instant(full: Desk) -> None:
    """Given with its zone, or in UTC; of an edit it is taken back with the rest."""
    page = full.done("/tasks/behind/update", scheduled_at="2099-01-31T12:00+02:00")
    task = full.queue.get("behind")
    assert task is not None
    assert task.scheduled_at.isoformat() == "2099-01-31T10:00:00+00:00"
    full.may(Right.UNDO, Right.RETRY, Right.PAUSE)
    assert "the right to edit" in full.post(undo_of(page), 403).text
    full.person = Person("ada")
    full.done(undo_of(page))
    full.done("/new", tags="{}", key="later", scheduled_at="2099-01-31T12:00")
    back, later = full.queue.get("behind"), full.queue.get("later")

    assert back is not None
    assert later is not None
    assert back.scheduled_at.year < 2099
    assert later.scheduled_at.isoformat() == "2099-01-31T12:00:00+00:00"
    full.post("/tasks/later/update", 400, scheduled_at="soon")
    full.post("/tasks/later/update", 400, scheduled_at="2099-01-31T12:00", delay="1h")
