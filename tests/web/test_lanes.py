"""Rights that are bound to lanes hold where an act is committed, whatever moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

import eventq
from eventq.catalog.catalog import Catalog
from eventq.catalog.plan import Plan
from eventq.core.bulk import BeginBulk, ChangePortion
from eventq.core.manage import ManageTask, RepeatTask
from eventq.core.scheduling import EditSchedule, MakeByHand
from eventq.replay.fold import task_of
from eventq.web.access import Right
from tests.support import node_of
from tests.web.desk import Desk, MakeDesk
from tests.web.leaks import numbers_of, paths_to

EVERYTHING = tuple(Right)
# Stands in all that tasks of another lane have.
MARK = "h34vy"
THEIRS: dict[str, Any] = {"name": f"{MARK}.job", "lane": "heavy", "priority": 5}
MINE: dict[str, Any] = {"name": "mine", "lane": "mail"}


def before(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: type, happens: Callable[[], object]
) -> None:
    """Something happens between the console's check and the first commit of such a command."""
    node = desk.app.state.console.node
    execute = node.execute

    def hooked(command: Any) -> Any:  # noqa: ANN401 - any command
        if isinstance(command, kind):
            monkeypatch.setattr(node, "execute", execute)
            happens()
        return execute(command)

    monkeypatch.setattr(node, "execute", hooked)


