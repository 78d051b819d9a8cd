"""The projection: what it asks of commits, how it orders, and that check() sees every damage."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from eventq.core.command import NEW, Draft
from eventq.core.commits import AnyBody
from eventq.core.create import NewTask
from eventq.core.events import (
    Cancelled,
    Completed,
    Created,
    Expired,
    Leased,
    Refused,
    Released,
    Reopening,
    Retried,
    Updated,
)
from eventq.core.policy import POLICIES_KEPT
from eventq.core.projection import Projection
from eventq.core.queue_events import Renewed
from eventq.core.seal import genesis
from eventq.core.settle import Outcome
from eventq.core.task import PLAIN_ROUTE
from eventq.core.values import NODE, ErrorInfo, Policy
from eventq.errors import LogCorruptError
from tests import deciding as decide
from tests.core.bench import PLAIN, TTL, Bench, order
from tests.driver import record, sealed


def applied(bench: Bench, *drafts: Draft, now: int = 100) -> None:
    """Appends and applies drafts as they are."""
    record(bench.log, bench.projection, list(drafts), now=now)


def test_empty_projection() -> None:
    """Before the first event there is nothing, and the seal is the namespace's own."""
    projection = Projection("ns")

    assert (projection.seq, projection.at, projection.seal) == (0, 0, genesis("ns"))
    assert list(projection.ready(5)) == []
    assert projection.next_instant() is None
    assert projection.pending_count == projection.leased_count == projection.retrying_count() == 0


@pytest.mark.parametrize("first", [0, 1, 3])
def test_commits_must_follow(bench: Bench, first: int) -> None:
    """A commit that leaves a gap or comes twice is refused, and nothing changes."""
    bench.have(order())
    commit = sealed([(NEW, Created(PLAIN))], first=first, at=100)

    with pytest.raises(LogCorruptError, match="follows position 1"):
        bench.projection.apply(commit)

    assert bench.projection.seq == 1


def test_time_must_not_run_backwards(bench: Bench) -> None:
    """An instant before the last event's is damage; the same one is not."""
    bench.have(order(), now=100)
    bench.have(order(), now=100)

    with pytest.raises(LogCorruptError, match="time runs backwards"):
        bench.projection.apply(sealed([(NEW, Created(PLAIN))], first=3, at=99))


def test_a_damaged_body_is_told_as_damage(bench: Bench) -> None:
    """No error of the decoder leaves the projection, and nothing of the commit is folded."""
    commit = sealed([(NEW, Created(PLAIN)), (NEW, Created(PLAIN))], at=100)
    damaged = replace(commit, bodies=[commit.bodies[0], '{"kind":"leased"}'])

    with pytest.raises(LogCorruptError, match="position 1: a body cannot be understood"):
        bench.projection.apply(damaged)

    assert bench.projection.tasks == {}


def test_apply_gives_the_task_after_each_event(bench: Bench) -> None:
    """One entry an event; a node's event and a final task's evidence have none."""
    commit = sealed(
        [
            (NEW, Created(PLAIN)),
            (1, Leased(1, "n", TTL)),
            (NODE, Renewed("n", TTL)),
            (1, Completed(2)),
            (1, Refused(2, "m", "failed")),
        ],
        at=100,
    )

    after = bench.projection.apply(commit)

    assert [task and str(task.state) for task in after] == [
        "ready",
        "leased",
        None,
        "completed",
        None,
    ]
    assert bench.projection.seal == commit.seal


@pytest.mark.parametrize(
    "number, body",
    [
        (9, Cancelled()),
        (9, Retried(100)),
        (NODE, Cancelled()),
        (NODE, Leased(1, "n", TTL)),
        (1, Completed(1)),
        (1, Released(0)),
        (1, Expired("max_age")),
    ],
)
def test_illegal_moves_are_damage(bench: Bench, number: int, body: AnyBody) -> None:
    """What cannot follow is refused wherever it is said: of no task, a final one, a node."""
    bench.have(order())
    applied(bench, (1, Leased(1, "n", TTL)), (1, Completed(2)))

    with pytest.raises(LogCorruptError, match="position 4"):
        bench.projection.apply(sealed([(number, body)], first=4, at=100))


