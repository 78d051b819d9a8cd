"""The what-if against logs that were really made, by the policy as it was and by the supposed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from eventq import ArgumentError, Backoff, Queue, Retry, Task
from eventq.decide import NewTask, Outcome, lapse, settle
from eventq.events import Policy
from eventq.points import Point
from eventq.replay import Numbers, PriorityRule, whatif
from tests.core.bench import Bench
from tests.core.bench import order as plain_order
from tests.driver import record
from tests.replay.trying import ReadOnlyLog, end_of, new_memory_url, read_only
from tests.replay.virtual import START, Planned, made, supposed
from tests.support import ManualClock

SECOND = 1_000_000
PLAIN = Policy("linear", 3 * SECOND)


def order(n: int = 0, *, priority: int = 0, policy: Policy = PLAIN, **more: Any) -> NewTask:  # noqa: ANN401
    """An order for a task with a tag."""
    return NewTask(b'{"n":%d}' % n, policy, priority, **more)


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
        ends_at = 100 + 10 * number
        drafts = settle(
            bench.projection,
            [Outcome(number, fence, "completed")],
            worker="node",
            now=ends_at,
        )
        record(bench.log, bench.projection, drafts, now=ends_at)
    log = ReadOnlyLog(bench.log._storage, url="memory://", namespace="default")

    naive, told = supposed(log), supposed(log, workers_then=1)

    assert (naive.recorded.workers, naive.is_ahead) == (4, True)
    assert (told.recorded.workers, told.is_ahead) == (1, False)
    assert told.recorded == told.as_it_was
    assert (told.recorded.waits.max_us, told.recorded.makespan_us) == (30, 40)
    assert supposed(log, workers_then=1, workers=2).what_if.makespan_us == 20


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
    drafts = lapse(bench.projection, worker="dead", seen_seq=fence, room=9, now=130)
    record(bench.log, bench.projection, drafts, now=130)
    for number, now in ((2, 130), (1, 135)):
        [fence] = bench.lease("node", count=1, now=now)
        outcome = Outcome(number, fence, "completed")
        drafts = settle(bench.projection, [outcome], worker="node", now=now + 5)
        record(bench.log, bench.projection, drafts, now=now + 5)
    log = ReadOnlyLog(bench.log._storage, url="memory://", namespace="default")

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


# -- the rules beyond the record -------------------------------------------------------------------


def expiring() -> ReadOnlyLog:
    """Three tasks that fail once and have no retries, 10 s each; and one more long after them."""
    policy = Policy("linear", SECOND, max_retries=0)
    failing = Planned(START, order(policy=policy), [10 * SECOND, SECOND])
    return made([*[failing] * 3, Planned(START + 99 * SECOND, order(), [SECOND])], workers=1)


def test_what_failed_to_the_end_fails_on() -> None:
    """More retries make more failures, each as long as the task's own attempts."""
    found = supposed(expiring(), max_retries=1).what_if

    assert (found.completed, found.expired, found.open, found.drawn) == (1, 3, 0, 3)
    assert found.waits.median_us == 19 * SECOND


def test_a_rate_of_failures_stands_for_a_fix() -> None:
    """With none of the unrecorded attempts failing, all complete."""
    found = supposed(expiring(), max_retries=1, fail_rate=0).what_if

    assert (found.completed, found.failures, found.drawn) == (4, 3, 3)


