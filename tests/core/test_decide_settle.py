"""Deciding how attempts ended: what each outcome records, and which are refused."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from eventq.core.audience import Audience
from eventq.core.command import NEW, Draft
from eventq.core.commits import Event
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Failed,
    Leased,
    Progressed,
    Refused,
    Released,
    Retried,
    Saved,
)
from eventq.core.places import Vacancy
from eventq.core.queue_events import Joined
from eventq.core.settle import Outcome, SettleAndLease
from eventq.core.task import Route
from eventq.core.values import NODE, ErrorInfo, Policy
from tests import deciding as decide
from tests.core.bench import ERROR, PLAIN, Bench, order
from tests.driver import record


@pytest.mark.parametrize(
    "options, bodies",
    [
        ({"kind": "completed"}, [Completed(2)]),
        ({"kind": "completed", "result_json": b"[1]"}, [Completed(2, Raw(b"[1]"))]),
        (
            {"kind": "completed", "result_missing": "too long"},
            [Completed(2, UNSET, "too long")],
        ),
        ({"kind": "released", "reason": "stop"}, [Released(2, "stop")]),
        ({"kind": "released", "reason": "busy", "delay_us": 7}, [Released(2, "busy", 107)]),
        ({"kind": "failed", "error": ERROR}, [Failed(2, ERROR), Retried(110)]),
        (
            {"kind": "failed", "error": ERROR, "fatal": True, "delay_us": 3},
            [Failed(2, ERROR), Expired("fatal")],
        ),
        (
            {"kind": "failed", "error": ERROR, "rule": "OSError", "delay_us": 3},
            [Failed(2, ERROR, "OSError"), Retried(103)],
        ),
        ({"kind": "failed", "error": ERROR, "delay_us": 3}, [Failed(2, ERROR), Retried(103)]),
        (
            {"kind": "cancelled", "reason": "gone"},
            [Failed(2, ErrorInfo("eventq.Cancel", "gone")), Cancelled(reason="gone", by="n")],
        ),
        (
            {"kind": "cancelled", "reason": "gone", "error": ERROR},
            [Failed(2, ERROR), Cancelled(reason="gone", by="n")],
        ),
    ],
)
def test_settle_records_each_outcome(
    bench: Bench, options: dict[str, object], bodies: list[object]
) -> None:
    """One event for what is over, two for a failure: the second says what follows."""
    bench.have(order())
    bench.lease()

    drafts = decide.settle(bench.projection, [Outcome(1, 2, **options)], worker="n", now=100)  # type: ignore[arg-type]

    assert drafts == [(1, body) for body in bodies]


@pytest.mark.parametrize(
    "policy, expires_at, reason",
    [
        (Policy("linear", 10, max_retries=0), None, "max_retries"),
        (PLAIN, 110, "max_age"),
    ],
)
def test_settle_expires_what_cannot_be_retried(
    bench: Bench, policy: Policy, expires_at: int | None, reason: str
) -> None:
    """The last failure says at once why there is no retry."""
    bench.have(order(policy=policy, expires_at=expires_at))
    bench.lease()
    outcome = Outcome(1, 2, "failed", error=ERROR)

    drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)

    assert drafts == [(1, Failed(2, ERROR)), (1, Expired(reason))]  # type: ignore[arg-type]


def test_settle_uses_the_draw_for_jitter(bench: Bench) -> None:
    """Chance is drawn by the caller and stored as an instant."""
    bench.have(order(policy=Policy("constant", 100, jitter=0.5)))
    bench.lease()
    outcome = Outcome(1, 2, "failed", error=ERROR, draw=0.5)

    drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)

    assert drafts[1] == (1, Retried(175))


@pytest.mark.parametrize("kind", ["completed", "failed"])
@pytest.mark.parametrize("fence, number", [(1, 1), (3, 1), (2, 77)])
def test_settle_refuses_what_lost_its_lease(
    bench: Bench, kind: str, fence: int, number: int
) -> None:
    """A late outcome changes nothing, and stays as evidence."""
    bench.have(order())
    bench.lease()
    outcome = Outcome(number, fence, kind, error=ERROR)  # type: ignore[arg-type]

    drafts = decide.settle(bench.projection, [outcome], worker="late", now=100)

    assert drafts == [(number, Refused(fence, "late", kind))]  # type: ignore[arg-type]


def test_settle_forgets_a_late_release(bench: Bench) -> None:
    """Giving back what is lost anyway proves nothing."""
    bench.have(order())
    bench.lease()

    drafts = decide.settle(bench.projection, [Outcome(1, 9, "released")], worker="n", now=100)

    assert drafts == []


def test_settle_refuses_a_late_cancel(bench: Bench) -> None:
    """A worker that called its task off too late has worked on it all the same."""
    bench.have(order())
    bench.lease()

    drafts = decide.settle(bench.projection, [Outcome(1, 9, "cancelled")], worker="n", now=100)

    assert drafts == [(1, Refused(9, "n", "failed"))]


def test_settle_takes_one_outcome_of_an_attempt(bench: Bench) -> None:
    """The first counts; a second one is evidence that something ran twice."""
    bench.have(order(), order())
    bench.lease()
    outcomes = [
        Outcome(1, 3, "completed"),
        Outcome(2, 4, "completed"),
        Outcome(1, 3, "failed", error=ERROR),
        Outcome(1, 3, "released"),
    ]

    drafts = decide.settle(bench.projection, outcomes, worker="n", now=100)

    assert drafts == [(1, Completed(3)), (2, Completed(4)), (1, Refused(3, "n", "failed"))]


def test_settle_forgets_a_late_verdict(bench: Bench) -> None:
    """The runner's word on an attempt is void once the lease is over: the worker's is to come."""
    bench.have(order())
    bench.lease()
    outcome = Outcome(1, 9, "failed", error=ERROR, verdict=True)

    drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)

    assert drafts == []


def test_settle_refuses_an_attempt_once(bench: Bench) -> None:
    """Whether two late outcomes come together, or the log holds the first already."""
    bench.have(order())
    bench.lease()
    outcomes = [Outcome(1, 9, "failed", error=ERROR), Outcome(1, 9, "completed")]
    refused = Refused(9, "n", "failed")

    together = decide.settle(bench.projection, outcomes, worker="n", now=100)
    later = decide.settle(
        bench.projection,
        outcomes,
        worker="n",
        now=100,
        past=decide.KnownPast(history=[Event(12, 100, 1, refused)]),
    )

    assert together == [(1, refused)]
    assert later == []


def test_settle_and_lease_says_first_what_the_node_can_run(bench: Bench) -> None:
    """The leases of a commit are judged by what stands before them."""
    bench.have(order(route=Route("a")), order())
    joined = Joined("n", 30, 4, "1", names=("a",))
    command = SettleAndLease(
        "n", [], 30, Vacancy(9), audience=Audience(("a",), unnamed=False), joined=joined
    )

    decision = command.decide(bench.projection, decide.NOTHING, 100)

    assert decision.events == [(NODE, joined), (1, Leased(1, "n", 30))]


def test_a_place_that_the_log_has_freed_keeps_a_node_from_leasing(bench: Bench) -> None:
    """Else it would pass over a lane that has room by the log, where a task ranks higher."""
    bench.have(order())
    bench.lease()
    bench.have(order(priority=9), order(route=Route(lane="heavy")))
    wanted = {"default": Vacancy(0, 0), "heavy": Vacancy(1, 1)}
    audience = Audience(lanes=("default", "heavy"), unnamed=True)
    command = SettleAndLease("n", [], 30, wanted, audience, held=(1,))

    before = command.decide(bench.projection, decide.NOTHING, 100).events
    record(bench.log, bench.projection, [(1, Cancelled(reason="why not"))], now=100)
    after = command.decide(bench.projection, decide.NOTHING, 100).events

    assert [(number, body.kind) for number, body in before] == [(4, "leased")]
    assert after == []


def test_children_stand_right_behind_the_completion(bench: Bench) -> None:
    """In order, and the completion says how many they are."""
    bench.have(order())
    [fence] = bench.lease()
    outcome = Outcome(1, fence, "completed", children=(order(priority=1), order(priority=2)))

    (_, completed), *children = decide.settle(bench.projection, [outcome], worker="n", now=100)

    assert completed == Completed(fence, made=2)
    assert [(n, b.priority) for n, b in children if isinstance(b, Created)] == [(NEW, 1), (NEW, 2)]


def test_two_attempts_that_settle_together_may_ask_for_one_key(bench: Bench) -> None:
    """The first makes it; the same one is that, and another fails its attempt alone."""
    bench.have(order(), order(), order())
    wanted = [order(key="k"), order(key="k"), order(key="k", priority=3)]
    outcomes = [
        Outcome(number, fence, "completed", children=(order(), each))
        for number, (fence, each) in enumerate(zip(bench.lease(), wanted, strict=True), 1)
    ]

    drafts = decide.settle(bench.projection, outcomes, worker="n", now=100)

    assert [(number, body.kind) for number, body in drafts] == [
        (1, "completed"),
        (NEW, "created"),
        (NEW, "created"),
        (2, "completed"),
        (NEW, "created"),
        (3, "failed"),
        (3, "expired"),
    ]
    assert [body.made for _, body in drafts if isinstance(body, Completed)] == [2, 1]


@pytest.mark.parametrize("error, counts", [("eventq.KeyConflictError", 0), ("OSError", 1)])
def test_a_completion_that_failed_for_its_children_is_recorded(
    bench: Bench, error: str, counts: int
) -> None:
    """After an append of unknown fate it is found so, and is no late outcome; another one is."""
    bench.have(order())
    [fence] = bench.lease()
    outcome = Outcome(1, fence, "completed", children=(order(),))
    ends: list[Draft] = [(1, Failed(fence, ErrorInfo(error))), (1, Expired("fatal"))]
    record(bench.log, bench.projection, ends, now=100)
    past = decide.KnownPast(history=[Event(3, 100, 1, Failed(fence, ErrorInfo(error)))])

    drafts = decide.settle(bench.projection, [outcome], worker="n", now=100, past=past)

    assert len(drafts) == counts


def test_what_was_told_stands_before_the_end_and_only_with_a_live_lease(bench: Bench) -> None:
    """An old fence changes nothing."""
    bench.have(order(), order())
    one, two = bench.lease()
    saved = Saved(one, value=Raw(b"1"))
    gone = Saved(two + 9, value=Raw(b"2"))
    outcome = Outcome(1, one, "failed", error=ERROR, told=(saved,))
    command = SettleAndLease("n", [outcome], 30, Vacancy(0), told=((2, gone), (2, Progressed(two))))

    drafts = command.decide(bench.projection, decide.KnownPast(), 100).events

    assert [(number, body.kind) for number, body in drafts] == [
        (2, "progressed"),
        (1, "saved"),
        (1, "failed"),
        (1, "retried"),
    ]


def test_a_commit_filled_by_one_completion_has_no_room_for_more(bench: Bench) -> None:
    """Neither for leases nor for what the node has to say."""
    bench.have(order(), order())
    [fence] = bench.lease(count=1)
    outcome = Outcome(1, fence, "completed", children=(order(),) * 999)
    joined = Joined("n", 30, 1, "1")

    full = SettleAndLease("n", [outcome], 30, Vacancy(5), joined=joined)
    drafts = full.decide(bench.projection, decide.KnownPast(), 100).events

    assert len(drafts) == 1_000
    assert {body.kind for _, body in drafts} == {"completed", "created"}
