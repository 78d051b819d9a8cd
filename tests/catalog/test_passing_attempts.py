"""Attempts that a pass finds, against those that the history of each task tells."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from eventq.catalog.catalog import Catalog
from eventq.catalog.passing_attempts import attempts_over, ever
from eventq.catalog.record import TaskRecord
from eventq.catalog.selector import Selector
from eventq.core.commits import Event
from eventq.core.events import Leased, Refused
from eventq.eventlog import EventLog
from eventq.replay.attempts import past_attempts
from eventq.replay.fold import decode_histories
from eventq.replay.instants import in_us
from eventq.replay.points import Point
from tests.catalog.test_counting import log_of
from tests.stage import Stage

EVERYTHING = Selector()


@pytest.fixture(scope="module", params=["generated", "bulk", "stage"])
def log(request: pytest.FixtureRequest) -> EventLog:
    """A log in which most things happen."""
    return log_of(request.param)


def histories_of(log: EventLog) -> dict[int, list[Event]]:
    """All tasks' histories."""
    numbers = {number for commit in log.read(after=0, limit=10**6) for number in commit.tasks}
    return decode_histories(log.histories(sorted(numbers - {0})))


def test_each_attempt_is_as_its_history_tells(log: EventLog) -> None:
    """Its node, its begin and end, its outcome, its error, and what came late."""
    head = log.head()
    expected = []
    for number, history in histories_of(log).items():
        for each in past_attempts(log.namespace, history):
            if each.ended_at is not None:
                started, ended = in_us(each.started_at), in_us(each.ended_at)
                error = None if each.error is None else each.error.type
                row = (number, each.attempt, each.node, started, ended, each.outcome, error)
                expected.append((each.fence, *row, each.late))

    found = [
        (
            each.fence,
            each.task.number,
            each.attempt,
            each.node,
            each.started_at,
            each.ended_at,
            each.outcome,
            each.task.error_type,
            each.late,
        )
        for each in attempts_over(log, EVERYTHING, Point(head.seq, head.at))
    ]
    assert sorted(found) == sorted(expected)
    assert len(found) > 50


def test_conditions_are_asked_of_the_attempt_itself(log: EventLog) -> None:
    """A selector finds just those that it fits among all."""
    head = log.head()
    point = Point(head.seq, head.at)
    everything = list(attempts_over(log, EVERYTHING, point))
    for selector in (
        Selector(lapsed=True),
        Selector(refused=True),
        Selector(ran_twice=True),
        Selector(states=("expired",)),
        Selector(states=("scheduled", "ready"), error="*"),
        Selector(ran_us=1_000_000),
        Selector(node=everything[0].node),
        Selector(ended_after=everything[len(everything) // 2].ended_at),
    ):
        wanted = [each for each in everything if selector.matches(each.task)]
        assert list(attempts_over(log, selector, point)) == wanted


def test_the_catalog_names_all_tasks_that_have_such_attempts(log: EventLog, tmp_path: Path) -> None:
    """So that a look at these finds what a pass finds, at the end and before."""
    head = log.head()
    with closing(Catalog.open(log, tmp_path / "a.catalog")) as catalog:
        catalog.catch_up()
        for seq in (head.seq, head.seq // 2):
            point = Point(seq, log.read(after=seq - 1, limit=1)[0].at)
            everything = list(attempts_over(log, EVERYTHING, point))
            some = everything[len(everything) // 2]
            for selector in (
                Selector(lapsed=True),
                Selector(lapsed=False, error="*"),
                Selector(refused=True, ran_us=1),
                Selector(ran_twice=True),
                Selector(min_attempts=2, waited_us=1),
                Selector(states=("expired",), ran_us=1_000),
                Selector(node=some.node, error="OSError"),
                Selector(names=(some.task.name or "none",), ended_before=some.ended_at),
            ):
                numbers = catalog.tasks_once(ever(selector), point)
                found = list(attempts_over(log, selector, point, numbers=numbers))
                assert found == list(attempts_over(log, selector, point)), selector


def test_what_came_late_ran_twice_where_there_was_another_attempt(log: EventLog) -> None:
    """Whether that began before the outcome came, or later."""
    head = log.head()
    histories = histories_of(log)
    for each in attempts_over(log, EVERYTHING, Point(head.seq, head.at)):
        history = histories[each.task.number]
        later = any(type(e.body) is Leased and e.seq > each.fence for e in history)
        late = any(type(e.body) is Refused and e.body.fence == each.fence for e in history)
        assert each.task.ran_twice is (late and later)


def test_an_attempt_has_an_error_only_if_it_failed() -> None:
    """Not that of the attempt before it."""
    stage = Stage()
    number = stage.new()
    stage.lease()
    stage.settle(number, "failed")
    stage.wait("1m")
    stage.lease("h2")
    stage.settle(number)

    tasks: list[TaskRecord] = [e.task for e in attempts_over(stage.log, EVERYTHING, stage.end)]
    assert [(task.error_type, task.nodes) for task in tasks] == [
        ("OSError", ("h1",)),
        (None, ("h2",)),
    ]
