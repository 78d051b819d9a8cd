"""Acts: each runs the command that the API has, by the name of the login, once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import eventq
from eventq.core.events import Cancelled, Updated
from eventq.core.queue_events import Limited, Paused, Planned, Ticked
from eventq.web.access import Person, Right
from eventq.web.acting import ActRefusedError
from eventq.web.sent import SentForms
from tests.web.desk import Desk, MakeDesk


def last_body(queue: eventq.Queue, kind: type) -> Any:  # noqa: ANN401 - of that kind
    """The body of the last event of a kind."""
    return [event.body for event in queue.events() if isinstance(event.body, kind)][-1]


def test_a_task_is_retried_and_cancelled(full: Desk) -> None:
    """The page that follows says what was done, once."""
    page = full.done("/tasks/img%2F1/retry")

    assert "Task img/1 is ready again." in page
    assert "Task img/1 is ready again." not in full.get("/tasks/img%2F1")
    assert "is cancelled" in full.done("/tasks/img%2F1/cancel", reason="not wanted")
    body = last_body(full.queue, Cancelled)
    assert (body.by, body.reason) == ("ada", "not wanted")


def test_a_task_is_edited_and_repeated(full: Desk) -> None:
    """Priority, tags and schedule; a final one is made again."""
    full.done("/tasks/behind/update", priority="7", tags='{"n": 5}')
    task = full.queue.get("behind")
    page = full.done("/tasks/img%2F0/repeat")

    assert task is not None
    assert (task.priority, task.tags) == (7, {"n": 5})
    assert last_body(full.queue, Updated).by == "ada"
    assert "is made like task img/0" in page


def test_a_task_is_moved_to_another_lane(full: Desk) -> None:
    """The form has the lane that it is in; the page that follows has the new one."""
    page = full.get("/tasks/behind")
    full.done("/tasks/behind/update", lane="heavy")
    body = last_body(full.queue, Updated)
    again = full.done("/tasks/behind/update", lane="heavy")

    compared = full.get(f"/compare?a={full.queue.log.head().seq - 1}&b=end")

    cells = "".join(f'<td class="cut" title="{lane}">{lane}</td>' for lane in ("default", "heavy"))
    assert f"<td>lane</td>{cells}" in compared
    assert 'name="lane" value="default"' in page
    assert (body.lane, body.priority, body.by) == ("heavy", None, "ada")
    assert 'name="lane" value="heavy"' in again
    assert "nothing was to change" in again


def test_a_lane_bounds_where_tasks_are_moved(full: Desk) -> None:
    """Neither out of the lanes of one's rights nor into them, by an edit or by what is undone."""
    key = next(task.key for task in full.queue.tasks() if task.lane == "mail")
    own = (Right.EDIT, Right.UNDO, Right.PAUSE)
    full.may(*own, lanes=["mail"])

    def refused(path: str, other: str, **form: str) -> bool:
        return f"You may not act on tasks of lane {other}." in full.post(path, 403, **form).text

    found = [
        refused(f"/tasks/{key}/update", "heavy", lane="heavy"),
        refused(f"/tasks/{key}/update", "default", lane="default"),
        refused("/tasks/behind/update", "default", lane="mail"),
    ]
    stays = full.done(f"/tasks/{key}/update", lane="mail")
    full.queue.update(key, lane="heavy", by="eve")
    out = full.queue.log.head().seq
    found += [
        refused(f"/tasks/{key}/update", "heavy", lane="mail"),
        refused(f"/changes/{out}/undo", "heavy"),
    ]
    full.queue.update(key, lane="mail", by="eve")
    back = full.queue.log.head().seq
    found += [refused(f"/changes/{back}/undo", "heavy")]
    full.may(*own, lanes=["mail", "heavy"])
    full.done(f"/changes/{back}/undo")

    task = full.queue.get(key)
    assert task is not None
    assert task.lane == "heavy"
    assert all(found), found
    assert "nothing was to change" in stays


def test_an_edit_of_the_lane_is_an_edit_to_who_takes_it_back(full: Desk) -> None:
    """The right to retry is not enough, as it is for what makes a task run at once."""
    full.queue.update("behind", lane="heavy")
    position = full.queue.log.head().seq
    full.may(Right.UNDO, Right.RETRY, Right.PAUSE)
    answer = full.post(f"/changes/{position}/undo", 403)
    full.may(Right.UNDO, Right.EDIT, Right.PAUSE)

    assert "it takes the right to edit" in answer.text
    full.done(f"/changes/{position}/undo")


