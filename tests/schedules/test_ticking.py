"""Schedules in runs, in virtual time: what is planned, what each due makes, and what not."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from msgspec import Struct
from msgspec.structs import replace

from eventq import ArgumentError, Handlers, Queue
from eventq.core.command import Decision
from eventq.core.new_task import TaskSpec
from eventq.core.queue_events import Planned, Ticked
from eventq.core.scheduling import Tick
from eventq.core.timing import Timing
from eventq.core.values import NODE
from eventq.runner.ticking import Ticking
from eventq.testing import harness
from eventq.testing.harness import Harness

START = "2027-03-28T00:00:00+00:00"
MINUTE = 60_000_000


def ticks(t: Harness, schedule: str | None = None) -> list[Ticked]:
    """What has been ticked, in order."""
    bodies = [event.body for event in t.queue.events() if isinstance(event.body, Ticked)]
    return [body for body in bodies if schedule in {None, body.schedule}]


def plans(t: Harness) -> list[Planned]:
    """What has been planned, in order."""
    return [event.body for event in t.queue.events() if isinstance(event.body, Planned)]


def outcomes(t: Harness) -> list[str]:
    """Minute and outcome of each tick."""
    return [f"{clock(body.due)} {body.outcome}" for body in ticks(t)]


def clock(at: int) -> str:
    """Hour and minute of an instant in UTC."""
    return f"{datetime.fromtimestamp(at / 1e6, UTC):%H:%M}"


def minutely(**options: Any) -> Handlers:  # noqa: ANN401 - those of cron
    """A handler that is called each ten minutes."""
    handlers = Handlers()

    @handlers.cron("*/10 * * * *", **options)
    def look() -> None:
        pass

    return handlers


def test_each_due_makes_a_task_at_its_instant() -> None:
    """It knows its schedule and its due, and stands behind its tick, in the same commit."""
    with harness(handlers=[minutely()], start=START) as t:
        t.forward("35m")

        assert outcomes(t) == ["00:10 made", "00:20 made", "00:30 made"]
        made = [event for event in t.queue.events() if event.kind == "created"]
        assert [event.at - ticks(t)[0].due for event in made] == [0, 10 * MINUTE, 20 * MINUTE]
        task = t.queue.tasks(state="completed")[0]
        assert (task.schedule, task.due) == ("look", datetime(2027, 3, 28, 0, 30, tzinfo=UTC))
        events = list(t.queue.events())
        for event in made:
            before = events[event.seq - 2]
            assert (before.kind, before.at) == ("ticked", event.at)


def test_nothing_is_planned_twice() -> None:
    """Runs that begin anew, also on another node, go on with what stands; a plan is not moved."""
    with harness(handlers=[minutely()], start=START) as t:
        for _ in range(10):
            t.forward("7m")
        t.crash_node()
        t.forward("20m")

        assert len(plans(t)) == 1
        assert len(ticks(t)) == 9


def test_an_interval_counts_elapsed_time_from_its_plan() -> None:
    """Its arguments are those that it was given; its name is the handler's or another."""
    handlers, seen = Handlers(), []

    @handlers.task
    def refresh(page: int) -> None:
        seen.append(page)

    handlers.every("90s", refresh, 7)
    handlers.every("1h", refresh.using(priority=5), 8, schedule="slowly")
    with harness(handlers=[handlers], start=START) as t:
        t.forward("1h")

        assert Counter(seen) == {7: 40, 8: 1}
        assert [tick.due - ticks(t)[0].due for tick in ticks(t, "refresh")[:3]] == [
            0,
            90_000_000,
            180_000_000,
        ]
        [slow] = [task for task in t.queue.tasks(state="completed") if task.schedule == "slowly"]
        assert slow.priority == 5


def test_a_task_that_is_no_handlers_may_be_scheduled() -> None:
    """By tags, for `run(worker)`; then the schedule needs a name."""
    handlers = Handlers()
    handlers.every("1m", TaskSpec({"page": 1}, priority=3), schedule="pages")
    with harness(handlers=[handlers], start=START) as t:
        t.forward("90s")

        [task] = t.queue.tasks()
        assert (task.schedule, task.tags, task.priority) == ("pages", {"page": 1}, 3)
    with pytest.raises(ArgumentError, match="schedule"):
        handlers.every("1m", TaskSpec({"page": 1}))


