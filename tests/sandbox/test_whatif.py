"""The what-if against logs that were really made, by the policy as it was and by the supposed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventq import Backoff, Cancel, Context, Queue, Retry, Task
from eventq.core.queue_events import Joined
from eventq.core.values import NODE, Policy
from eventq.sandbox import Numbers, PriorityRule
from tests.core.bench import Bench
from tests.core.bench import order as plain_order
from tests.driver import record
from tests.sandbox.trying import ReadOnlyLog, end, fall_silent, new_memory_url, read_only, written
from tests.sandbox.virtual import SECOND, START, Planned, made, order, supposed
from tests.support import ManualClock


def but_workers(numbers: Numbers) -> Numbers:
    """The numbers without the workers, of which a record shows only those that were busy."""
    return replace(numbers, workers=0)


lengths = st.integers(1, 10 * SECOND)
plans = st.lists(
    st.builds(
        lambda at, n, priority, delay_us, lengths_us: Planned(
            START + at, order(n, priority=priority, delay_us=delay_us), lengths_us
        ),
        st.integers(0, 60 * SECOND),
        st.integers(0, 2),
        st.integers(-1, 2),
        st.none() | st.integers(1, 20 * SECOND),
        st.lists(lengths, min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=15,
)


# -- foretelling logs that were made ---------------------------------------------------------------


@given(planned=plans, workers=st.integers(1, 4))
def test_as_it_was_is_what_was(planned: list[Planned], workers: int) -> None:
    """Where nodes lose no time, the model has no error at all."""
    found = supposed(made(planned, workers=workers))

    assert found.as_it_was == found.what_if == found.recorded
    assert found.recorded.completed == len(planned)


@given(planned=plans, workers=st.integers(1, 4))
def test_known_workers_change_nothing_where_none_lease_ahead(
    planned: list[Planned], workers: int
) -> None:
    """Then each attempt begins with its lease."""
    log = made(planned, workers=workers)

    known, unknown = supposed(log, workers_then=workers), supposed(log)

    assert known.recorded == unknown.recorded
    assert but_workers(known.as_it_was) == but_workers(unknown.as_it_was)


@given(planned=plans, workers=st.integers(1, 4), others=st.integers(1, 4))
def test_other_workers_are_foretold(planned: list[Planned], workers: int, others: int) -> None:
    """The what-if of a log by so many workers is the log that so many others make."""
    found = supposed(made(planned, workers=workers), workers=others)

    really = supposed(made(planned, workers=others))
    assert but_workers(found.what_if) == but_workers(really.recorded)
    assert found.what_if.workers == others


@given(
    planned=plans,
    retries=st.none() | st.integers(0, 4),
    backoff_us=st.integers(0, 20 * SECOND),
    age_us=st.none() | st.integers(1, 30 * SECOND),
    priority=st.integers(-2, 3),
)
def test_another_policy_is_foretold(
    planned: list[Planned],
    retries: int | None,
    backoff_us: int,
    age_us: int | None,
    priority: int,
) -> None:
    """Backoff, retries, age and priorities by a tag, all at once."""
    policy = Policy("exponential", backoff_us, max_retries=retries, max_age_us=age_us)
    if age_us is not None:
        planned = [replace(plan, order=replace(plan.order, delay_us=None)) for plan in planned]
    log = made(planned, workers=2)

    found = supposed(
        log,
        workers=2,
        backoff=Backoff("exponential", backoff_us),
        max_retries=retries,
        max_age=None if age_us is None else age_us / SECOND,
        priorities=[PriorityRule({"n": 1}, priority)],
    )

    orders = [
        replace(
            plan.order,
            policy=policy,
            priority=priority if b":1" in plan.order.tags_json else plan.order.priority,
        )
        for plan in planned
    ]
    others = [replace(plan, order=each) for plan, each in zip(planned, orders, strict=True)]
    if age_us is None:
        really = supposed(made(others, workers=2))
        assert but_workers(found.what_if) == but_workers(really.recorded)
    assert found.what_if.open == 0


def test_what_was_leased_ahead_waits_for_its_worker() -> None:
    """With the node's workers told, attempts begin one after the other, and take what they took."""
    bench = Bench()
    bench.have(*[plain_order()] * 4, now=100)
    fences = bench.lease("node", now=100)
    for number, fence in enumerate(fences, 1):
        end(bench, number, fence, "completed", 100 + 10 * number)
    log = written(bench)

    naive, told = supposed(log), supposed(log, workers_then=1)

    assert (naive.recorded.workers, naive.is_ahead) == (4, True)
    assert (told.recorded.workers, told.is_ahead) == (1, False)
    assert told.recorded == told.as_it_was
    assert (told.recorded.waits.max_us, told.recorded.makespan_us) == (30, 40)
    assert supposed(log, workers_then=1, workers=2).what_if.makespan_us == 20


def test_a_node_that_has_joined_has_told_its_slots() -> None:
    """Nobody need say them again; what anybody says counts more."""
    bench = Bench()
    joined = Joined("node", ttl_us=SECOND, slots=2, version="1", unnamed=True)
    record(bench.log, bench.projection, [(NODE, joined)], now=100)
    bench.have(*[plain_order()] * 4, now=100)
    fences = bench.lease("node", now=100)
    for number, fence in enumerate(fences, 2):
        end(bench, number, fence, "completed", 100 + 10 * number)

    found, told = supposed(log := written(bench)), supposed(log, workers_then=1)

    assert (found.recorded.workers, found.is_ahead) == (2, False)
    assert found.recorded == found.as_it_was
    assert told.recorded.workers == 1


