"""Rights that are bound to lanes hold where an act is committed, whatever moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from eventq.core.bulk import ChangePortion
from eventq.core.manage import ManageTask, RepeatTask
from eventq.core.scheduling import EditSchedule, MakeByHand
from eventq.web.access import Right
from tests.web.desk import Desk

EVERYTHING = tuple(Right)


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
