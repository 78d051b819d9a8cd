"""What the verifier says of schedules, whoever wrote the log."""

from __future__ import annotations

from typing import Any

import pytest

from eventq.core.commits import AnyBody, Event
from eventq.core.events import Cancelled, Created, Reopening, Retried
from eventq.core.queue_events import Planned, Ticked, Unplanned
from eventq.core.timing import DueRules, Timing
from eventq.core.values import Call, Policy
from tests.checker import check_events

PLAIN = Policy("linear", 1)
MINUTE = Timing(every_us=60, jitter_us=5)
MADE = Created(PLAIN, schedule="s", due=100)
OTHER = Created(PLAIN, schedule="s", due=160)


def plan(name: str = "s", next_at: int | None = 100, **others: Any) -> Planned:  # noqa: ANN401
    """A plan of a schedule of a minute."""
    given: dict[str, Any] = {"timing": MINUTE, "call": Call(PLAIN), "rules": DueRules(), **others}
    return Planned(name, next_at=next_at, **given)


def tick(due: int = 100, outcome: Any = "made", next_at: int | None = 160, **others: Any) -> Ticked:  # noqa: ANN401
    """A tick of it."""
    return Ticked("s", due, outcome, next_at, **others)


def events(*told: tuple[int, int, AnyBody]) -> list[Event]:
    """Events at these instants about these tasks, in order."""
    return [Event(seq, at, task, body) for seq, (at, task, body) in enumerate(told, 1)]


REOPENED = Reopening("cancelled", PLAIN, 100, 0, schedule="s", due=100)
BEGUN = (10, 0, plan())
FIRST = [BEGUN, (100, 0, tick()), (100, 3, MADE)]


@pytest.mark.parametrize(
    "told",
    [
        FIRST,
        [*FIRST, (170, 0, tick(160, next_at=None)), (170, 5, OTHER)],
        [*FIRST, (160, 0, tick(160, "skipped", next_at=220))],
        [*FIRST, (300, 0, tick(160, "missed", next_at=340, count=3))],
        [(10, 0, plan(shift_us=4)), (104, 0, tick(outcome="skipped"))],
        [BEGUN, (20, 0, plan(paused=True)), (130, 0, tick(outcome="paused")),
         (130, 0, plan(next_at=160))],
        [BEGUN, (20, 0, tick(20, next_at=None, hand="trigger")),
         (20, 3, Created(PLAIN, schedule="s", due=20))],
        [BEGUN, (20, 0, tick(20, "skipped", next_at=None, hand="backfill"))],
        [BEGUN, (20, 0, Unplanned("s")), (30, 0, plan(next_at=40))],
        [*FIRST, (120, 0, plan(next_at=130)), (130, 0, tick(130, "skipped"))],
        [*FIRST, (101, 3, Cancelled()), (102, 3, Retried(102, REOPENED))],
    ],
)  # fmt: skip
def test_what_is_right_is_not_found(told: list[tuple[int, int, AnyBody]]) -> None:
    """Each due once, in order, with its task right behind it; by hand beside them."""
    assert check_events(events(*told)).events == len(told)


@pytest.mark.parametrize(
    "told, problem",
    [
        ([(100, 0, tick())], "1: no schedule 's' to tick"),
        ([(10, 0, Unplanned("s"))], "1: no schedule 's' to forget"),
        ([*FIRST, (120, 0, tick(outcome="skipped"))], "4: schedule 's' ticks 100, but next comes"),
        ([*FIRST, (300, 0, tick(220, "skipped"))], "4: schedule 's' ticks 220, but next comes 160"),
        ([BEGUN, (99, 0, tick(outcome="skipped"))], "2: schedule 's' ticks too early"),
        (
            [(10, 0, plan(shift_us=4)), (103, 0, tick(outcome="skipped"))],
            "2: schedule 's' ticks too early",
        ),
        ([BEGUN, (100, 0, tick(outcome="skipped", next_at=100))], "2: schedule 's' goes back"),
        ([*FIRST, (120, 0, plan(next_at=100))], "4: schedule 's' goes back behind a due"),
        (
            [(10, 0, plan(paused=True)), (100, 0, tick(outcome="skipped"))],
            "2: schedule 's' ticks while it is paused",
        ),
        ([BEGUN, (100, 0, tick(outcome="paused"))], "2: schedule 's' ticks while it is paused"),
        ([BEGUN, (100, 0, tick(outcome="skipped", count=2))], "2: schedule 's' ticks for 2 dues"),
        ([BEGUN, (100, 0, tick(outcome="missed", count=0))], "2: schedule 's' ticks for 0 dues"),
        (
            [BEGUN, (20, 0, tick(20, "skipped", hand="trigger"))],
            "2: schedule 's' is moved by hand",
        ),
        ([BEGUN, (100, 0, tick()), (100, 3, OTHER)], "3: no task of schedule 's'"),
        ([BEGUN, (100, 0, tick()), (100, 3, Created(PLAIN))], "3: no task of schedule 's'"),
        ([BEGUN, (100, 0, tick()), (101, 3, MADE)], "2: schedule 's' made no task"),
        ([(10, 1, MADE)], "1: a task of a schedule that has not ticked"),
        ([(10, 0, plan("a b"))], "1: 'a b' is no name"),
        ([(10, 0, plan(timing=Timing()))], "1: schedule 's' has no timing, or two"),
        ([(10, 0, plan(timing=Timing(every_us=0)))], "1: schedule 's' comes in no time"),
        ([(10, 0, plan(shift_us=6))], "1: schedule 's' is put off by more than its jitter"),
        ([(10, 0, plan(rules=DueRules(-1)))], "1: schedule 's' has no such rules"),
        ([(10, 1, Created(PLAIN)), (10, 1, plan())], "2: planned names a task"),
        (
            [
                *FIRST,
                (101, 3, Cancelled()),
                (102, 3, Retried(102, Reopening("cancelled", PLAIN, 100, 0))),
            ],
            "5: brings back another schedule",
        ),
    ],
)
def test_what_is_wrong_is_found(told: list[tuple[int, int, AnyBody]], problem: str) -> None:
    """At its position."""
    with pytest.raises(AssertionError) as caught:
        check_events(events(*told))

    assert str(caught.value).startswith(problem)
