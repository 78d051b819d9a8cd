"""Deciding about leases: order, room, expiry, and the lapse of nodes that fell silent."""

from __future__ import annotations

import pytest

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.events import Expired, Failed, Leased, Retried
from eventq.core.places import Vacancy
from eventq.core.queue_events import Renewed
from eventq.core.settle import Outcome
from eventq.core.task import PLAIN_ROUTE, Route
from eventq.core.values import NODE, ErrorInfo, Policy
from tests import deciding as decide
from tests.core.bench import ERROR, TTL, Bench, order
from tests.driver import record


def test_lease_follows_the_dispatch_order(bench: Bench) -> None:
    """Highest priority, then earliest instant, then lowest number; waiting tasks never."""
    bench.have(
        order(0),
        order(1, scheduled_at=90),
        order(1),
        order(1, scheduled_at=80),
        order(0),
        order(9, delay_us=50),
        order(-1, scheduled_at=1),
    )

    drafts = decide.lease(
        bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(100), room=100, now=100
    )

    assert [number for number, _ in drafts] == [4, 2, 3, 1, 5, 7]
    assert [body for _, body in drafts] == [Leased(1, "n", TTL)] * 6


@pytest.mark.parametrize(
    "count, room, leased", [(2, 9, 2), (9, 2, 2), (0, 9, 0), (9, 0, 0), (9, 9, 4), (-1, 9, 0)]
)
def test_lease_keeps_to_count_and_room(bench: Bench, count: int, room: int, leased: int) -> None:
    """Never more than asked for, nor than the commit holds."""
    bench.have(order(), order(), order(), order())

    drafts = decide.lease(
        bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(count), room=room, now=100
    )

    assert [number for number, _ in drafts] == [1, 2, 3, 4][:leased]


def test_a_block_ends_before_a_task_that_must_not_wait(bench: Bench) -> None:
    """Without a free worker, no task is leased whose last attempt a lapse would take."""
    spare, last = Policy("linear", 10, max_retries=1), Policy("linear", 10, max_retries=0)
    bench.have(order(policy=last), order(policy=spare), order(policy=last), order())

    def lease(free: int) -> list[int]:
        drafts = decide.lease(
            bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(9, free), room=9, now=100
        )
        found = decide.can_lease(bench.projection, Vacancy(9, free), now=100)
        assert found == bool(drafts)
        return [number for number, _ in drafts]

    assert [lease(free) for free in (-1, 0, 1, 2, 3)] == [[], [], [1, 2], [1, 2], [1, 2, 3, 4]]


def test_a_task_that_fell_with_its_node_waits_in_no_block_again(bench: Bench) -> None:
    """What brings its node down takes an attempt from its neighbours once, not each time."""
    bench.have(order(), order())
    bench.lease()
    seen = bench.projection.holders["n"].seen_seq
    drafts = decide.lapse(bench.projection, worker="n", seen_seq=seen, room=9, now=200)
    record(bench.log, bench.projection, drafts, now=200)

    drafts = decide.lease(
        bench.projection, worker="m", ttl_us=TTL, wanted=Vacancy(2, 1), room=9, now=200
    )

    assert [number for number, _ in drafts] == [1]


@pytest.mark.parametrize(
    "room, expected",
    [(9, [(1, "expired"), (2, "leased")]), (1, [(1, "expired")]), (0, [])],
)
def test_lease_expires_what_is_overdue_first(
    bench: Bench, room: int, expected: list[tuple[int, str]]
) -> None:
    """A task past its time is never leased, not even where room is short."""
    bench.have(order(9, expires_at=150), order(0), now=100)

    drafts = decide.lease(
        bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(5), room=room, now=150
    )

    assert [(number, body.kind) for number, body in drafts] == expected


def test_lease_passes_over_overdue_tasks_that_found_no_room(bench: Bench) -> None:
    """Sweeping is limited by the room, leasing the overdue is never allowed."""
    bench.have(*[order(9, expires_at=150)] * 3, order(0))

    drafts = decide.lease(
        bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(5), room=2, now=150
    )

    assert drafts == [(1, Expired("max_age")), (2, Expired("max_age"))]


def test_lease_counts_attempts_on(bench: Bench) -> None:
    """The second lease is attempt two."""
    bench.have(order())
    [fence] = bench.lease()
    outcome = Outcome(1, fence, "failed", error=ERROR, delay_us=0)
    drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)
    record(bench.log, bench.projection, drafts, now=100)

    again = decide.lease(
        bench.projection, worker="m", ttl_us=TTL, wanted=Vacancy(1), room=9, now=100
    )

    assert again == [(1, Leased(2, "m", TTL))]


