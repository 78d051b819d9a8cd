"""What the verifier says of unique values and of followers, whoever wrote the log."""

from __future__ import annotations

import pytest
from msgspec import Raw

from eventq.core.commits import AnyBody, Event
from eventq.core.events import Cancelled, Completed, Created, Leased, Reopening, Retried, Updated
from eventq.core.queue_events import Followed, Unfollowed
from eventq.core.values import Policy
from tests.checker import check_events

PLAIN = Policy("linear", 1)
MADE = Created(PLAIN, unique="sun")
REOPENED = Retried(30, Reopening("cancelled", PLAIN, 10, 0, unique="sun"))
ALERTS = Followed("alerts", 0, "anna", 20)


def events(*told: tuple[int, int, AnyBody]) -> list[Event]:
    """Events at these instants about these tasks, in order."""
    return [Event(seq, at, task, body) for seq, (at, task, body) in enumerate(told, 1)]


@pytest.mark.parametrize(
    "told",
    [
        [(10, 1, MADE), (10, 2, Created(PLAIN, unique="moon"))],
        [(10, 1, MADE), (20, 1, Cancelled()), (20, 3, MADE)],
        [(10, 1, MADE), (20, 1, Leased(1, "n", 9)), (20, 1, Completed(2)), (30, 4, MADE)],
        [(10, 1, MADE), (20, 1, Cancelled()), (30, 1, REOPENED)],
        [(10, 1, MADE), (20, 1, Updated(tags=Raw(b'{"a":1}'))), (30, 3, Created(PLAIN))],
        [(10, 0, ALERTS), (20, 0, Followed("alerts", 1, "anna", 20))],
        [(10, 0, ALERTS), (30, 0, Followed("alerts", 1, "bert", 20))],
        [(10, 0, Followed("alerts", 0, "anna", 0)), (11, 0, Followed("alerts", 1, "bert", 20))],
        [(10, 1, MADE), (11, 0, Followed("a", 1, "n", 9)), (12, 0, Unfollowed("a")),
         (12, 0, Followed("a", 0, "m", 9))],
    ],
)  # fmt: skip
def test_what_is_right_is_not_found(told: list[tuple[int, int, AnyBody]]) -> None:
    """One open task a value at a time; a position moves forward, by whoever has the lease."""
    assert check_events(events(*told)).events == len(told)


@pytest.mark.parametrize(
    "told, problem",
    [
        ([(10, 1, MADE), (10, 2, MADE)], "2: task 1 is open and has the unique value"),
        (
            [(10, 1, MADE), (20, 1, Cancelled()), (20, 3, MADE), (30, 1, REOPENED)],
            "4: task 3 is open and has the unique value",
        ),
        (
            [
                (10, 1, Created(PLAIN)),
                (20, 1, Cancelled()),
                (30, 1, REOPENED),
            ],
            "3: brings back another unique",
        ),
        ([(10, 0, Followed("alerts", 1, "anna", 20))], "1: follower 'alerts' is beyond the event"),
        (
            [(10, 1, MADE), (10, 0, Followed("alerts", 1, "anna", 20)), (11, 0, ALERTS)],
            "3: follower 'alerts' goes back behind 1",
        ),
        (
            [(10, 0, ALERTS), (29, 0, Followed("alerts", 1, "bert", 20))],
            "2: follower 'alerts' is held by 'anna'",
        ),
        ([(10, 0, Unfollowed("alerts"))], "1: no follower 'alerts' to forget"),
        ([(10, 0, Followed("alerts", 0, "", 20))], "1: follower 'alerts' is held by no node"),
        ([(10, 0, Followed("a b", 0, "n", 20))], "1: 'a b' is no name"),
        ([(10, 1, MADE), (10, 1, ALERTS)], "2: followed names a task"),
    ],
)
def test_what_is_wrong_is_found(told: list[tuple[int, int, AnyBody]], problem: str) -> None:
    """At its position."""
    with pytest.raises(AssertionError) as caught:
        check_events(events(*told))

    assert str(caught.value).startswith(problem)
