"""The what-if with limits, pauses, turns, flows and schedules, against logs that were made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from eventq import ArgumentError, Context, Handlers, Queue
from eventq.core.commits import AnyRule
from eventq.core.queue_events import Limited, Paused, Resumed, Shared
from eventq.core.task import Route
from eventq.core.values import Bucket, Scope
from eventq.sandbox import DueCount, LimitRule, Numbers, TurnRule
from tests.sandbox.trying import ReadOnlyLog, new_memory_url, read_only
from tests.sandbox.virtual import SECOND, START, Planned, made, order, supposed
from tests.support import ManualClock

SMTP = Bucket("smtp")


def but_workers(numbers: Numbers) -> Numbers:
    """The numbers without the workers, of which a record shows only those that were busy."""
    return replace(numbers, workers=0)


def limited(at: int, n: int, lengths_us: list[int], buckets: tuple[Bucket, ...]) -> Planned:
    """A task of these buckets, with its tag ``n``."""
    route = Route(None, None, ("limits",) if buckets else (), buckets)
    return Planned(START + at, order(n, route=route), lengths_us)


lengths = st.lists(st.integers(1, 10 * SECOND), min_size=1, max_size=2)
plans = st.lists(
    st.builds(
        limited,
        st.integers(0, 20 * SECOND),
        st.integers(0, 2),
        lengths,
        st.sampled_from([(), (SMTP,), (Bucket("api"),), (Bucket("api"), SMTP), (Bucket("per"),)]),
    ),
    min_size=1,
    max_size=12,
)


def limits(running: int, rate: int, window_us: int) -> list[AnyRule]:
    """Three limits: by running tasks, by a rate, and for each ``n``."""
    return [
        Limited(limit="smtp", running=running),
        Limited(limit="api", rate=rate, per_us=window_us),
        Limited(limit="per", running=1, per="n"),
    ]


numbers = st.integers(1, 3)
windows = st.integers(1, 15 * SECOND)


@settings(max_examples=25)
@given(planned=plans, workers=st.integers(1, 4), bounds=st.tuples(numbers, numbers, windows))
def test_limits_as_they_were(
    planned: list[Planned], workers: int, bounds: tuple[int, int, int]
) -> None:
    """Running tasks, rates and buckets by a tag are simulated as a node goes by them."""
    said = [(START, body) for body in limits(*bounds)]

    found = supposed(made(planned, workers=workers, said=said))

    assert found.as_it_was == found.what_if == found.recorded
    assert found.recorded.completed == len(planned)


@settings(max_examples=25)
@given(
    planned=plans,
    workers=st.integers(1, 4),
    bounds=st.tuples(numbers, numbers, windows),
    others=st.tuples(numbers, numbers, windows),
)
def test_other_bounds_are_foretold(
    planned: list[Planned],
    workers: int,
    bounds: tuple[int, int, int],
    others: tuple[int, int, int],
) -> None:
    """The what-if of other bounds is the log that they make."""
    log = made(planned, workers=workers, said=[(START, body) for body in limits(*bounds)])
    named = {bucket.limit for plan in planned for bucket in plan.order.route.buckets}
    running, rate, window_us = others
    rules = [LimitRule("smtp", running=running), LimitRule("api", rate=f"{rate}/{window_us}us")]

    found = supposed(log, workers=workers, limits=[r for r in rules if r.limit in named])

    really = made(planned, workers=workers, said=[(START, body) for body in limits(*others)])
    assert but_workers(found.what_if) == but_workers(supposed(really).recorded)


@settings(max_examples=25)
@given(
    planned=plans,
    until=st.none() | st.integers(1, 30 * SECOND),
    scope=st.sampled_from([Scope(), Scope(limit="smtp"), Scope(tags=(("n", "1"),))]),
    resumed=st.integers(1, 30 * SECOND),
)
def test_pauses_as_they_were(
    planned: list[Planned], until: int | None, scope: Scope, resumed: int
) -> None:
    """Of all, of a limit, of a tag's value; ended by hand or by the log's time."""
    end = None if until is None else START + until
    said = [(START, body) for body in limits(1, 2, SECOND)]
    said += [(START, Paused(scope=scope, until=end)), (START + resumed, Resumed(scope=scope))]

    found = supposed(made(planned, workers=2, said=said))

    assert found.as_it_was == found.what_if == found.recorded


@settings(max_examples=25)
@given(planned=plans, workers=st.integers(1, 3), weight=numbers)
def test_turns_are_foretold(planned: list[Planned], workers: int, weight: int) -> None:
    """As they were; supposed where there were none; and none where they were taken."""
    rules = [(START, body) for body in limits(2, 3, SECOND)]
    plain = made(planned, workers=workers, said=rules)
    turns = Shared(per="n", weights={"1": weight})
    fair = made(planned, workers=workers, said=[(START, turns), *rules])

    as_it_was = supposed(fair)
    supposedly = supposed(plain, workers=workers, turns=TurnRule("n", {"1": weight}))
    without = supposed(fair, workers=workers, turns=None)

    assert as_it_was.as_it_was == as_it_was.recorded
    assert but_workers(supposedly.what_if) == but_workers(as_it_was.recorded)
    plainly = replace(supposed(plain).recorded, by_share=without.what_if.by_share)
    assert but_workers(without.what_if) == but_workers(plainly)


def test_waits_are_told_by_share() -> None:
    """A tenant with a long backlog keeps a small one waiting, but not where they take turns."""
    planned = [limited(0, 1, [SECOND], ()) for _ in range(30)]
    planned += [limited(1, 2, [SECOND], ()) for _ in range(2)]

    found = supposed(made(planned, workers=1), turns=TurnRule("n"))

    assert list(found.recorded.by_share) == list(found.what_if.by_share) == ["1", "2"]
    assert found.recorded.by_share["2"].max_us == 31 * SECOND - 1
    assert found.what_if.by_share["2"].max_us == 3 * SECOND - 1


def test_a_limit_that_nobody_has_defined() -> None:
    """It held its tasks back; a definition that is supposed lets them run."""
    planned = [limited(0, 1, [SECOND], (SMTP,)) for _ in range(4)] + [limited(0, 1, [SECOND], ())]
    said = [(START + 60 * SECOND, Limited(limit="smtp"))]

    found = supposed(made(planned, workers=4, said=said), limits=[LimitRule("smtp", running=1)])

    assert found.recorded == found.as_it_was
    assert found.recorded.waits.max_us == 60 * SECOND
    assert found.recorded.makespan_us == 61 * SECOND
    assert found.what_if.makespan_us == 4 * SECOND


def test_nobody_is_absent_while_a_rate_or_a_pause_holds() -> None:
    """A higher rate, or no pause of all, is used by the workers that were there."""
    api = [limited(0, 1, [SECOND], (Bucket("api"),)) for _ in range(4)]
    rate = Limited(limit="api", rate=1, per_us=60 * SECOND)
    pause = Paused(scope=Scope(limit="api"), until=START + 30 * SECOND)

    log = made(api, workers=2, said=[(START, rate)])
    slow = supposed(log, workers=2, limits=[LimitRule("api", rate=None)])
    paused = supposed(made(api, workers=2, said=[(START, rate), (START, pause)]))

    assert slow.recorded.makespan_us == 181 * SECOND
    assert (slow.absent_us, slow.what_if.makespan_us) == (0, 2 * SECOND)
    assert (paused.absent_us, paused.recorded) == (0, paused.as_it_was)


def test_a_task_that_was_moved_waits_for_its_new_lane() -> None:
    """A pause of that one holds it, whatever its priority, and others go first."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:

        def work(_ctx: object, _task: object) -> None:
            clock.advance(10)

        queue.pause(lane="mail", until="40s")
        queue.new({}, key="moves", priority=5)
        for _ in range(3):
            queue.new({})
        queue.update("moves", lane="mail")
        queue.run(work, until="idle")
        clock.advance(60)
        queue.run(work, until="idle")
        log = read_only(queue.url)

    found = supposed(log)

    assert found.recorded.by_priority[5].max_us == 90 * SECOND
    assert found.as_it_was == found.recorded