def test_the_name_never_comes_from_the_form(full: Desk) -> None:
    """Whatever a form says of who sent it."""
    full.done("/tasks/img%2F1/retry", by="eve", via="code")
    full.done("/tasks/img%2F1/cancel", by="eve")

    assert last_body(full.queue, Cancelled).by == "ada"


def test_a_task_is_made_of_a_form(full: Desk) -> None:
    """From arguments, text and JSON, and from tags."""
    form = {
        "name": "docs.ocr",
        "lane": "heavy",
        "key": "made",
        "priority": "2",
        "text:path": "b.pdf",
        "json:dpi": "600",
        "json:pages": "",
        "tags": '{"tenant": "7"}',
    }
    full.done("/new", **form)
    task = full.queue.get("made")

    assert task is not None
    assert task.tags == {"tenant": "7", "path": "b.pdf", "dpi": 600}
    assert (task.name, task.lane, task.priority) == ("docs.ocr", "heavy", 2)


def test_a_form_acts_once(full: Desk) -> None:
    """Sent twice, as by two clicks, it tells twice what it did once."""
    first = full.post("/new", form_id="one", tags='{"n": 77}')
    second = full.post("/new", form_id="one", tags='{"n": 77}')
    full.post("/new", form_id="two", tags='{"n": 77}')
    made = full.queue.tasks(tags={"n": 77})

    assert len(made) == 2
    assert (
        first.headers["location"].partition("?")[0] == second.headers["location"].partition("?")[0]
    )


def test_a_form_is_what_is_sent_to_one_address(full: Desk) -> None:
    """The same id elsewhere acts, and is told of what it did there."""
    full.post("/tasks/img%2F1/retry", form_id="one")
    full.post("/tasks/img%2F3/retry", form_id="one")
    full.post("/tasks/img%2F3/cancel", form_id="one")
    states = [task.state for key in ("img/1", "img/3") if (task := full.queue.get(key))]

    assert states == ["ready", "cancelled"]


def test_a_form_that_is_being_done_waits_for_nobody() -> None:
    """The second one is told so, and what failed may be sent again."""
    sent = SentForms()

    assert sent.begin("a") is None
    with pytest.raises(ActRefusedError, match="being done"):
        sent.begin("a")
    sent.forget("a")
    assert sent.begin("a") is None


def test_a_form_that_is_older_than_the_task_does_nothing(full: Desk) -> None:
    """Somebody else was quicker: who comes second looks again."""
    seen = str(full.json("/tasks/img%2F1")["last_seq"])
    full.queue.retry("img/1")
    answer = full.post("/tasks/img%2F1/retry", 409, seen=seen)

    assert "has changed since you opened the page" in answer.text


def test_pauses_come_and_go(full: Desk) -> None:
    """With what they are about; everything has to be asked for."""
    full.done("/limits/pause", name="docs.*", until="2h", reason="down")
    body = last_body(full.queue, Paused)

    assert (body.by, body.reason, body.scope.name) == ("ada", "down", "docs.*")
    assert "docs.*" in full.get("/limits")
    full.done("/limits/resume", name="docs.*")
    full.done("/limits/resume", lane="mail")
    assert full.queue.pauses() == []
    again = full.post("/limits/resume", 400, lane="mail")
    assert "No pause is of just that: lane mail. Nothing was done." in again.text
    full.post("/limits/pause", 400)
    full.done("/limits/pause", everything="yes")
    assert len(full.queue.pauses()) == 1


def test_limits_are_set_and_lifted(full: Desk) -> None:
    """One without bounds is not set by mistake."""
    full.done("/limits/set", limit="smtp", running="3", rate="7/1m", reason="more")
    [bucket] = [each for each in full.queue.limits() if each.limit == "smtp"][:1]

    assert (bucket.bound, bucket.rate) == (3, 7)
    full.post("/limits/set", 400, limit="smtp")
    full.done("/limits/lift", limit="smtp")
    [bucket] = [each for each in full.queue.limits() if each.limit == "smtp"][:1]
    assert bucket.bound is None
    assert "has no bounds already" in full.post("/limits/lift", 409, limit="smtp").text
    assert "There is no limit smpt" in full.post("/limits/lift", 404, limit="smpt").text
    assert [each.body.limit for each in full.queue.events() if isinstance(each.body, Limited)] == [
        "smtp"
    ] * 3


