"""The rules of the what-if beyond the record, its priorities, windows, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from eventq import ArgumentError, Queue, Retry, Task
from eventq.core.values import ErrorInfo, Policy
from eventq.replay.points import Point
from eventq.sandbox import PriorityRule, whatif
from tests.core.bench import Bench
from tests.core.bench import order as plain_order
from tests.deciding import cancel
from tests.driver import record
from tests.sandbox.trying import ReadOnlyLog, end, end_of, new_memory_url, read_only, written
from tests.sandbox.virtual import SECOND, START, Planned, made, order, supposed
from tests.support import ManualClock

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


def test_what_ran_into_its_deadline_runs_into_any() -> None:
    """It is known no further than that."""
    bench = Bench()
    bench.have(plain_order(), now=100)
    late = ErrorInfo("eventq.DeadlineExceededError")
    for begun_at, kind, error in ((100, "failed", late), (150, "completed", None)):
        [fence] = bench.lease("node", now=begun_at)
        end(bench, 1, fence, kind, begun_at + 30, error=error)
    log = written(bench)

    found = supposed(log, deadline=0.001, workers=1)

    assert found.as_it_was.makespan_us == 30 + 10 + 30
    assert found.what_if.makespan_us == 1_000 + 10 + 30


def test_a_delay_of_the_workers_own_stays() -> None:
    """Another backoff is no matter of a Retry that says how long to wait."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1, backoff="10s") as queue:
        queue.new_many([{"n": n} for n in range(3)])

        def work(_ctx: object, task: Task) -> None:
            clock.advance(5)
            if task.number == 1 and task.attempt == 1:
                raise Retry(delay="3s")

        queue.run(work, until="idle")
        log = read_only(queue.url)

    found = supposed(log, backoff="1h")

    assert found.what_if == found.as_it_was == found.recorded


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


def test_a_retry_at_once_comes_behind_the_next_lease() -> None:
    """Leases and outcomes share a commit, in which the retry is not there yet."""
    at_once = Policy("linear", 0)
    planned = [
        Planned(START, order(priority=1, policy=at_once), [5 * SECOND, 5 * SECOND]),
        Planned(START, order(policy=at_once), [SECOND]),
    ]

    found = supposed(made(planned, workers=1))

    assert found.recorded == found.as_it_was
    assert found.recorded.by_priority[1].max_us == SECOND


def test_what_has_completed_is_not_reopened() -> None:
    """A retry by hand falls away where the task did not expire."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1, max_retries=0) as queue:
        queue.new({"n": 1}, key="task")

        def work(_ctx: object, task: Task) -> None:
            clock.advance(10)
            if task.attempt == 1:
                raise ValueError

        queue.run(work, until="idle")
        clock.advance(40)
        queue.retry("task")
        queue.run(work, until="idle")
        log = read_only(queue.url)

    found = supposed(log, max_retries=1, backoff="5s")

    assert found.recorded == found.as_it_was
    assert found.recorded.makespan_us == 60 * SECOND
    assert (found.what_if.completed, found.what_if.attempts) == (1, 2)
    assert found.what_if.makespan_us == 25 * SECOND


def test_what_was_given_back_is_one_attempt() -> None:
    """It is given back after as long, and begins again."""
    bench = Bench()
    bench.have(plain_order(), now=100)
    for now, kind in ((100, "released"), (120, "completed")):
        [fence] = bench.lease("node", now=now)
        end(bench, 1, fence, kind, now + 10)
    log = written(bench)

    found = supposed(log, workers=1)

    assert (found.recorded.attempts, found.recorded.waits.max_us) == (1, 20)
    assert (found.what_if.attempts, found.what_if.makespan_us) == (1, 20)


def test_what_was_called_off_while_it_ran_stays_so() -> None:
    """It is no failure, and begun earlier it has not completed for that."""
    bench = Bench()
    bench.have(plain_order(), plain_order(), now=100)
    first, second = bench.lease("node", now=120)
    task = bench.projection.tasks[1]
    record(bench.log, bench.projection, cancel(task, reason="", by=None), now=150)
    end(bench, 2, second, "completed", 160)
    log = written(bench)

    found = supposed(log, workers=2)

    assert first < second
    for numbers in (found.recorded, found.as_it_was, found.what_if):
        assert (numbers.completed, numbers.cancelled, numbers.failures) == (1, 1, 0)


def test_whoever_was_there_at_last_stays() -> None:
    """A retry that comes later than all that was is made all the same."""
    log = made([Planned(START, order(), [5 * SECOND, 5 * SECOND])], workers=1)

    found = supposed(log, backoff="1h").what_if

    assert (found.completed, found.makespan_us) == (1, 3610 * SECOND)


def test_nobody_works_where_nobody_did() -> None:
    """Neither before the first run nor between two, however many workers are supposed."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:
        for _ in range(2):
            queue.new_many([{"n": n} for n in range(2)])
            clock.advance(20)
            queue.run(lambda _ctx, _task: clock.advance(5), until="idle")
            clock.advance(60)
        log = read_only(queue.url)

    found = supposed(log, workers=2)

    assert found.recorded == found.as_it_was
    assert found.absent_us == 40 * SECOND
    assert (found.recorded.waits.max_us, found.what_if.waits.max_us) == (25 * SECOND, 20 * SECOND)
    assert found.what_if.waits.median_us == 20 * SECOND


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
    # As it was, tasks had their own priorities; only the rows are those of the what-if.
    assert found.as_it_was == found.recorded
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
        {"fail_rate": "0.5"},
        {"fail_rate": []},
        {"limits": "smtp"},
        {"limits": 5},
        {"limits": [5]},
        {"turns": "tenant"},
        {"crons": "* * * * *"},
        {"crons": [1]},
        {"priorities": 5},
        {"priorities": [5]},
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
