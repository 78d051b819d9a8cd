"""Deciding about commands on one task, in each of its states."""

from __future__ import annotations

import pytest
from msgspec import Raw

from eventq.core.asking import Asking
from eventq.core.audience import Audience
from eventq.core.create import NewTask
from eventq.core.events import Cancelled, Reopening, Retried, Updated
from eventq.core.link import Link
from eventq.core.manage import CancelTask, ManageTask, RetryTask, UpdateTask
from eventq.core.projection import Projection
from eventq.core.settle import Outcome
from eventq.core.task import Route, TaskState
from eventq.core.values import Policy
from eventq.errors import ArgumentError, LogTooNewError, NotAllowedError
from tests import deciding as decide
from tests.core.bench import AGING, ERROR, Bench, order
from tests.deciding import FoundPast
from tests.driver import append_texts, record, task_in


def state_bench(state: str) -> Bench:
    """A bench whose task 1 is in a state."""
    bench = Bench()
    wait = 50 if state == "scheduled" else None
    bench.have(NewTask(b'{"a":1}', AGING, 3, "k", delay_us=wait and wait - 10))
    if state in {"leased", "completed", "expired"}:
        [fence] = bench.lease()
        outcome = Outcome(1, fence, "completed")
        if state == "expired":
            outcome = Outcome(1, fence, "failed", error=ERROR, delay_us=1_000)
        if state != "leased":
            drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)
            record(bench.log, bench.projection, drafts, now=100)
    if state == "cancelled":
        record(bench.log, bench.projection, [(1, Cancelled(reason="why"))], now=100)
    return bench


ALL = ["scheduled", "ready", "leased", "completed", "expired", "cancelled"]


@pytest.mark.parametrize("state", ALL)
def test_cancel_by_state(state: str) -> None:
    """Open tasks are called off, twice is once, other final tasks refuse."""
    task = task_in(state_bench(state).log, 1)

    if state in {"completed", "expired"}:
        with pytest.raises(NotAllowedError, match=f"cannot cancel task 'k': it is {state}"):
            decide.cancel(task, reason="no", by="me")
    else:
        expected = [] if state == "cancelled" else [(1, Cancelled(reason="no", by="me"))]
        assert decide.cancel(task, reason="no", by="me") == expected


@pytest.mark.parametrize("state", ALL)
def test_retry_by_state(state: str) -> None:
    """Waiting tasks may run now, given-up ones are reopened, running and done ones refuse."""
    task = task_in(state_bench(state).log, 1)
    expected: dict[str, object] = {
        "scheduled": Updated(scheduled_at=120, by="me"),
        "expired": Retried(
            120,
            Reopening("expired", AGING, 100, 1, "k", 3, Raw(b'{"a":1}'), 170, ERROR),
            by="me",
        ),
        "cancelled": Retried(
            120, Reopening("cancelled", AGING, 100, 0, "k", 3, Raw(b'{"a":1}'), 170), by="me"
        ),
    }

    if state in {"leased", "completed"}:
        with pytest.raises(NotAllowedError, match=f"cannot retry task 'k': it is {state}"):
            decide.retry(task, by="me", now=120)
    else:
        drafts = decide.retry(task, by="me", now=120)
        assert drafts == ([(1, expected[state])] if state in expected else [])


def test_retry_of_a_task_without_max_age_drops_its_expiry(bench: Bench) -> None:
    """An instant once given has passed; without a max_age nothing replaces it."""
    bench.have(order(expires_at=110))
    drafts = decide.expire(bench.projection, room=1, now=110)
    record(bench.log, bench.projection, drafts, now=110)

    [(_, body)] = decide.retry(task_in(bench.log, 1), by=None, now=200)

    assert isinstance(body, Retried)
    assert body.reopens is not None
    assert body.reopens.expires_at is None


def test_reopened_task_runs_again_with_fresh_retries(bench: Bench) -> None:
    """Attempts count on, retries start over."""
    bench.have(order(policy=Policy("constant", 1, max_retries=1)))
    for now in (100, 101):
        [fence] = bench.lease(now=now)
        outcome = Outcome(1, fence, "failed", error=ERROR)
        drafts = decide.settle(bench.projection, [outcome], worker="n", now=now)
        record(bench.log, bench.projection, drafts, now=now)

    record(
        bench.log, bench.projection, decide.retry(task_in(bench.log, 1), by=None, now=110), now=110
    )

    task = bench.projection.tasks[1]
    assert (task.attempt, task.retry_count, task.last_error) == (2, 0, ERROR)
    assert bench.projection.final_counts() == {"completed": 0, "expired": 0, "cancelled": 0}