@pytest.mark.parametrize("act", ["retry", "cancel", "update"])
def test_a_task_that_is_moved_between_check_and_commit_stays(
    full: Desk, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    """The commit finds it in a lane of others: nothing is done, and the lane is not told."""
    queue = full.queue
    task = queue.new({"n": 1}, name="nobody", lane="mail", key="one", delay="1h")
    full.may(*EVERYTHING, lanes=["mail"])
    before(full, monkeypatch, ManageTask, lambda: queue.update(task.key, lane="heavy"))
    answer = full.post(f"/tasks/one/{act}", 409, priority="3")

    assert "it is in a lane that is not yours" in answer.text
    assert "heavy" not in answer.text
    assert [event.kind for event in queue.history("one")] == ["created", "updated"]


def test_a_task_that_is_moved_before_it_is_repeated_is_not(
    full: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A final one is moved by being retried first."""
    queue = full.queue
    queue.new({"n": 1}, name="nobody", lane="mail", key="one")
    queue.cancel("one")

    def move() -> None:
        queue.retry("one")
        queue.update("one", lane="heavy")
        queue.cancel("one")

    full.may(*EVERYTHING, lanes=["mail"])
    before(full, monkeypatch, RepeatTask, move)
    answer = full.post("/tasks/one/repeat", 409)

    assert "it is in a lane that is not yours" in answer.text
    assert not queue.tasks(lane="heavy", state="ready")


@pytest.mark.parametrize("is_undo", [False, True])
def test_what_is_moved_under_a_change_to_many_stays(
    full: Desk, monkeypatch: pytest.MonkeyPatch, *, is_undo: bool
) -> None:
    """It does not look any more as it did in the preview, nor as it did behind what is undone."""
    queue = full.queue
    task = queue.new({"n": 1}, name="nobody", lane="mail", key="one")
    queue.update("one", priority=2, by="eve")
    edit = queue.log.head().seq
    full.may(*EVERYTHING, lanes=["mail"])
    before(full, monkeypatch, ChangePortion, lambda: queue.update("one", lane="heavy"))
    if is_undo:
        full.post(f"/changes/{edit}/undo", 409)
    else:
        form = {"filter": f"number={task.number}", "action": "cancel"}
        plan = full.post("/plans", 303, **form).headers["location"].partition("?")[0]
        full.post(f"{plan}/apply", 303, reason="why")
        page = full.get(plan)

        assert "<strong>0</strong> changed" in page
    last = queue.history("one")[-1]
    assert (last.kind, last.body.lane) == ("updated", "heavy")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "act, kind", [("pause", EditSchedule), ("trigger", MakeByHand), ("backfill", MakeByHand)]
)
def test_a_schedule_that_is_moved_between_check_and_commit_stays(
    full: Desk, monkeypatch: pytest.MonkeyPatch, act: str, kind: type
) -> None:
    """Code that is new may make its tasks in another lane."""
    queue = full.queue
    known = queue.schedules["check_mail"].look()
    call = replace(known.planned.call, lane="heavy")
    moved = EditSchedule("check_mail", known.seq, (replace(known.planned, call=call),))
    full.may(*EVERYTHING, lanes=["default"])
    node = full.app.state.console.node
    before(full, monkeypatch, kind, lambda: node.execute(moved))
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z", "dues": "9"}
    answer = full.post(f"/schedules/check_mail/{act}", 400, reason="why", **span)

    assert "in a lane of yours" in answer.text
    assert not queue.tasks(lane="heavy")
    assert not queue.schedules["check_mail"].look().planned.paused


def share_a_queue(queue: eventq.Queue) -> None:
    """Tasks of two lanes that come after each other, overtake and keep each other back."""
    tags, me = {"to": f"{MARK}@example.org"}, {"to": "me"}

    @queue.task(f"{MARK}.sweep", lane="heavy")
    def sweep() -> None: ...

    def work(_ctx: eventq.Context, task: eventq.Task) -> object:
        if task.tags.get("fails"):
            raise ConnectionError(f"no {task.tags['to']}")
        return task.tags

    queue.limit("smtp", running=1)
    queue.new(tags, key=f"{MARK}/1", limits={"smtp": "a"}, **THEIRS)
    queue.new({**tags, "fails": 1}, key=f"{MARK}/2", max_retries=0, **THEIRS)
    queue.new({**me, "fails": 1}, key="mine/0", max_retries=0, **MINE)
    with queue.flow("flow/both") as flow:
        first = flow.new(tags, key=f"{MARK}/flow", **THEIRS)
        flow.new(me, after=[first], **MINE)
    queue.every("1h", sweep, schedule=f"{MARK}-sweep")
    queue.run(work, until="idle", signals=False, names=[f"{MARK}.job", "mine"])
    queue.schedules[f"{MARK}-sweep"].pause(by="ada", reason=f"not {MARK}")
    queue.schedules[f"{MARK}-sweep"].trigger(by="ada")
    queue.new(tags, key=f"{MARK}/9", delay="1h", **THEIRS)
    queue.new(me, key="mine/after", after=[f"{MARK}/9"], **MINE)
    queue.new(me, key="mine/unique", unique="one", **MINE)
    queue.cancel("mine/unique")
    queue.new(tags, key=f"{MARK}/unique", unique="one", delay="1h", **THEIRS)
    queue.pause(lane="heavy", by="ada", reason=f"since {MARK}")
    queue.new(me, key="mine/first", delay="1h", **MINE)
    queue.update(f"{MARK}/9", priority=7, by="ada", reason=f"for {MARK}")
    queue.select(state="expired").retry().apply(by="ada", reason="all")


@pytest.fixture(params=[True, False])
def shared(make_desk: MakeDesk, queue: eventq.Queue, request: pytest.FixtureRequest) -> Desk:
    """Who may do everything in one of two lanes, with and without a catalog."""
    share_a_queue(queue)
    if request.param:
        with closing(Catalog.open(queue.log)) as catalog:
            catalog.catch_up()
    desk = make_desk()
    desk.may(*EVERYTHING, lanes=["mail"])
    return desk


def test_nothing_of_another_lane_is_told(shared: Desk) -> None:
    """Neither keys, names and tags of its tasks, nor its schedules: on no page, at no moment.

    What nodes run is the whole queue's.
    """
    last, numbers = shared.queue.log.head().seq, numbers_of(shared)
    paths = paths_to(numbers, last)
    data = [path for path in paths if path != "/"]
    asked = [*paths, *(f"/api{path}" for path in data), "/metrics"]
    asked += [f"/export/{name}" for name in ("tasks.jsonl", "changes.jsonl?parts=true")]
    moments = range(4, last, 9)
    asked += [f"/api{path}{'&' if '?' in path else '?'}at={m}" for m in moments for path in data]
    told = {path: shared.asked(path).text for path in asked}
    for moment in moments:
        now = shared.json(f"/now?at={moment}")
        told[f"/now?at={moment}"] = str({**now, "nodes": []})
    after = shared.json("/tasks/mine%2Fafter")

    assert after["row"]["waits_for"] == f"task {after['events'][0]['body']['after'][0][0]}"
    assert {path for path, text in told.items() if MARK in text} == set()


def test_no_act_reaches_another_lane(shared: Desk) -> None:
    """Each on every task, schedule and change, and on all that fit."""
    queue = shared.queue
    numbers, head = numbers_of(shared), queue.log.head().seq
    said = []

    def send(path: str, **form: str) -> str:
        answer = shared.sent(path, reason="why", **form)
        # A page has its own path in it.
        said.append(answer.text.replace(path, ""))
        where = answer.headers.get("location", "/")
        said.append(shared.asked(where).text)
        return where.partition("?")[0]

    for number in numbers:
        for act in ("retry", "cancel", "repeat", "update"):
            send(f"/tasks/{number}/{act}", priority="3")
        send(f"/tasks/{number}/update", lane="mail")
        send(f"/tasks/{number}/update", lane="heavy")
    for act in ("pause", "resume", "trigger"):
        send(f"/schedules/{MARK}-sweep/{act}")
    for seq in range(1, head + 1):
        send(f"/changes/{seq}/undo")
        send(f"/changes/{seq}/finish")
    for action in ("retry", "cancel", "update"):
        plan = send("/plans", filter="created_after=-1d", action=action, priority="4")
        send(f"{plan}/apply")
    for act in ("pause", "resume"):
        send(f"/limits/{act}", lane="heavy", cancel_running="yes")
        send(f"/limits/{act}", everything="yes")
        send(f"/limits/{act}", name=f"{MARK}.job")
    send("/new", lane="heavy")
    send("/limits/set", limit="smtp", running="9")
    send("/limits/lift", limit="smtp")
    events = [event for event in queue.events() if event.seq > head]
    reached = [event for event in events if event.task and lane_of(queue, event.task) != "mail"]

    assert {event.kind for event in events} >= {"bulk", "cancelled", "retried", "updated"}
    assert {event.kind for event in events if not event.task} == {"bulk", "bulk_ended"}
    assert reached == []
    assert not any(MARK in text for text in said)


def lane_of(queue: eventq.Queue, number: int) -> str | None:
    """The lane that a task is in."""
    task = task_of(queue.log, number)
    return None if task is None else task.lane


def test_to_cancel_what_runs_takes_the_right_to_cancel(full: Desk) -> None:
    """Also with a pause; the form does not offer it."""
    full.may(Right.PAUSE)
    before = full.queue.log.head()
    page = full.get("/limits")
    answer = full.post("/limits/pause", 403, lane="default", cancel_running="yes")

    assert "it takes the right to cancel" in answer.text
    assert full.queue.log.head() == before
    assert "cancel_running" not in page
    full.done("/limits/pause", lane="default")
    full.may(Right.PAUSE, Right.CANCEL)
    full.done("/limits/pause", lane="default", cancel_running="yes")


def test_a_schedule_does_not_come_back_to_a_lane_of_others(full: Desk) -> None:
    """By taking back what has moved it, which is of both lanes."""
    queue = full.queue
    known = queue.schedules["check_mail"].look()
    call = replace(known.planned.call, lane="heavy")
    moved = EditSchedule("check_mail", known.seq, (replace(known.planned, call=call),))
    node_of(queue).execute(moved)
    position = queue.log.head().seq
    full.may(*EVERYTHING, lanes=["heavy"])
    answer = full.post(f"/changes/{position}/undo", 403)
    full.may(*EVERYTHING, lanes=["heavy", "default"])
    full.done(f"/changes/{position}/undo")

    assert "You may not act on tasks of lane default." in answer.text
    assert queue.schedules["check_mail"].look().planned.call.lane is None


def test_to_finish_an_undo_takes_the_right_to_undo(full: Desk) -> None:
    """Beside those of what it takes back."""
    queue = full.queue
    done = queue.select(state="ready").cancel().apply(by="eve")
    undo = queue.undo(done.id)
    assert isinstance(undo, Plan)
    number = node_of(queue).execute(BeginBulk(undo._wanted)).first
    full.may(Right.BULK, Right.CANCEL, Right.PAUSE)
    answer = full.post(f"/changes/{number}/finish", 403)
    full.may(Right.BULK, Right.CANCEL, Right.PAUSE, Right.UNDO)
    full.done(f"/changes/{number}/finish")

    assert "it takes the right to undo" in answer.text
    assert queue.stats().cancelled == 0
