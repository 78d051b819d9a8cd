"""The first event after which a condition holds: exact, with what it changed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from eventq import ArgumentError, Queue, TaskNotFoundError
from eventq.audit.bisect import Found, NotFound, bisect
from eventq.audit.expression.parser import parse_expression
from eventq.audit.expression.view import View
from eventq.eventlog import EventLog, open_log
from eventq.replay.fold import replay
from eventq.replay.points import Point, find_point
from eventq.replay.query import read_events, state_counts
from eventq.snapshot import projection_at
from tests.support import ManualClock


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """The clock of the log; it stands an hour behind the last event."""
    return ManualClock()


@pytest.fixture(scope="module")
def log(clock: ManualClock) -> Iterator[EventLog]:
    """Batches of tasks that fail and are worked off, with conditions that come and go."""
    with Queue("memory://bisected", clock=clock, workers=2, max_retries=1, backoff=0) as queue:
        for _ in range(3):
            queue.new_many({"n": n} for n in range(4))
            clock.advance(1)
            queue.run(worker, until="idle")
            clock.advance(1)
        queue.new(key="late", delay="30m")
        clock.advance(3600)
        yield open_log("memory://bisected")


def worker(_: object, task: object) -> None:
    """Every fourth task always fails."""
    if getattr(task, "tags", {})["n"] == 3:
        raise ValueError("never")


CONDITIONS = [
    "ready == 4",
    "open == 0 and total == 8",
    "expired >= 2",
    "completed == 5",
    "failures == 3",
    "refused > 0",
    "nodes == 1 and ready == 0",
    "seq == 7",
    'task("late")',
    'task(2).state == "leased"',
    'task(4).last_error_type == "ValueError"',
    'count("retried") > 2',
]


def ask(log: EventLog, text: str, good: int = 0, bad: int | None = None) -> Found | NotFound:
    """The answer between two positions; up to the end by itself."""
    points = [find_point(log, "end" if at is None else at, now=0) for at in (good, bad)]
    return bisect(log, parse_expression(text), good=points[0], bad=points[1])


@pytest.mark.parametrize("text", CONDITIONS)
@pytest.mark.parametrize("good", [0, 9])
def test_it_is_the_first_event_as_a_replay_of_each_position_says(
    log: EventLog, text: str, good: int
) -> None:
    """No event before it satisfies the condition, in a fold from the start for each of them."""
    condition = parse_expression(text)
    wanted = [
        seq
        for seq in range(good, log.head().seq + 1)
        if condition.holds(View(log, replay(log, until=seq), keys=condition.keys))
    ]

    if wanted and wanted[0] == good:
        with pytest.raises(ArgumentError, match="does not hold at the good point"):
            ask(log, text, good)
        return
    found = ask(log, text, good)
    if not wanted:
        assert found == NotFound(events=log.head().seq - good, by_time=False)
        return
    assert isinstance(found, Found)
    assert found.event.seq == wanted[0]
    assert found.after == View(log, replay(log, until=wanted[0])).counts()
    assert found.before == View(log, replay(log, until=wanted[0] - 1)).counts()


def test_the_task_before_and_after(log: EventLog) -> None:
    """What the event changed in its task; a new task has no before."""
    failed = ask(log, "failures > 0")
    created = ask(log, "total > 0")

    assert isinstance(failed, Found)
    assert isinstance(created, Found)
    assert failed.task_before is not None
    assert failed.task_after is not None
    assert (failed.task_before.state, failed.task_after.state) == ("leased", "failed")
    assert failed.task_after.last_error is not None
    assert created.task_before is None
    assert created.task_after is not None


def test_what_time_alone_does_is_told(log: EventLog, clock: ManualClock) -> None:
    """No event makes the late task ready."""
    good, bad = (find_point(log, value, now=clock.now_us()) for value in (-1, "end"))
    condition = parse_expression('task("late").state == "ready"')

    assert bisect(log, condition, good=good, bad=bad) == NotFound(events=1, by_time=True)
    assert bisect(log, condition, good=good, bad=Point(bad.seq, good.at)) == NotFound(1, False)  # noqa: FBT003


def test_points_in_the_wrong_order(log: EventLog) -> None:
    """The bad point lies behind the good one; the same position is an empty search."""
    with pytest.raises(ArgumentError, match="a point after the good one, position 9"):
        ask(log, "refused > 0", 9, 8)

    assert ask(log, "refused > 0", 9, 9) == NotFound(events=0, by_time=False)


def test_a_task_that_is_not_there(log: EventLog) -> None:
    """A mistyped key is told at once, instead of a search in vain."""
    with pytest.raises(TaskNotFoundError):
        ask(log, 'task("lat").state == "ready"')


def test_it_stops_at_the_bad_point(log: EventLog) -> None:
    """Also in the middle of a commit."""
    assert ask(log, "total == 4", 0, 3) == NotFound(events=3, by_time=False)
    assert isinstance(ask(log, "total == 3", 0, 3), Found)


def test_a_failure_is_not_scheduled_until_its_retry_is(log: EventLog) -> None:
    """Between a failure and what follows it in the commit, the task is in none of the states."""
    failed = next(event for event in read_events(log, 0) if event.kind == "failed")

    view = View(log, projection_at(log, Point(failed.seq, failed.at)))

    assert view.counts()["scheduled"] == 0
    assert parse_expression("scheduled").value(view) == 0
    assert state_counts(view.projection, now=view.projection.advanced_to)["scheduled"] == 0


def test_numbers_since_the_good_point(log: EventLog) -> None:
    """They count from there, also where a part of the condition is not looked at there."""
    first = ask(log, "expired >= 1")
    assert isinstance(first, Found)
    good = first.event.seq

    second = ask(log, "since_good(expired) >= 1", good=good)
    later = ask(log, 'since_good(count("failed")) >= 3', good=good)
    guarded = ask(log, "total > 8 and since_good(expired) >= 1", good=good)

    assert isinstance(second, Found)
    assert isinstance(later, Found)
    assert isinstance(guarded, Found)
    assert second.event == ask(log, "expired >= 2").event  # type: ignore[union-attr]
    assert later.event.seq > second.event.seq
    assert guarded.event.seq > second.event.seq
    assert ask(log, "seq > 0 and since_good(expired) == expired") == ask(log, "seq > 0")