@pytest.mark.parametrize("state", ["leased", "completed", "expired", "cancelled"])
def test_update_only_while_waiting(state: str) -> None:
    """What runs or is final cannot be edited."""
    task = task_in(state_bench(state).log, 1)

    with pytest.raises(NotAllowedError, match=f"cannot update task 'k': it is {state}"):
        decide.update(task, priority=9, tags_json=None, scheduled_at=None, by=None)


@pytest.mark.parametrize(
    "priority, tags, scheduled_at, lane, body",
    [
        (9, None, None, None, Updated(9, by="me")),
        (None, b'{"b":2}', None, None, Updated(tags=Raw(b'{"b":2}'), by="me")),
        (None, None, 149, None, Updated(scheduled_at=149, by="me")),
        (None, None, None, "mail", Updated(lane="mail", by="me")),
        (0, b"{}", 0, "default", Updated(0, Raw(b"{}"), 0, by="me")),
        (3, b'{"a":1}', 100, "default", None),
        (3, b'{"a":2}', 100, None, Updated(tags=Raw(b'{"a":2}'), by="me")),
        (None, None, None, None, None),
    ],
)
def test_update_records_only_changes(
    priority: int | None,
    tags: bytes | None,
    scheduled_at: int | None,
    lane: str | None,
    body: Updated | None,
) -> None:
    """What is equal already makes no event, and zero is a value."""
    task = task_in(state_bench("ready").log, 1)

    drafts = decide.update(
        task, priority=priority, tags_json=tags, scheduled_at=scheduled_at, lane=lane, by="me"
    )

    assert drafts == ([] if body is None else [(1, body)])


@pytest.mark.parametrize("scheduled_at", [150, 151])
def test_update_keeps_the_schedule_before_expiry(scheduled_at: int) -> None:
    """A task is never moved to where it could not run."""
    task = task_in(state_bench("ready").log, 1)

    with pytest.raises(ArgumentError, match="scheduled_at: expected an instant before"):
        decide.update(task, priority=None, tags_json=None, scheduled_at=scheduled_at, by=None)


def test_a_task_that_a_newer_eventq_has_touched_is_left_alone(bench: Bench) -> None:
    """Whatever a person asks of it is refused, naming the event; others are not concerned."""
    bench.have(order(key="k"), order(key="other"))
    append_texts(bench.log, [1], '{"kind":"frozen","until":7}')
    bench.projection.apply(bench.log.read(after=2)[0])
    edits: tuple[CancelTask | RetryTask | UpdateTask, ...] = (
        CancelTask(Asking(reason="why")),
        RetryTask(),
        UpdateTask(7),
    )

    for edit in edits:
        with pytest.raises(LogTooNewError, match=r"event 3 about task k is of .* kind 'frozen'"):
            ManageTask("k", edit).decide(bench.projection, decide.NOTHING, 100)
    decision = ManageTask("other", edits[0]).decide(bench.projection, decide.NOTHING, 100)

    assert decision.events == [(2, Cancelled(reason="why"))]


def test_a_reopened_task_keeps_its_name_lane_needs_and_snoozes(bench: Bench) -> None:
    """Projections have forgotten them; the event brings them back."""
    bench.have(order(route=Route("a", "heavy", ())))
    [fence] = bench.lease("n", audience=Audience(("a",)))
    outcomes = [Outcome(1, fence, "released", delay_us=0)]
    drafts = decide.settle(bench.projection, outcomes, worker="n", now=100)
    record(bench.log, bench.projection, drafts, now=100)
    record(bench.log, bench.projection, [(1, Cancelled())], now=100)

    drafts = decide.retry(task_in(bench.log, 1), by=None, now=110)
    record(bench.log, bench.projection, drafts, now=110)

    task = bench.projection.tasks[1]
    assert (task.name, task.lane, task.snoozes) == ("a", "heavy", 1)
    assert task == task_in(bench.log, 1)


def test_a_retry_of_what_is_not_folded_yet_changes_nothing() -> None:
    """Where several may append at a time, the log may hold a task that the projection does not."""
    bench = Bench()
    bench.have(order())
    bench.have(order(link=Link((1,))))
    task = task_in(bench.log, 2)

    decision = ManageTask("2", RetryTask()).decide(Projection("default"), FoundPast(task), 10)

    assert task.recorded_state is TaskState.WAITING
    assert decision.events == []