# -- flows -----------------------------------------------------------------------------------------


def flows() -> ReadOnlyLog:
    """Three flows: one that completes, one that fails, one that nobody finishes."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1, max_retries=0) as queue:

        @queue.task
        def step(n: int, told: int | None = None) -> int:
            clock.advance(n)
            if n == 3:
                raise ValueError(told)
            return n

        for lengths_s in ([1, 2, 5], [1, 3, 5]):
            with queue.flow() as flow:
                results = [flow.new(step, n).result for n in lengths_s]
                flow.new(step, 4, results[1])
                flow.on_failure(step, 6)
                flow.finally_(step, 7)
        queue.run(until="idle")
        first = step.using(delay="1h").new(1)
        step.using(after=first).new(2)
        return read_only(queue.url)


def test_flows_as_they_were() -> None:
    """Members, what is cancelled with them, finalisers; what is open at the end stays open."""
    found = supposed(flows())

    assert found.recorded == found.as_it_was == found.what_if
    assert (found.recorded.completed, found.recorded.expired) == (9, 1)
    assert (found.recorded.cancelled, found.recorded.open) == (2, 2)


def test_a_wait_begins_when_the_last_predecessor_ends() -> None:
    """Not at the task's creation: until then it could not have been leased."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:

        def work(_ctx: object, _task: object) -> None:
            clock.advance(10)

        first = queue.new({"n": 1})
        queue.new({"n": 2}, after=first)
        queue.run(work, until="idle")
        log = read_only(queue.url)

    found = supposed(log)

    assert found.recorded.waits.max_us == found.as_it_was.waits.max_us == 0