def test_ready_is_the_dispatch_order(bench: Bench) -> None:
    """Seeded: a thousand tasks come in the order of one plain sort."""
    chance = random.Random(20)
    orders = [
        order(chance.randint(-3, 3), scheduled_at=chance.randint(0, 40)) for _ in range(1_000)
    ]
    numbers = bench.have(*orders)
    keys = {
        number: (-wanted.priority, wanted.scheduled_at, number)
        for number, wanted in zip(numbers, orders, strict=True)
    }

    ready = [task.number for task in bench.projection.ready(100)]

    assert ready == sorted(numbers, key=lambda number: keys[number])


@pytest.mark.parametrize("now, ready", [(100, [1]), (119, [1]), (120, [1, 2]), (130, [1, 2, 3])])
def test_tasks_become_ready_at_their_instant(bench: Bench, now: int, ready: list[int]) -> None:
    """A waiting task is ready at its very instant."""
    bench.have(order(), order(scheduled_at=120), order(scheduled_at=130))

    assert bench.projection.ready_count(now) == len(ready)
    assert [task.number for task in bench.projection.ready(now)] == ready


def test_time_goes_back_where_a_clock_was_wrong(bench: Bench) -> None:
    """What has become ready waits again; what was made to run at once is due for good."""
    bench.have(order(), order(scheduled_at=150))
    bench.projection.advance_to(200)

    assert [task.number for task in bench.projection.ready(200)] == [1, 2]
    assert [task.number for task in bench.projection.ready(50)] == [1]
    assert [task.number for task in bench.projection.waiting()] == [2]
    bench.projection.check()


@pytest.mark.parametrize(
    "orders, instant",
    [
        ([order()], None),
        ([order(scheduled_at=130), order(scheduled_at=120)], 120),
        ([order(expires_at=110), order(scheduled_at=120)], 110),
        ([order(scheduled_at=120, expires_at=140)], 120),
    ],
)
def test_next_instant(bench: Bench, orders: list[NewTask], instant: int | None) -> None:
    """When somebody must look again: the next task to become ready or to expire."""
    bench.have(*orders)

    assert bench.projection.next_instant() == instant


def test_keys_lead_to_open_tasks_only(bench: Bench) -> None:
    """A final task's key is the log's to find; a reopened one's is back."""
    bench.have(order(key="k"))
    before = bench.projection.number_of("k")

    applied(bench, (1, Cancelled()))
    after = bench.projection.number_of("k")
    applied(bench, (1, Retried(100, Reopening("cancelled", PLAIN, 100, 0, "k"))))

    assert (before, after, bench.projection.number_of("k")) == (1, None, 1)
    assert bench.projection.number_of("other") is None


def test_a_holder_lives_as_long_as_its_leases(bench: Bench) -> None:
    """Leases and renewals are signs of life; with the last task the holder is forgotten."""
    bench.have(order(), order())
    applied(bench, (1, Leased(1, "n", TTL)), (2, Leased(1, "n", TTL)), now=110)
    applied(bench, (NODE, Renewed("n", 99)), (NODE, Renewed("stranger", 9)), now=120)
    holder = bench.projection.holders["n"]

    assert list(bench.projection.holders) == ["n"]
    assert (holder.ttl_us, holder.seen_seq, holder.seen_at) == (99, 5, 120)
    assert bench.projection.leases_of("n") == {1, 2}

    applied(bench, (1, Completed(3)), (2, Released(4)), now=130)

    assert bench.projection.holders == {}
    assert bench.projection.leases_of("n") == set()


def test_counts_by_state(bench: Bench) -> None:
    """Pending, leased, retrying and final tasks are counted as they move."""
    bench.have(*[order() for _ in range(6)])
    applied(bench, *[(number, Leased(1, "n", TTL)) for number in (1, 2, 3)])
    retry = decide.settle(
        bench.projection,
        [Outcome(1, 7, "failed", error=ErrorInfo("OSError"), delay_us=0)],
        worker="n",
        now=100,
    )
    applied(bench, *retry, (2, Completed(8)), (4, Cancelled()), (5, Expired("max_age")))

    projection = bench.projection
    assert projection.pending_count == 2
    assert projection.leased_count == 1
    assert projection.retrying_count() == 1
    assert projection.final_counts() == {"completed": 1, "expired": 1, "cancelled": 1}
    assert projection.counts["created"] == 6