def later(handlers: Handlers, *, away: str) -> Harness:
    """A harness whose schedules are planned, after a time in which nothing ran."""
    made = Harness([handlers], start=START, seed=1)
    made.run()
    made.clock.forward(away)
    return made


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, ["00:10 missed", "01:00 made"]),
        ({"catch_up": "last"}, ["00:10 missed", "01:00 made"]),
        ({"catch_up": "none"}, ["00:10 missed"]),
        ({"catch_up": "none", "within": "10m"}, ["00:10 missed", "01:00 made"]),
        (
            {"catch_up": 2, "overlap": "allow"},
            ["00:10 missed", "00:50 made", "01:00 made"],
        ),
        (
            {"catch_up": "all", "overlap": "allow"},
            [f"{minute} made" for minute in ("00:10", "00:20", "00:30", "00:40", "00:50", "01:00")],
        ),
        (
            {"catch_up": "all", "overlap": "allow", "within": "26m"},
            ["00:10 missed", "00:40 made", "00:50 made", "01:00 made"],
        ),
        ({"within": "1m"}, ["00:10 missed"]),
        ({"within": "5m"}, ["00:10 missed", "01:00 made"]),
    ],
)
def test_what_was_missed(options: dict[str, Any], expected: list[str]) -> None:
    """Dues that came while nothing ran are caught up as the rules say; the others are told."""
    t = later(minutely(**options), away="65m")
    try:
        t.run()

        assert outcomes(t) == expected
        assert sum(tick.count for tick in ticks(t)) == 6
        assert t.problems() == []
    finally:
        t.close()


