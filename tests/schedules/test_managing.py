"""Schedules as people and programs handle them: pausing, changing, making tasks by hand."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from eventq import ArgumentError, Handlers, Queue
from eventq.core.new_task import TaskSpec
from eventq.core.queue_events import Planned, Ticked
from eventq.testing import harness
from eventq.testing.harness import Harness

START = "2027-03-28T00:00:00+00:00"
BEGIN = datetime.fromisoformat(START)
MINUTE = timedelta(minutes=1)


def hourly(**options: Any) -> Handlers:  # noqa: ANN401 - those of cron
    """A handler that is called each hour."""
    handlers = Handlers()

    @handlers.cron("0 * * * *", **options)
    def look() -> None:
        pass

    return handlers


def ticks(t: Harness) -> list[tuple[int, str, int]]:
    """Hour of the due, outcome and count of each tick."""
    bodies = [event.body for event in t.queue.events() if isinstance(event.body, Ticked)]
    begun = int(BEGIN.timestamp()) * 1_000_000
    return [((body.due - begun) // 3_600_000_000, body.outcome, body.count) for body in bodies]


def test_what_is_paused_makes_nothing_and_says_so_when_it_goes_on() -> None:
    """One event stands for all dues that came meanwhile; who paused it, and why, is kept."""
    with harness(handlers=[hourly()], start=START) as t:
        t.forward("90m")
        schedule = t.queue.schedules["look"]
        schedule.pause(by="ada", reason="provider down")
        schedule.pause(by="bob")
        state = schedule.state
        t.forward("3h")
        before = ticks(t)
        schedule.resume(by="ada")
        t.forward("1h")

        assert (state.paused, state.by, state.reason) == (True, "ada", "provider down")
        assert before == [(1, "made", 1)]
        assert ticks(t) == [(1, "made", 1), (2, "paused", 3), (5, "made", 1)]
        assert not schedule.state.paused
        with pytest.raises(ArgumentError, match="a schedule that is paused"):
            schedule.resume()


def test_a_pause_without_dues_leaves_the_next_one() -> None:
    """Nothing has come, so nothing is told."""
    with harness(handlers=[hourly()], start=START) as t:
        t.forward("10m")
        t.queue.schedules["look"].pause()
        t.forward("10m")
        t.queue.schedules["look"].resume()
        t.forward("50m")

        assert ticks(t) == [(1, "made", 1)]


def test_a_pause_outlives_new_code() -> None:
    """Whoever deploys meanwhile does not start it."""
    with harness(handlers=[hourly()], start=START) as t:
        t.run()
        t.queue.schedules["look"].pause(by="ada")
        t._handlers._registries[1:] = []
        [coded] = t.queue._registry._collections[1].schedules.values()
        changed = type(coded)(
            coded.name, coded.timing, type(coded.rules)(within_us=7), coded.spec, coded.version
        )
        t.queue._registry._collections[1].schedules["look"] = changed
        t.forward("2h")

        assert t.queue.schedules["look"].state.paused
        assert t.queue.schedules["look"].state.within_us == 7
        assert ticks(t) == []


def test_a_trigger_makes_one_more_and_moves_nothing() -> None:
    """Also while it is paused; the next due looks at its task, too."""
    handlers = Handlers()
    handlers.every("1h", TaskSpec({"n": 1}), schedule="open")
    with harness(handlers=[handlers], start=START) as t:
        t.run()
        schedule = t.queue.schedules["open"]
        next_at = schedule.state.next_at
        schedule.pause()
        task = schedule.trigger(by="ada", reason="now")
        schedule.resume()

        assert task is not None
        assert (task.tags, task.schedule, task.due) == ({"n": 1}, "open", BEGIN)
        assert schedule.state.next_at == next_at
        assert schedule.state.task == task.number
        t.forward("1h")
        assert ticks(t) == [(0, "made", 1), (1, "skipped", 1)]


def test_a_trigger_of_what_is_unique() -> None:
    """None, where its value is taken."""
    handlers = Handlers()
    handlers.every("1h", TaskSpec({}, unique="one"), schedule="one")
    with harness(handlers=[handlers], start=START) as t:
        t.run()

        assert t.queue.schedules["one"].trigger() is not None
        assert t.queue.schedules["one"].trigger() is None


def test_a_backfill_makes_the_tasks_of_past_dues() -> None:
    """First shown, then made, each with its due; the schedule stays where it is."""
    with harness(handlers=[hourly()], start=START) as t:
        t.forward("10m")
        schedule = t.queue.schedules["look"]
        since, until = BEGIN - timedelta(hours=3), BEGIN
        shown = schedule.backfill(since, until, preview=True)
        before = t.queue.stats().seq
        made = schedule.backfill(since, until, by="ada")
        report = t.run()

        assert shown == [BEGIN - timedelta(hours=hours) for hours in (3, 2, 1)]
        assert [task.due for task in made] == shown
        assert before == made[0].number - 2
        assert report.completed == 3
        assert schedule.state.next_at == BEGIN + timedelta(hours=1)
        bodies = [e.body for e in t.queue.events() if isinstance(e.body, Ticked)]
        assert {(body.hand, body.by) for body in bodies} == {("backfill", "ada")}


def test_a_backfill_of_many_is_made_in_portions() -> None:
    """And one of more than its limit is refused, before anything is made."""
    with harness(handlers=[hourly()], start=START) as t:
        t.run()
        schedule = t.queue.schedules["look"]
        made = schedule.backfill(BEGIN - timedelta(hours=500), BEGIN, limit=500)

        assert len(made) == 500
        seq = t.queue.stats().seq
        for since, until, options, argument in [
            (BEGIN - timedelta(days=50_000 // 24), BEGIN, {}, "limit"),
            (BEGIN - timedelta(hours=101), BEGIN, {}, "limit"),
            (BEGIN - MINUTE, BEGIN + timedelta(days=1), {}, "until"),
            (BEGIN, BEGIN - MINUTE, {}, "until"),
            (BEGIN - MINUTE, BEGIN, {"limit": 0}, "limit"),
            (BEGIN - MINUTE, BEGIN, {"limit": 1_000_000}, "limit"),
        ]:
            with pytest.raises(ArgumentError) as wrong:
                schedule.backfill(since, until, **options)  # type: ignore[call-overload]
            assert wrong.value.argument == argument
        assert t.queue.stats().seq == seq


def test_an_update_holds_until_the_code_changes() -> None:
    """Its next due goes by the new rule; what stays out is unchanged."""
    with harness(handlers=[hourly(within="2h", jitter="1s")], start=START) as t:
        t.run()
        schedule = t.queue.schedules["look"]
        schedule.update(spec="*/15 * * * *", by="ada", reason="more often")
        t.forward("31m")
        state = schedule.state

        assert (state.cron, state.within_us, state.by) == ("*/15 * * * *", 7_200_000_000, "ada")
        assert [outcome for _, outcome, _ in ticks(t)] == ["made", "made"]
        schedule.update(every="10m", overlap="allow", catch_up=5)
        assert (schedule.state.every_us, schedule.state.catch_up) == (600_000_000, "5")
        before = t.queue.stats().seq
        schedule.update(catch_up=5)
        assert t.queue.stats().seq == before
        for options, argument in [
            ({"every": "1m", "tz": "UTC"}, "every"),
            ({"spec": "a"}, "spec"),
            ({"catch_up": "none", "overlap": "so"}, "overlap"),
        ]:
            with pytest.raises(ArgumentError) as wrong:
                schedule.update(**options)  # type: ignore[arg-type]
            assert wrong.value.argument == argument


def test_a_due_that_has_come_is_not_lost_by_an_update() -> None:
    """It is ticked by the new rules, once."""
    with harness(handlers=[hourly()], start=START) as t:
        t.run()
        t.clock.forward("90m")
        t.queue.schedules["look"].update(spec="45 * * * *")
        t.run()

        assert ticks(t) == [(1, "made", 1)]
        assert t.queue.schedules["look"].next(1) == [BEGIN + 105 * MINUTE]


def test_the_next_dues() -> None:
    """As many as are asked for; also of what is paused."""
    with harness(handlers=[hourly(tz="Europe/Berlin")], start=START) as t:
        t.run()
        schedule = t.queue.schedules["look"]
        schedule.pause()

        assert schedule.next(3) == [BEGIN + timedelta(hours=hours) for hours in (1, 2, 3)]
        with pytest.raises(ArgumentError, match="count"):
            schedule.next(0)


def test_all_schedules_are_listed_by_name() -> None:
    """With what a person wants to know; what is not there is an error."""
    handlers = hourly()
    handlers.every("90s", TaskSpec({}, name="a.b"), schedule="a", jitter="2s")
    with harness(handlers=[handlers], start=START) as t:
        t.forward("65m")
        states = t.queue.schedules.states()

        assert len(t.queue.schedules) == 2
        assert "a" in t.queue.schedules
        assert [each.name for each in t.queue.schedules] == ["a", "look"]
        assert [(each.schedule, each.spec) for each in states] == [
            ("a", "every 1m30s, put off by up to 2s"),
            ("look", "at the start of every hour, UTC"),
        ]
        assert (states[1].last_outcome, states[1].last_due) == ("made", BEGIN + 60 * MINUTE)
        with pytest.raises(ArgumentError, match="name of a schedule"):
            t.queue.schedules["b"]


def test_what_code_does_not_define_is_pruned_when_asked() -> None:
    """First shown; by itself nothing is forgotten."""
    url = "memory://pruned"
    handlers = hourly()
    handlers.every("1m", TaskSpec({}), schedule="old")
    with Queue(url, handlers=[handlers]) as queue:
        queue.run(until="idle", signals=False)
    with Queue(url, handlers=[hourly()]) as queue:
        queue.run(until="idle", signals=False)

        assert len(queue.schedules) == 2
        assert queue.schedules.prune(preview=True) == ["old"]
        assert len(queue.schedules) == 2
        assert queue.schedules.prune(by="ada") == ["old"]
        assert [each.name for each in queue.schedules] == ["look"]
        assert queue.schedules.prune() == []
    with Queue(url) as queue:
        with pytest.raises(ArgumentError, match="whose code defines schedules"):
            queue.schedules.prune()
        queue.schedules["look"].drop(by="ada")
        assert len(queue.schedules) == 0


def test_the_same_is_awaited() -> None:
    """With asyncio."""
    with Queue("memory://awaited", handlers=[hourly()]) as queue:
        queue.run(until="idle", signals=False)

        async def main() -> list[Any]:
            schedules = queue.aio.schedules
            schedule = schedules["look"]
            await schedule.pause(by="ada")
            task = await schedule.trigger()
            now = datetime.now(UTC)
            shown = await schedule.backfill(now - timedelta(hours=2), now, preview=True)
            return [await schedules.states(), await schedule.state(), task, shown]

        states, state, task, shown = asyncio.run(main())

        assert states == [state]
        assert state.paused
        assert task.schedule == "look"
        assert len(shown) == 2


def test_plans_by_hand_say_who_and_why() -> None:
    """Each event carries it, so that a history explains itself."""
    with harness(handlers=[hourly()], start=START) as t:
        t.run()
        t.queue.schedules["look"].pause(by="ada", reason="why", via="cli")

        [_, said] = [e.body for e in t.queue.events() if isinstance(e.body, Planned)]
        assert (said.by, said.reason, said.via) == ("ada", "why", "cli")