def test_updated_task_moves_in_the_order(bench: Bench) -> None:
    """A new priority, or an instant to come, is a new place."""
    bench.have(order(), order(), order())

    applied(bench, (3, Updated(priority=1)), (1, Updated(scheduled_at=150)))

    assert [task.number for task in bench.projection.ready(100)] == [3, 2]
    assert bench.projection.next_instant() == 150


def test_equal_policies_are_one_object(bench: Bench) -> None:
    """Ten thousand tasks with one policy weigh one policy."""
    bench.have(*[order(policy=Policy("linear", 10)) for _ in range(3)])

    assert len({id(task.policy) for task in bench.projection.tasks.values()}) == 1


def test_endless_policies_are_not_remembered(bench: Bench) -> None:
    """A caller who varies the policy each time costs no memory for ever."""
    wanted = [order(policy=Policy("linear", n)) for n in range(POLICIES_KEPT + 500)]

    for start in range(0, len(wanted), 500):
        bench.have(*wanted[start : start + 500])

    assert len(bench.projection._policies._known) <= POLICIES_KEPT + 1
    assert {task.policy.backoff_us for task in bench.projection.tasks.values()} == {
        *range(POLICIES_KEPT + 500)
    }


def test_suspended_indexes_come_back_equal(bench: Bench) -> None:
    """Sorting once at the end gives what inserting each gave."""
    fast = Projection("default")
    fast.suspend_indexes()
    bench.have(order(2, delay_us=9), order(1, expires_at=150), order(), order(3), order(4))
    applied(bench, (3, Leased(1, "n", TTL)), (4, Updated(scheduled_at=140)), (5, Cancelled()))

    for commit in bench.log.read(after=0):
        fast.apply(commit)
    fast.check()
    fast.rebuild_indexes()

    fast.check()
    assert fast.tasks == bench.projection.tasks
    assert list(fast.ready(100)) == list(bench.projection.ready(100))
    assert fast.next_instant() == bench.projection.next_instant()


def spoil_ready(p: Projection) -> None:
    """Loses a task that is ready."""
    p._pending.ready[PLAIN_ROUTE].pop()


def spoil_waiting(p: Projection) -> None:
    """Loses a task that waits."""
    p._pending.waiting.pop()


def spoil_expiring(p: Projection) -> None:
    """Loses an expiry."""
    p._pending.expiring.pop()


def spoil_keys(p: Projection) -> None:
    """Forgets a key."""
    p._keys.clear()


def spoil_numbers(p: Projection) -> None:
    """Files a task under another number."""
    p.tasks[99] = p.tasks.pop(1)


def spoil_leased_count(p: Projection) -> None:
    """Miscounts the leases."""
    p._leases.leased_count += 1


def spoil_retrying_count(p: Projection) -> None:
    """Miscounts the retries."""
    p._pending.retrying[PLAIN_ROUTE] += 1


def spoil_created_count(p: Projection) -> None:
    """Miscounts the tasks."""
    p.counts["created"] += 1


def spoil_holder(p: Projection) -> None:
    """Gives a node a task it does not hold."""
    p.holders["n"].tasks.add(1)


def spoil_forgotten_holder(p: Projection) -> None:
    """Keeps a node that holds nothing."""
    p.holders["idle"] = replace(p.holders["n"], tasks=set())


def spoil_order(p: Projection) -> None:
    """Changes a priority behind the index's back."""
    p.tasks[1] = replace(p.tasks[1], priority=5)


def spoil_waits(p: Projection) -> None:
    """Miscounts the tasks that wait for others."""
    p.waits.counts["default", None] += 1


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_ready,
        spoil_waiting,
        spoil_expiring,
        spoil_keys,
        spoil_numbers,
        spoil_leased_count,
        spoil_retrying_count,
        spoil_created_count,
        spoil_holder,
        spoil_forgotten_holder,
        spoil_order,
        spoil_waits,
    ],
)
def test_check_sees_every_damage(bench: Bench, spoil: Callable[[Projection], None]) -> None:
    """Each invariant is really looked at."""
    bench.have(order(key="k"), order(delay_us=9), order(expires_at=150), order(9))
    applied(bench, (4, Leased(1, "n", TTL)))
    bench.projection.check()

    spoil(bench.projection)

    with pytest.raises(AssertionError):
        bench.projection.check()