@pytest.mark.parametrize("options, passed_s", [({"within": "1m"}, 120), ({}, 660)])
def test_a_due_that_waits_for_a_slow_log_is_not_made_too_late(
    options: dict[str, Any], passed_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was in time, or the last, when a run looked; once the log takes it, it is so no more."""
    tick, slow_s = Ticking.tick, [passed_s]

    def slowly(ticking: Ticking, found: tuple[Tick, ...]) -> None:
        if slow_s:
            t.clock.forward(slow_s.pop())
        tick(ticking, found)

    with harness(handlers=[minutely(**options)], start=START) as t:
        t.run()
        monkeypatch.setattr(Ticking, "tick", slowly)
        t.forward("25m")

        assert outcomes(t) == ["00:10 missed", "00:20 made"]
        assert t.problems() == []


def test_years_that_were_missed_cost_one_event() -> None:
    """Of very many it is said that they were many."""
    t = later(minutely(), away="2000d")
    try:
        t.run()

        found = [(tick.outcome, tick.count) for tick in ticks(t)]
        assert found == [("missed", 10_000), ("made", 1)]
        assert t.problems() == []
    finally:
        t.close()


@pytest.mark.parametrize(
    "overlap, expected, states",
    [
        ("skip", ["made", "skipped", "skipped"], ["ready"]),
        ("allow", ["made", "made", "made"], ["ready"] * 3),
        ("cancel", ["made", "made", "made"], ["cancelled", "cancelled", "ready"]),
    ],
)
def test_while_the_one_before_is_open(overlap: str, expected: list[str], states: list[str]) -> None:
    """The next is skipped, made all the same, or the one before is cancelled."""
    handlers = Handlers()
    handlers.every("10m", TaskSpec({}, name="nobodys"), schedule="open", overlap=overlap)
    with harness(handlers=[handlers], start=START) as t:
        t.forward("35m")

        assert [tick.outcome for tick in ticks(t)] == expected
        found = sorted(t.queue.tasks(state=["ready", "cancelled"]), key=lambda task: task.number)
        assert [str(task.state) for task in found] == states


def test_what_has_ended_overlaps_with_nothing() -> None:
    """Also what has expired without anybody having said so yet."""
    handlers = Handlers()
    handlers.every("10m", TaskSpec({}, max_age="5m"), schedule="short")
    with harness(handlers=[handlers], start=START) as t:
        t.forward("31m")

        assert [tick.outcome for tick in ticks(t)] == ["made"] * 3


def test_a_unique_value_that_is_taken_skips_the_due() -> None:
    """One open task a value holds for schedules, too; what is late makes room."""
    handlers = Handlers()
    spec = TaskSpec({}, unique="one", max_age="15m")
    handlers.every("10m", spec, schedule="unique", overlap="allow")
    with harness(handlers=[handlers], start=START) as t:
        t.forward("35m")

        assert [tick.outcome for tick in ticks(t)] == ["made", "skipped", "made"]
        assert "unique value" in ticks(t)[1].reason


def test_a_task_that_is_cancelled_frees_its_unique_value_for_the_next() -> None:
    """In the same commit: `overlap="cancel"` goes together with `unique`."""
    handlers = Handlers()
    spec = TaskSpec({}, unique="one")
    handlers.every("10m", spec, schedule="unique", overlap="cancel")
    with harness(handlers=[handlers], start=START) as t:
        t.run()
        t.forward("25m")

        assert outcomes(t) == ["00:10 made", "00:20 made"]
        both = ["ready", "cancelled"]
        assert [task.state for task in t.queue.tasks(state=both)] == both


def test_jitter_is_drawn_once_and_stored() -> None:
    """All ticks of a schedule come so much later; their dues stay as they are."""
    with harness(handlers=[minutely(jitter="5m")], start=START, seed=3) as t:
        t.forward("1h")

        [plan] = plans(t)
        assert 0 < plan.shift_us < 5 * MINUTE
        stamps = [event.at for event in t.queue.events() if event.kind == "ticked"]
        assert [at - tick.due for at, tick in zip(stamps, ticks(t), strict=True)] == (
            [plan.shift_us] * 5
        )


def test_a_changed_definition_replaces_the_stored_one() -> None:
    """The old one, started later, does nothing and warns, unless its version is higher."""
    url = "memory://definitions"
    seen: list[list[str]] = []
    for handlers in (
        minutely(),
        minutely(within="1h"),
        minutely(),
        minutely(version=1),
    ):
        with Queue(url, handlers=[handlers]) as queue:
            queue.run(until="idle", signals=False)
            bodies = [e.body for e in queue.events() if isinstance(e.body, Planned)]
            seen.append([str(body.rules.within_us) for body in bodies])

    assert seen == [
        ["None"],
        ["None", "3600000000"],
        ["None", "3600000000"],
        ["None", "3600000000", "None"],
    ]


def test_a_run_that_rests_without_schedules_computes_nothing() -> None:
    """The look of a run asks one thing of a queue without any."""
    with harness(handlers=[Handlers()], start=START) as t:
        t.queue.new({})
        report = t.forward("1h")

        assert report.completed == 0
        assert not {event.kind for event in t.queue.events()} & {"planned", "ticked"}


def test_a_due_that_makes_none_against_its_will_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Once for a reason; what its overlap or its unique value skips is not."""
    handlers = minutely(limits=["smtp"])
    handlers.limit("smtp", running=1, per="host")
    other = minutely(name="other")
    with harness(handlers=[handlers, other], start=START) as t:
        t.queue.pause()
        t.forward("35m")

        [found] = [record.getMessage() for record in caplog.records]
        assert found.startswith("schedule look makes no task: limits: expected a tag 'host'")
        kinds = Counter((body.schedule, body.outcome) for body in ticks(t))
        assert kinds == {("look", "skipped"): 3, ("other", "made"): 1, ("other", "skipped"): 2}


class Plan(Struct, frozen=True):
    """Appends a plan, whatever it says."""

    body: Planned
    unconditional: ClassVar[bool] = False
    leasing: ClassVar[bool] = False

    def decide(self, *_: object) -> Decision[None]:
        """See Command.decide."""
        return Decision([(NODE, self.body)], None)


def test_a_zone_that_this_machine_lacks_is_left_to_others(caplog: pytest.LogCaptureFixture) -> None:
    """It warns once; the other schedules are ticked, and the run rests."""
    with harness(handlers=[minutely()], start=START) as t:
        t.run()
        [plan] = plans(t)
        timing = Timing(cron="* * * * *", zone="Mars/Base")
        t._node.execute(Plan(replace(plan, schedule="far", timing=timing, code=None)))
        t.forward("25m")

        assert outcomes(t) == ["00:10 made", "00:20 made"]
        # Each run of the harness looks anew.
        assert sum("cannot be ticked" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "options, argument",
    [
        ({"spec": "0 0 31 2 *"}, "spec"),
        ({"tz": "Mars/Base"}, "tz"),
        ({"catch_up": "some"}, "catch_up"),
        ({"catch_up": 0}, "catch_up"),
        ({"catch_up": True}, "catch_up"),
        ({"catch_up": 1_001}, "catch_up"),
        ({"catch_up": "all"}, "overlap"),
        ({"overlap": "maybe"}, "overlap"),
        ({"within": 0}, "within"),
        ({"jitter": "-1s"}, "jitter"),
        ({"version": -1}, "version"),
        ({"schedule": "a b"}, "schedule"),
        ({"unique": True, "on_duplicate": "raise"}, "on_duplicate"),
        ({"sort": "of"}, "sort"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(list(value.values())),
)
def test_what_is_wrong_is_refused_where_it_is_defined(
    options: dict[str, Any], argument: str
) -> None:
    """With the name of the option; and then there is no such schedule, and no such handler."""
    handlers = Handlers()

    def function() -> None:
        pass

    spec = options.pop("spec", "* * * * *")
    with pytest.raises(ArgumentError) as wrong:
        handlers.cron(spec, **options)(function)

    assert wrong.value.argument == argument
    assert len(handlers) == len(handlers.schedules) == 0


def test_a_schedule_takes_no_result_of_a_task() -> None:
    """Its tasks come after none; so there is no such schedule."""
    queue = Queue("memory://")

    @queue.task("double")
    def double(number: int) -> int:
        return 2 * number

    task = double.new(1)
    with queue, pytest.raises(ArgumentError, match="number: expected no result"):
        queue.every("1m", double, queue.result(task))

    assert list(queue._registry.schedules()) == []


@pytest.mark.parametrize("every", [0, "0s", "soon"])
def test_an_interval_of_nothing_is_refused(every: object) -> None:
    """As are a key of its own, and arguments that the handler does not take."""
    handlers = Handlers()

    @handlers.task
    def function(page: int) -> None:
        pass

    with pytest.raises(ArgumentError, match="every"):
        handlers.every(every, function, 1)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="key"):
        handlers.every("1m", function.using(key="k"), 1)
    with pytest.raises(TypeError):
        handlers.every("1m", function)
    with pytest.raises(ArgumentError, match="handler"):
        handlers.every("1m", print)  # type: ignore[arg-type]
    handlers.every("1m", function, 1)
    with pytest.raises(ArgumentError, match="schedule"):
        handlers.every("2m", function, 2)