def test_expire_takes_the_longest_overdue_first(bench: Bench) -> None:
    """At most the room, by instant and number; what is due now is overdue."""
    bench.have(order(expires_at=130), order(expires_at=120), order(expires_at=130), order())

    drafts = decide.expire(bench.projection, room=2, now=130)

    assert drafts == [(2, Expired("max_age")), (1, Expired("max_age"))]


def test_expire_waits_for_the_instant(bench: Bench) -> None:
    """A microsecond before is too early."""
    bench.have(order(expires_at=130))

    assert decide.expire(bench.projection, room=2, now=129) == []


@pytest.mark.parametrize("room, failed", [(9, [1, 2, 3]), (6, [1, 2, 3]), (5, [1, 2]), (1, [])])
def test_lapse_fails_a_dead_nodes_attempts(bench: Bench, room: int, failed: list[int]) -> None:
    """Two events each, as many as fit whole, in the order of their numbers; others are spared."""
    bench.have(order(), order(), order(), order())
    *_, last = bench.lease("dead", count=3)
    bench.lease("alive")

    drafts = decide.lapse(bench.projection, worker="dead", seen_seq=last, room=room, now=140)

    assert [number for number, _ in drafts] == [n for n in failed for _ in range(2)]
    assert [body.kind for _, body in drafts] == ["failed", "retried"] * len(failed)


def test_lapse_says_who_and_lets_run_at_once(bench: Bench) -> None:
    """The error names the node; its wait is over, so the retry is due now."""
    bench.have(order())
    [fence] = bench.lease("dead")

    drafts = decide.lapse(bench.projection, worker="dead", seen_seq=fence, room=9, now=140)

    error = ErrorInfo("LeaseLapsed", "node dead stopped renewing")
    assert drafts == [(1, Failed(fence, error)), (1, Retried(140))]


def test_lapse_spares_who_was_heard_of_since(bench: Bench) -> None:
    """A sign of life that the judge had not seen ends the judgement."""
    bench.have(order())
    [fence] = bench.lease("n")
    renewed = decide.renew(bench.projection, worker="n", ttl_us=TTL)
    record(bench.log, bench.projection, renewed, now=110)

    assert decide.lapse(bench.projection, worker="n", seen_seq=fence, room=9, now=140) == []
    assert decide.lapse(bench.projection, worker="n", seen_seq=fence + 1, room=9, now=140) != []


def test_lapse_of_a_stranger_is_nothing(bench: Bench) -> None:
    """A node that holds nothing cannot lapse."""
    assert decide.lapse(bench.projection, worker="x", seen_seq=0, room=9, now=140) == []


def test_renew_is_one_event_for_all_leases(bench: Bench) -> None:
    """However many tasks a node holds, it says once that it lives."""
    bench.have(order(), order())
    bench.lease("n")

    assert decide.renew(bench.projection, worker="n", ttl_us=40) == [(NODE, Renewed("n", 40))]
    assert decide.renew(bench.projection, worker="idle", ttl_us=40) == []


LANES = [Route(None, "heavy"), PLAIN_ROUTE, Route(None, "mail")]


def test_lease_takes_what_the_node_can_run(bench: Bench) -> None:
    """A plain node takes what has no name, in any lane; needs that are not known stop all."""
    bench.have(
        order(9, route=Route("docs.ocr")),
        order(8, route=Route(None, None, ("telepathy",))),
        order(7, route=Route(None, "heavy")),
        order(6),
    )

    def lease(audience: Audience) -> list[int]:
        drafts = decide.lease(
            bench.projection,
            worker="n",
            ttl_us=TTL,
            wanted=Vacancy(9),
            room=9,
            now=100,
            audience=audience,
        )
        found = decide.can_lease(bench.projection, Vacancy(9, 9), now=100, audience=audience)
        assert found == bool(drafts)
        return [number for number, _ in drafts]

    assert lease(PLAIN_AUDIENCE) == [3, 4]
    assert lease(Audience(("docs.*",), unnamed=False)) == [1]
    assert lease(Audience(("*",))) == [1, 3, 4]
    assert lease(Audience(("*",), lanes=("heavy",))) == [3]
    assert lease(Audience(("mail",), unnamed=False)) == []


def test_nothing_is_leased_once_a_newer_eventq_spoke_of_the_queue(bench: Bench) -> None:
    """Nor expired or lapsed: what holds for all tasks may be another thing now."""
    bench.have(order(), order(expires_at=150))
    fences = bench.lease("dead", count=1)
    bench.projection.unknown = (4, "muted")

    assert (
        decide.lease(bench.projection, worker="n", ttl_us=1, wanted=Vacancy(9), room=9, now=150)
        == []
    )
    assert not decide.can_lease(bench.projection, Vacancy(9, 9), now=150)
    assert decide.lapse(bench.projection, worker="dead", seen_seq=fences[0], room=9, now=150) == []