def test_a_limit_that_nobody_defined_is_lifted(desk: Desk) -> None:
    """Its tasks wait for somebody to say what it is."""
    desk.queue.new({"n": 1}, key="waits", limits={"typo": "typo"})

    assert "is lifted" in desk.done("/limits/lift", limit="typo")
    desk.queue.run(lambda _ctx, _task: None, until="idle", signals=False)
    assert desk.json("/tasks/waits")["row"]["state"] == "completed"


def test_schedules_are_paused_and_triggered(full: Desk) -> None:
    """By the login's name, and by way of the console."""
    full.done("/schedules/check_mail/pause", reason="holiday")
    body = last_body(full.queue, Planned)

    assert (body.by, body.reason, body.via, body.paused) == ("ada", "holiday", "login", True)
    full.done("/schedules/check_mail/resume")
    assert "has made task" in full.done("/schedules/check_mail/trigger")
    assert last_body(full.queue, Ticked).hand == "trigger"


def test_a_claimed_name_is_told_apart(full: Desk) -> None:
    """Without a login, the log says that the name came from the console."""
    full.person = Person("me@here", authenticated=False)
    full.done("/schedules/check_mail/pause")

    assert last_body(full.queue, Planned).via == "console"


def test_a_backfill_is_previewed(full: Desk) -> None:
    """Then no more is made than what the preview said."""
    span = {"since": "2026-01-01T00:00Z", "until": "2026-01-01T01:00Z"}
    before = full.queue.log.head().seq
    page = full.done("/schedules/check_mail/preview", **span)

    assert "would make 6 tasks" in page
    assert "Make these 6 tasks" in page
    assert full.queue.log.head().seq == before
    full.post("/schedules/check_mail/backfill", 400, **span, dues="5")
    assert "has made 6 tasks" in full.done("/schedules/check_mail/backfill", **span, dues="6")


def test_a_reason_may_be_asked_for(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """Without one, nothing is done."""
    task = queue.new({"n": 1})
    desk = make_desk(require_reason=True)
    desk.post(f"/tasks/{task.key}/cancel", 422, reason=" ")

    assert "is cancelled" in desk.done(f"/tasks/{task.key}/cancel", reason="because")
    assert 'id="repeat-reason"' not in desk.get(f"/tasks/{task.key}")
    assert "is made like" in desk.done(f"/tasks/{task.key}/repeat")
    assert "is ready" in desk.done("/new", tags="{}")


def test_no_reason_is_asked_for_that_is_not_kept(make_desk: MakeDesk, queue: eventq.Queue) -> None:
    """The log has no place for why a task was made, so no form asks."""
    task = queue.new({"n": 1})
    queue.cancel(task.key)
    desk = make_desk(require_reason=True)
    page = desk.get(f"/tasks/{task.key}")

    assert 'name="reason"' not in page[page.index("<summary>Repeat") :].partition("</form>")[0]
    assert 'name="reason"' not in desk.get("/new")
    assert "is made like" in desk.done(f"/tasks/{task.key}/repeat")
    assert "is ready" in desk.done("/new", tags="{}")


def test_the_log_is_verified_in_the_background(full: Desk) -> None:
    """The page tells how far it is, and what was found."""
    full.done("/integrity/verify")
    thread = full.app.state.console.checking._thread
    assert isinstance(thread, threading.Thread)
    thread.join(60)

    assert "Nothing is wrong from 1 to" in full.get("/integrity")


@pytest.mark.parametrize(
    "path,status,form",
    [
        ("/tasks/none/retry", 404, {}),
        ("/tasks/img%2F0/retry", 409, {}),
        ("/tasks/img%2F0/cancel", 409, {}),
        ("/tasks/behind/update", 400, {"priority": "high"}),
        ("/tasks/behind/update", 400, {"priority": "\N{ARABIC-INDIC DIGIT SEVEN}"}),
        ("/tasks/behind/update", 400, {"tags": "{"}),
        ("/tasks/behind/update", 400, {"delay": "soon"}),
        ("/new", 400, {"tags": "[1]"}),
        ("/new", 400, {"tags": "{}", "json:dpi": "x"}),
        ("/new", 409, {"tags": '{"other": 1}', "key": "behind"}),
        ("/limits/set", 400, {"limit": "a b", "running": "1"}),
        ("/limits/resume", 400, {"lane": "never"}),
        ("/schedules/none/pause", 400, {}),
        ("/schedules/check_mail/preview", 400, {"since": "x", "until": "y"}),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    full: Desk, path: str, status: int, form: dict[str, str]
) -> None:
    """Each answer has the right status, and says why in words."""
    before = full.queue.log.head()
    answer = full.post(path, status, **form)

    assert "That did not work" in answer.text
    assert full.queue.log.head() == before
