"""The projection: names and lanes, nodes that join, and what only a newer eventq knows."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from eventq.core.audience import PLAIN_AUDIENCE, Audience
from eventq.core.command import NEW, Draft
from eventq.core.commits import AnyBody
from eventq.core.events import Cancelled, Completed, Created, Expired, Leased, Reopening, Retried
from eventq.core.members import SILENT_US, Member
from eventq.core.queue_events import Joined, Left
from eventq.core.task import PLAIN_ROUTE, Route, TaskState
from eventq.core.values import NODE
from tests.core.bench import PLAIN, TTL, Bench, order
from tests.driver import append_texts, record, sealed

REOPENING = Reopening("cancelled", PLAIN, 100, 1)


def applied(bench: Bench, *drafts: Draft, now: int = 100) -> None:
    """Appends and applies drafts as they are."""
    record(bench.log, bench.projection, list(drafts), now=now)


def test_an_unknown_kind_about_the_queue_is_remembered_once(bench: Bench) -> None:
    """The first position that a newer version wrote is kept; the fold goes on."""
    commit = sealed([(NODE, Left("n")), (NODE, Left("n")), (NEW, Created(PLAIN))], at=100)
    newer = replace(commit, bodies=['{"kind":"muted"}', '{"kind":"frozen"}', commit.bodies[2]])

    bench.projection.apply(newer)

    assert bench.projection.unknown == (1, "muted")
    assert sorted(bench.projection.tasks) == [3]
    bench.projection.check()


@pytest.mark.parametrize("number", [NODE, 1, 7])
def test_an_unknown_kind_to_be_skipped_is_nothing(bench: Bench, number: int) -> None:
    """About the queue, an open task or one that is not there: all goes on."""
    [task] = bench.have(order())
    before = bench.projection.tasks[task]
    commit = sealed([(number, Cancelled())], first=2, at=100)

    bench.projection.apply(replace(commit, bodies=['{"kind":"told","skip":true}']))

    assert bench.projection.unknown is None
    assert bench.projection.tasks == {task: before}
    assert [task.number for task in bench.projection.ready(100)] == [task]
    bench.projection.check()


@pytest.mark.parametrize("leased", [False, True])
def test_an_unknown_kind_about_a_task_is_about_that_one_alone(
    bench: Bench,
    leased: bool,  # noqa: FBT001
) -> None:
    """It is neither ready nor held any more, and all others are; its end takes it away."""
    bench.have(order(1), order())
    if leased:
        bench.lease(count=1)
    end = bench.projection.seq
    commit = sealed([(1, Cancelled())], first=end + 1, at=100)
    bench.projection.apply(replace(commit, bodies=['{"kind":"frozen"}']))

    assert bench.projection.unknown is None
    assert bench.projection.tasks[1].recorded_state is TaskState.UNKNOWN
    assert [task.number for task in bench.projection.ready(100)] == [2]
    assert bench.projection.leases_of("n") == set()
    assert bench.projection.unknown_count == 1
    assert bench.projection.pending_count == 1
    bench.projection.check()

    bench.projection.apply(sealed([(1, Completed(9))], first=end + 2, at=100))

    assert sorted(bench.projection.tasks) == [2]
    assert bench.projection.unknown_count == 0
    assert bench.projection.final_counts()["completed"] == 1
    bench.projection.check()


@pytest.mark.parametrize("end", [Cancelled(), Completed(9), Expired("max_age")])
def test_what_a_newer_eventq_brings_back_is_a_stranger(bench: Bench, end: AnyBody) -> None:
    """Final tasks that it revives, and those it makes, go on in the log, and not here."""
    bench.have(order(key="k"))
    applied(bench, (1, Cancelled()))
    before = bench.projection.final_counts()
    for number, text in ((1, '{"kind":"restored"}'), (4, '{"kind":"imported"}')):
        bench.projection.apply(append_texts(bench.log, [number], text))
        applied(bench, (number, Leased(1, "n", TTL)), (number, end))
        applied(bench, (number, Retried(100, REOPENING)))

    assert bench.projection.strangers == {1: (3, "restored"), 4: (7, "imported")}
    assert bench.projection.tasks == {}
    assert bench.projection.final_counts() == before
    bench.projection.check()


def test_ready_in_order_across_names_and_lanes(bench: Bench) -> None:
    """Seeded: whoever asks for some routes sees theirs in the order of one plain sort."""
    chance = random.Random(21)
    routes = [PLAIN_ROUTE, Route("a"), Route("b.c"), Route(None, "heavy"), Route("a", "heavy")]
    numbers = bench.have(
        *[
            order(
                chance.randint(-2, 2),
                scheduled_at=chance.randint(0, 40),
                route=chance.choice(routes),
            )
            for _ in range(300)
        ]
    )
    tasks = [bench.projection.tasks[number] for number in numbers]
    tasks.sort(key=lambda task: (-task.priority, task.scheduled_at_us, task.number))

    for audience, wanted in (
        (None, routes),
        (Audience(), [routes[0], routes[3]]),
        (Audience(("a",), unnamed=False), [routes[1], routes[4]]),
        (Audience(("b.*",), unnamed=True, lanes=("default",)), [routes[0], routes[2]]),
        (Audience(("*",), unnamed=False, lanes=("heavy",)), routes[3:]),
        (Audience(("z",), unnamed=False), []),
    ):
        assert list(bench.projection.ready(100, audience)) == [
            task for task in tasks if task.route in wanted
        ]
    assert sum(bench.projection.ready_routes(100).values()) == 300
    bench.projection.check()


def test_a_route_is_forgotten_with_its_last_ready_task(bench: Bench) -> None:
    """Names that come and go leave nothing behind that a lease would look at."""
    numbers = bench.have(*[order(route=Route(f"n{i}")) for i in range(20)])

    applied(bench, *[(number, Cancelled()) for number in numbers])

    assert bench.projection.ready_routes(100) == {}
    assert list(bench.projection._pending.ready) == [PLAIN_ROUTE]


def test_nodes_that_joined_are_known_until_they_leave_or_fall_silent(bench: Bench) -> None:
    """The last word of each counts; who has said nothing for long is taken for dead."""
    joined = Joined("n", TTL, 4, "1", names=("a",))
    applied(bench, (NODE, joined), (NODE, Joined("m", TTL, 4, "1")), now=100)
    applied(bench, (NODE, replace(joined, names=("b",))), now=200)
    members = bench.projection.members

    assert members.by_name["n"] == Member(replace(joined, names=("b",)), 3, 200)
    assert members.audience("n") == Audience(("b",), unnamed=False)
    assert members.audience("stranger") == PLAIN_AUDIENCE
    assert sorted(members.alive(100 + SILENT_US)) == ["m", "n"]
    assert sorted(members.alive(101 + SILENT_US)) == ["n"]

    applied(bench, (NODE, Joined("late", TTL, 1, "1")), now=101 + SILENT_US)
    assert sorted(members.by_name) == ["late", "n"]
    applied(bench, (NODE, Left("n")), (NODE, Left("stranger")), now=101 + SILENT_US)
    assert sorted(members.by_name) == ["late"]