def test_lease_expires_also_what_the_node_cannot_run(bench: Bench) -> None:
    """Whatever is past its time is given up by whoever sees it."""
    bench.have(order(route=Route("docs.ocr"), expires_at=150))

    drafts = decide.lease(
        bench.projection, worker="n", ttl_us=TTL, wanted=Vacancy(9), room=9, now=150
    )

    assert drafts == [(1, Expired("max_age"))]


@pytest.mark.parametrize(
    "wanted, leased",
    [
        ({"heavy": 1, "default": 2, "mail": 1}, [1, 2, 3, 5]),
        ({"heavy": 0, "default": 9}, [2, 5, 8]),
        ({"mail": 9}, [3, 6, 9]),
        ({"heavy": 9, "default": 9, "mail": 9}, [1, 2, 3, 4, 5, 6, 7]),
        ({"heavy": 0, "default": 0, "mail": 0}, []),
    ],
)
def test_lease_passes_over_a_full_lane(
    bench: Bench, wanted: dict[str, int], leased: list[int]
) -> None:
    """Each lane has its own bounds; the order holds among those with places, and the room."""
    bench.have(*[order(-n, route=LANES[n % 3]) for n in range(9)])
    lanes = {lane: Vacancy(count) for lane, count in wanted.items()}
    audience = Audience(lanes=tuple(sorted(lanes)))

    drafts = decide.lease(
        bench.projection,
        worker="n",
        ttl_us=TTL,
        room=7,
        now=100,
        audience=audience,
        wanted=lanes,
    )

    assert [number for number, _ in drafts] == leased
    assert bool(leased) == decide.can_lease(bench.projection, lanes, now=100, audience=audience)


def test_a_lane_ends_before_a_task_that_must_not_wait(bench: Bench) -> None:
    """As a whole block does; the other lanes go on."""
    last = Policy("linear", 10, max_retries=0)
    bench.have(
        order(9, policy=last), order(8, policy=last), order(7), order(6, route=Route(None, "mail"))
    )
    lanes = {"default": Vacancy(9, 1), "mail": Vacancy(9, 0)}

    drafts = decide.lease(
        bench.projection,
        worker="n",
        ttl_us=TTL,
        room=9,
        now=100,
        audience=Audience(lanes=("default", "mail")),
        wanted=lanes,
    )

    assert [number for number, _ in drafts] == [1, 4]


@pytest.mark.parametrize(
    "policy, waits",
    [
        (Policy("linear", 10), [0, 10, 20]),
        (Policy("constant", 10, jitter=1.0), [0, 10, 10]),
        (Policy("exponential", 10), [0, 10, 20, 40]),
        (Policy("linear", 10, max_lapses=2), [0, 10, "max_lapses"]),
        (Policy("linear", 10, max_lapses=0), ["max_lapses"]),
        (Policy("linear", 10, max_lapses=1, max_retries=0), ["max_retries"]),
    ],
)
def test_lapses_in_a_row_wait_longer_and_end(
    bench: Bench, policy: Policy, waits: list[int | str]
) -> None:
    """The first is retried at once, the n-th waits n - 1 backoffs; one too many is the last."""
    bench.have(order(policy=policy))
    now = 100

    for wait in waits:
        [fence] = bench.lease("dead", now=now)
        drafts = decide.lapse(bench.projection, worker="dead", seen_seq=fence, room=9, now=now)
        record(bench.log, bench.projection, drafts, now=now)

        _, (_, follows) = drafts
        if isinstance(wait, str):
            assert follows == Expired(wait)  # type: ignore[arg-type]
        else:
            now += wait
            assert follows == Retried(now)


def test_any_other_end_begins_the_row_of_lapses_anew(bench: Bench) -> None:
    """A failure of its own shows that the task does not take its node along."""
    bench.have(order(policy=Policy("linear", 10, max_lapses=1)))
    for ended in ("lapse", "failed", "lapse", "released", "lapse"):
        [fence] = bench.lease("n")
        if ended == "lapse":
            drafts = decide.lapse(bench.projection, worker="n", seen_seq=fence, room=9, now=100)
        else:
            outcome = Outcome(1, fence, ended, error=ERROR, delay_us=0)  # type: ignore[arg-type]
            drafts = decide.settle(bench.projection, [outcome], worker="n", now=100)
        record(bench.log, bench.projection, drafts, now=100)

        assert bench.projection.tasks[1].lapses == (ended == "lapse")