def test_beyond_the_record_nothing_new_begins() -> None:
    """A task of which the record knows no more stays open, as it was."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:
        queue.new_many([{"n": n} for n in range(3)])
        clock.advance(1)

        def work(_ctx: object, task: Task) -> None:
            clock.advance(10)
            if task.number == 2:
                queue.stop()
                raise Retry(delay="1h")

        queue.run(work)
        queue.new(delay="5h")
        log = read_only(queue.url)

    found = supposed(log)

    assert found.recorded == found.as_it_was
    assert (found.recorded.completed, found.recorded.open) == (1, 3)


def test_a_shorter_deadline_ends_attempts() -> None:
    """What ran longer fails then, and again whenever it is tried."""
    planned = [Planned(START, order(n), [(n + 1) * SECOND]) for n in range(5)]
    log = made(planned, workers=5)

    found = supposed(log, deadline="3s", max_retries=0).what_if

    assert (found.completed, found.expired, found.failures) == (3, 2, 2)
    assert found.makespan_us == 3 * SECOND


def test_a_shorter_age_expires_what_waits() -> None:
    """Also what would have run beyond it; an own instant of expiry stays."""
    planned = [Planned(START, order(), [2 * SECOND]) for _ in range(5)]
    planned.append(Planned(START, order(expires_at=START + 3600 * SECOND), [SECOND]))
    log = made(planned, workers=1)

    found = supposed(log, max_age="5s", max_retries=0).what_if

    assert (found.completed, found.expired) == (3, 3)


def test_a_policy_without_an_end_is_told() -> None:
    """A failing task that waits for nothing would be tried for ever."""
    planned = [Planned(START, order(policy=Policy("linear", SECOND, max_retries=0)), [1, 1])]
    planned.append(Planned(START + 3600 * SECOND, order(), [1]))
    log = made(planned, workers=1)

    with pytest.raises(ArgumentError, match="end or wait"):
        supposed(log, backoff=0, max_retries=None)


# -- priorities ------------------------------------------------------------------------------------


def test_priorities_by_tag() -> None:
    """The first rule that fits counts; rows are of the same tasks in all three accounts."""
    planned = [Planned(START, order(n % 3), [SECOND]) for n in range(30)]
    log = made(planned, workers=1)
    rules = [PriorityRule({"n": 1}, 5), PriorityRule({"n": 1}, 9), PriorityRule({}, 1)]

    found = supposed(log, priorities=rules)

    assert list(found.recorded.by_priority) == list(found.what_if.by_priority) == [5, 1]
    assert found.what_if.by_priority[5].max_us == 9 * SECOND
    assert found.recorded.by_priority[5].max_us == 28 * SECOND
    assert found.recorded.waits == found.what_if.waits


# -- windows ---------------------------------------------------------------------------------------


def test_only_tasks_created_between_the_points_take_part() -> None:
    """Those open before are told as left out; points count in whole commits."""
    planned = [Planned(START + n * SECOND, order(n), [5 * SECOND]) for n in range(20)]
    log = made(planned, workers=2)
    after = next(e.seq for n in range(99) for e in log.history(n) if e.at == START + 9 * SECOND)

    found = whatif(log, after=Point(after, START), until=end_of(log))

    assert found.recorded.tasks < 20
    assert found.left_out > 0
    assert found.recorded.tasks == found.what_if.tasks


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"workers": -1},
        {"workers": True},
        {"workers": 10**9},
        {"workers_then": 0},
        {"backoff": "5"},
        {"backoff": -1},
        {"max_retries": -1},
        {"max_age": "0s"},
        {"deadline": "x"},
        {"fail_rate": 1.5},
        {"fail_rate": -0.1},
        {"fail_rate": float("nan")},
        {"seed": -1},
        {"priorities": [PriorityRule({"1": 2}, 1)]},
        {"priorities": [PriorityRule({"n": 2}, 2**40)]},
        {"until": Point(0, 0)},
        {"after": Point(99, 0)},
    ],
    ids=str,
)
def test_wrong_suppositions_are_told(wrong: dict[str, Any]) -> None:
    """With the argument's name."""
    log = expiring()
    arguments: dict[str, Any] = {"after": Point(0, 0), "until": end_of(log), **wrong}

    with pytest.raises(ArgumentError) as caught:
        whatif(log, **arguments)

    assert caught.value.argument in {*wrong, "until", "tags", "priority"}


def test_a_record_without_attempts_is_told() -> None:
    """There is nothing to learn run times from."""
    with Queue(new_memory_url()) as queue:
        queue.new()
        log = read_only(queue.url)

    with pytest.raises(ArgumentError, match="at least one attempt"):
        supposed(log)