def test_it_is_told_where_nodes_came_later() -> None:
    """How many workers there were on average, while there were any."""
    bench = Bench()
    bench.have(*[plain_order()] * 2, now=100)
    [first] = bench.lease("one", 1, now=100)
    [second] = bench.lease("two", 1, now=100 + 30 * SECOND)
    end(bench, 1, first, "completed", 100 + 40 * SECOND, worker="one")
    end(bench, 2, second, "completed", 100 + 40 * SECOND, worker="two")

    found = supposed(written(bench), workers=2)

    assert (found.recorded.workers, found.mean_workers) == (2, 1.25)
    assert found.as_it_was == found.recorded


# -- a log that a queue made -----------------------------------------------------------------------


@pytest.fixture
def busy() -> ReadOnlyLog:
    """One worker, a clock that only it moves, and a person who edits, cancels and reopens."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1, backoff="7s", max_retries=2) as queue:
        for n in range(40):
            queue.new({"n": n}, priority=n % 3, key=f"t{n}")
            clock.advance(0.5)
        clock.advance(30)

        def work(_ctx: object, task: Task) -> None:
            n = task.tags["n"]
            clock.advance(1 + n % 4)
            if n == 11:
                queue.cancel("t0")
                queue.update("t3", priority=9)
                queue.update("t6", scheduled_at=task.scheduled_at)
            if n == 2 and queue.retry("t5").attempt:
                clock.advance(1)
            clock.advance(1)
            if n == 8 and task.attempt == 1:
                queue.cancel("t8")
            if n == 9 and task.attempt == 1:
                queue.retry("t8")
            if n == 17:
                raise Cancel("pointless")
            if n == 14 and task.attempt < 3:
                raise Retry(delay="2s")
            if n == 5 or (n % 7 == 1 and task.attempt == 1 and n < 30):
                raise ValueError(n)

        queue.run(work, until="idle")
        return read_only(queue.url)


def test_as_it_was_of_a_real_run_is_what_was(busy: ReadOnlyLog) -> None:
    """Retries, a worker's own delay, edits, a cancelled and a reopened task, and an absence."""
    found = supposed(busy)

    assert found.as_it_was == found.recorded
    assert found.recorded.drawn == found.what_if.drawn == 0
    assert found.recorded.failures > 5
    assert found.recorded.cancelled > 0
    assert found.recorded.expired > 0
    assert found.absent_us >= 45 * SECOND


def test_the_log_is_only_read(busy: ReadOnlyLog) -> None:
    """A handle that cannot append will do, and the head stays."""
    before = busy.head()

    supposed(busy, workers=3, max_retries=5, backoff="1s")

    assert busy.head() == before


def test_a_lapse_is_as_it_was() -> None:
    """It holds its worker until the ttl is over, and is retried at once."""
    bench = Bench()
    bench.have(plain_order(), plain_order(), now=100)
    [fence] = bench.lease("dead", count=1, now=100)
    fall_silent(bench, "dead", fence, 130)
    for number, now in ((2, 130), (1, 135)):
        [fence] = bench.lease("node", count=1, now=now)
        end(bench, number, fence, "completed", now + 5)
    log = written(bench)

    found = supposed(log, backoff="1h")

    assert found.recorded == found.as_it_was == found.what_if
    assert (found.recorded.failures, found.recorded.makespan_us) == (1, 40)


# -- chance ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same(busy: ReadOnlyLog) -> None:
    """Another one changes what is drawn, and nothing where nothing is."""
    first, again, other = (
        supposed(busy, max_retries=9, fail_rate=0.5, seed=seed) for seed in (1, 1, 2)
    )

    assert first == again
    assert first.what_if != other.what_if
    assert first.what_if.drawn > 0
    assert (first.recorded, first.as_it_was) == (other.recorded, other.as_it_was)


def test_jitter_is_drawn_by_the_seed(busy: ReadOnlyLog) -> None:
    """A supposed backoff may have jitter."""
    backoff = Backoff.linear("60s", jitter=1.0)

    spans = {
        supposed(busy, backoff=backoff, seed=seed).what_if.makespan_us for seed in (1, 1, 2, 3)
    }

    assert len(spans) == 3


# -- more workers, fewer waits ---------------------------------------------------------------------


def test_more_workers_never_wait_longer() -> None:
    """On a plain backlog each worker more shortens every wait that is told, and the makespan."""
    planned = [Planned(START, order(n), [(1 + n * 7 % 5) * SECOND]) for n in range(60)]
    log = made(planned, workers=3)

    found = [supposed(log, workers=n).what_if for n in range(1, 9)]

    for field in ("median_us", "p95_us", "max_us"):
        waits = [getattr(numbers.waits, field) for numbers in found]
        assert waits == sorted(waits, reverse=True)
        assert waits[0] > waits[-1]
    spans = [numbers.makespan_us for numbers in found]
    assert spans == sorted(spans, key=lambda span: -(span or 0))
    assert found[0].makespan_us == sum(plan.lengths_us[0] for plan in planned)


def test_an_end_that_a_person_brought_back_arrives() -> None:
    """A retry that is taken back leaves nothing to run; so many have expired as in the log."""
    clock = ManualClock()
    with Queue(new_memory_url(), max_retries=0, clock=clock) as queue:
        queue.new_many([{"n": 1}, {"n": 2}])
        queue.run(fail, until="idle", signals=False)
        clock.advance(1)
        done = queue.select(state="expired").retry().apply()
        clock.advance(1)
        queue.undo(done.id).apply()
        found = supposed(read_only(queue.log.url))

    assert (found.as_it_was.expired, found.as_it_was.open) == (2, 0)


def fail(_ctx: Context, _task: Task) -> None:
    """A worker that fails."""
    raise ConnectionError