# -- schedules -------------------------------------------------------------------------------------


def every_ten_minutes(**options: Any) -> ReadOnlyLog:  # noqa: ANN401 - those of a schedule
    """Six hours of a schedule whose task takes a minute and makes one that takes two."""
    clock = ManualClock()
    handlers = Handlers()

    @handlers.task
    def child() -> None:
        clock.advance(120)

    @handlers.cron("*/10 * * * *", **options)
    def tidy(ctx: Context) -> None:
        clock.advance(60)
        ctx.new(child)

    with Queue(new_memory_url(), clock=clock, workers=1, handlers=[handlers]) as queue:
        queue.run(until="idle")
        for _ in range(36):
            clock.advance(600)
            queue.run(until="idle")
        return read_only(queue.url)


def test_another_cron_is_supposed() -> None:
    """Each due brings its task, and what that made, in place of those that were."""
    log = every_ten_minutes()

    found = supposed(log, crons={"tidy": "0 * * * *"})

    [count] = found.schedules
    assert found.recorded == found.as_it_was
    assert (count.schedule, count.skipped) == ("tidy", 0)
    assert found.recorded.tasks == 2 * count.recorded
    assert found.what_if.tasks == found.what_if.completed == 2 * count.what_if
    hours = (log.head().at - START) // (3600 * SECOND)
    assert count.what_if in {hours, hours + 1}


def test_no_due_may_be_supposed() -> None:
    """Then nothing of the schedule is there, and the rest is as it was."""
    found = supposed(every_ten_minutes(), crons={"tidy": None})

    assert found.what_if.tasks == 0
    assert [count.what_if for count in found.schedules] == [0]


@pytest.mark.parametrize("overlap, all_made", [("skip", False), ("allow", True)])
def test_dues_that_overlap(overlap: str, all_made: bool) -> None:  # noqa: FBT001 - a parameter
    """A due while the task of the one before is open is skipped, or not."""
    log = every_ten_minutes(overlap=overlap)

    [count] = supposed(log, crons={"tidy": "* * * * *"}, workers=1).schedules

    assert count.what_if > count.recorded
    assert (count.skipped == 0) == all_made


def test_an_overlap_that_cancels() -> None:
    """The task of the due before is called off, and the new one made."""
    found = supposed(every_ten_minutes(overlap="cancel"), crons={"tidy": "* * * * *"}, workers=1)

    [count] = found.schedules
    assert count.skipped == 0
    assert found.what_if.cancelled > 0


def test_a_paused_schedule_makes_nothing() -> None:
    """Where it was paused, no other expression brings a due."""
    clock = ManualClock()
    with Queue(new_memory_url(), clock=clock, workers=1) as queue:

        @queue.cron("*/10 * * * *")
        def tidy() -> None:
            clock.advance(1)

        queue.run(until="idle")
        for _ in range(6):
            clock.advance(600)
            queue.run(until="idle")
        queue.schedules["tidy"].pause()
        clock.advance(6 * 3600)
        queue.new({"n": 1}, name="tidy")
        queue.run(until="idle")
        log = read_only(queue.url)

    [count] = supposed(log, crons={"tidy": "*/10 * * * *"}).schedules

    assert count == DueCount("tidy", recorded=6, what_if=6, skipped=0)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, argument",
    [
        ({"limits": [LimitRule("other", running=1)]}, "limits"),
        ({"limits": [LimitRule("smtp", running=0)]}, "running"),
        ({"limits": [LimitRule("smtp", rate="5")]}, "rate"),
        ({"limits": [LimitRule("exclusive", running=2)]}, "limit"),
        ({"turns": TurnRule("n", {"1": 0})}, "weights"),
        ({"turns": TurnRule("")}, "per"),
        ({"crons": {"tidy": "0 * * * *"}}, "crons"),
        ({"crons": {"tidy": "0 * * *"}}, "spec"),
        ({"crons": {"tidy": "0 0 31 2 *"}}, "spec"),
    ],
    ids=str,
)
def test_wrong_rules_are_told(wrong: dict[str, Any], argument: str) -> None:
    """With what was wrong."""
    log = made([limited(0, 1, [SECOND], (SMTP,))], workers=1, said=[(START, limits(1, 1, 1)[0])])

    with pytest.raises(ArgumentError) as caught:
        supposed(log, **wrong)

    assert caught.value.argument == argument
