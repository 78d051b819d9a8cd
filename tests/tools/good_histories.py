"""Histories of each feature, made by eventq itself in virtual time; each is good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import eventq
from eventq.core.new_task import TaskSpec
from eventq.testing import harness
from eventq.testing.harness import Harness
from tests.tools.histories import raw_commits
from tools.history.checker import RawCommit

Story = Callable[[], list[RawCommit]]
START = "2027-03-27T22:00:00+01:00"


class BusyError(Exception):
    """What handlers here may meet."""


@contextmanager
def playing(handlers: eventq.Handlers, **options: object) -> Iterator[Harness]:
    """A queue in virtual time."""
    with harness(handlers=[handlers], start=START, seed=1, **options) as t:
        yield t


def commits_of(t: Harness) -> list[RawCommit]:
    """What its log holds."""
    return raw_commits(t.queue._node.log)


def retries() -> list[RawCommit]:
    """Failures of each kind of backoff, with jitter, caps and handlers' rules; some expire."""
    shop = eventq.Handlers()
    waits = [
        eventq.Backoff.constant("5s"),
        eventq.Backoff.linear("10s", cap="15s"),
        eventq.Backoff.exponential("1s", jitter=0.5),
    ]

    @shop.task("fails", max_retries=3, retry={KeyError: "7s", ValueError: eventq.Fail})
    def fails(error: str) -> None:
        raise {"key": KeyError, "value": ValueError, "busy": BusyError}[error]

    with playing(shop) as t:
        for wait in waits:
            fails.using(backoff=wait).new("busy")
        fails.new("key")
        fails.new("value")
        fails.using(max_age="12s").new("busy")
        t.forward("5m")
        t.queue.retry("1", by="ada")
        t.forward("5m")
        return commits_of(t)


def outcomes() -> list[RawCommit]:
    """What workers raise on purpose: later, never, for good, put off; what they tell and make."""
    shop = eventq.Handlers()

    @shop.task("does", max_retries=2, keep_logs="info")
    def does(ctx: eventq.Context, what: str) -> str:
        if what == "snooze" and ctx.task.snoozes < 2:
            raise eventq.Snooze("30s")
        if what == "retry" and ctx.task.attempt < 2:
            ctx.progress(1, 2, note="half")
            ctx.log.info("half of it")
            ctx.save({"tried": 1})
            raise eventq.Retry(delay="45s")
        if what == "cancel":
            raise eventq.Cancel("nobody wants it")
        if what == "fail":
            raise eventq.Fail("it is hopeless")
        if what == "make":
            ctx.new(does, "made")
            ctx.new(does.using(priority=5, unique="one"), "made")
        return what

    with playing(shop) as t:
        for what in ("snooze", "retry", "cancel", "fail", "make"):
            does.using(key=f"does:{what}").new(what)
        t.forward("5m")
        return commits_of(t)


def lapses() -> list[RawCommit]:
    """Nodes that die before and after the work, one task three times; one is given up for it."""
    shop = eventq.Handlers()

    @shop.task("kills", max_lapses=2, backoff="20s")
    def kills(number: int) -> int:
        return number

    with playing(shop) as t:
        kills.new(1)
        for after in (False, True, False):
            t.crash_node(kills, after=after)
        t.forward("10m")
        kills.new(2)
        t.crash_node(kills)
        t.crash_node(kills)
        t.forward("10m")
        return commits_of(t)


def hands() -> list[RawCommit]:
    """What people do: update, cancel, hurry on, bring back, repeat; with schedules and expiries."""
    shop = eventq.Handlers()

    @shop.task("does", max_retries=0)
    def does(number: int) -> None:
        if number == 3:
            raise BusyError

    with playing(shop) as t:
        for number in range(6):
            does.using(priority=number % 3, delay="1m", key=f"n:{number}").new(number)
        does.using(max_age="30s", delay="20s").new(6)
        t.queue.update("n:1", priority=9, by="ada")
        t.queue.update("n:2", delay="70s", tags={"number": 7})
        t.queue.cancel("n:4", reason="no more", by="ada")
        t.queue.retry("n:5", by="ada")
        t.queue.pause()
        t.forward("2m")
        t.queue.resume()
        t.run()
        t.queue.retry("n:3", by="ada")
        t.queue.retry("n:4", by="ada")
        t.queue.repeat("n:0")
        t.forward("1m")
        return commits_of(t)


def limits() -> list[RawCommit]:
    """Bounds of running and of rates, by tags, several at once, exclusive ones; they change."""
    shop = eventq.Handlers()

    @shop.task("sends", limits=["smtp"])
    def sends(ctx: eventq.Context, host: str, number: int) -> str:
        ctx.sleep("2s")
        return f"{host} {number}"

    with playing(shop, workers=4) as t:
        t.queue.set_limit("smtp", running=2, rate="3/1m", per="host")
        t.queue.set_limit("disk", running=3)
        for number in range(8):
            sends.using(priority=number % 2).new(f"mx{number % 2}", number)
            sends.using(limits=["smtp", "disk"], exclusive=["repo:7"]).new("mx2", number)
        sends.using(limits=["nobodys"]).new("mx3", 9)
        t.forward("3m")
        t.queue.set_limit("smtp", running=1, rate="9/2m", per="host")
        t.forward("1h")
        t.queue.set_limit("nobodys", running=1)
        t.run()
        return commits_of(t)


def turns() -> list[RawCommit]:
    """Shares take turns by their weights, over several priorities; some come late."""
    shop = eventq.Handlers()

    @shop.task("does")
    def does(tenant: str) -> str:
        return tenant

    with playing(shop, workers=2) as t:
        for tenant in ["huge"] * 9 + ["small", "gold"]:
            does.new(tenant)
        t.queue.fair(per="tenant", weights={"gold": 3, "odd": 7})
        for number in range(20):
            tenant = ["gold", "odd", "small"][number % 3]
            does.using(priority=number % 2, delay=f"{number // 4}s").new(tenant)
        does.using(share="own").new("huge")
        t.forward("1m")
        return commits_of(t)


def pauses() -> list[RawCommit]:
    """Pauses of lanes, names, tags and buckets; some end by themselves."""
    shop = eventq.Handlers()

    @shop.task("mail.sends", lane="mail")
    def sends(tenant: str) -> str:
        return tenant

    @shop.task("does", limits={"smtp": "mx1"})
    def does(number: int) -> int:
        return number

    with playing(shop) as t:
        t.queue.set_limit("smtp", running=1, per="host")
        t.queue.pause(lane="mail", until="2m", by="ada", reason="provider down")
        t.queue.pause(tags={"tenant": "7"})
        t.queue.pause(limit="smtp", value="mx1", until="30s")
        t.queue.pause(tags={"number": 99}, until="40s")
        t.forward("25s")
        does.new(99)
        does.using(limits=[]).new(99)
        for number in range(6):
            sends.new(str(6 + number % 3))
            does.new(number)
        t.forward("1m")
        t.queue.pause(name="mail.*", until="5m")
        t.forward("2m")
        t.queue.resume(tags={"tenant": "7"})
        t.forward("10m")
        return commits_of(t)


def flows() -> list[RawCommit]:
    """Flows that go well and that fail: results, holds, cascades, and what comes back or cannot."""
    shop = eventq.Handlers()

    @shop.task("scans", max_retries=0)
    def scans(ctx: eventq.Context, page: int) -> str:
        if page == 3 and ctx.task.attempt == 1:
            raise BusyError
        if page == 4:
            ctx.new(scans, 1)
        return f"page {page}"

    @shop.task("joins")
    def joins(one: str, two: str) -> str:
        return one + two

    @shop.task("tells")
    def tells(what: str) -> str:
        return what

    with playing(shop) as t:
        for second in (2, 3, 4):
            with t.queue.flow(f"doc:{second}") as flow:
                one, two = flow.new(scans, 1), flow.new(scans, second)
                whole = flow.new(joins, one.result, two.result)
                flow.new(tells.using(after=whole), "whole")
                flow.on_failure(tells, "failed")
                flow.finally_(tells, "done")
        bad = scans.new(3)
        held = tells.using(after=bad, if_failed="hold").new("held")
        tells.using(after=bad, if_failed="run").new("run")
        tells.using(after=held).new("behind")
        tells.using(after=bad, unique="one").new("skipped")
        t.run()
        # What it cancelled comes back with it, but for one whose value is taken.
        tells.using(unique="one", delay="10s").new("taken")
        t.queue.retry(bad.key, by="ada")
        failed = next(each for each in t.queue.tasks(state="expired") if each.name == "scans")
        t.queue.retry(failed.key, by="ada")
        t.forward("1m")
        return commits_of(t)


def uniques() -> list[RawCommit]:
    """One open task a value: returned, replaced, freed by its end and by its own successor."""
    shop = eventq.Handlers()

    @shop.task("polls", unique="feed")
    def polls(ctx: eventq.Context, feed: str, left: int = 2) -> None:
        if left:
            ctx.new(polls.using(delay="1m"), feed, left - 1)

    with playing(shop) as t:
        polls.new("a")
        polls.new("a")
        polls.using(on_duplicate="replace", delay="10s").new("a", 1)
        polls.using(key="once").new("b")
        polls.using(key="once").new("b")
        t.forward("5m")
        return commits_of(t)


def schedules() -> list[RawCommit]:
    """Cron and interval, in the night when clocks change; overlaps, pauses, missed dues, an end."""
    shop = eventq.Handlers()

    @shop.cron("30 2 * * *", tz="Europe/Berlin", catch_up="last")
    def nightly() -> None:
        return None

    @shop.cron("*/20 * * * *", tz="Europe/Berlin", overlap="allow", catch_up=3)
    def often() -> None:
        return None

    @shop.cron("15 0 * * MON-FRI,SUN", tz="America/New_York", jitter="30s")
    def weekdays() -> None:
        return None

    shop.every("7m", TaskSpec({}, name="nobodys"), schedule="nobodys", overlap="cancel")
    shop.every("11m", TaskSpec({}, name="nobodys"), schedule="skips")
    with playing(shop) as t:
        t.forward("3h")
        t.clock.forward(5 * 3600)
        t.run()
        t.queue.schedules["often"].pause(by="ada")
        t.forward("1h")
        t.queue.schedules["often"].trigger(by="ada")
        t.queue.schedules["often"].resume(by="ada")
        t.forward("30h")
        t.queue.schedules["often"].drop(by="ada")
        t.forward("1h")
        return commits_of(t)


def followers() -> list[RawCommit]:
    """Followers of kinds and of names; one fails now and then, one is dropped."""
    shop = eventq.Handlers()
    seen: list[int] = []

    @shop.task("does", max_retries=0)
    def does(number: int) -> None:
        if number % 3 == 0:
            raise BusyError

    @shop.follow("alerts", kinds=["expired"], names=["do*"])
    def alert(event: eventq.Event) -> None:
        seen.append(event.seq)
        if len(seen) % 2:
            raise BusyError

    @shop.follow("all", since=0)
    def all_(event: eventq.Event) -> None:
        assert event.seq

    with playing(shop) as t:
        for number in range(9):
            does.new(number)
        t.forward("5m")
        t.queue.drop_follower("all", by="ada")
        return commits_of(t)


def lanes() -> list[RawCommit]:
    """Nodes that take some names of some lanes only, one after the other."""
    handlers = eventq.Handlers()

    @handlers.task("heavy.does", lane="heavy")
    def heavy(number: int) -> int:
        return number

    @handlers.task("light.does")
    def light(number: int) -> int:
        return number

    with eventq.Queue("memory://", handlers=[handlers], workers=2) as queue:
        for number in range(12):
            heavy.using(priority=number % 4).new(number)
            light.using(priority=number % 3).new(number)
            queue.new({"number": number}, priority=number % 5)
        moved = [light.using(priority=9).new(number).key for number in range(3)]
        queue.run(lambda _ctx, _task: None, until="idle")
        for key in moved:
            queue.update(key, lane="heavy")
        queue.update(moved[0], lane="default")
        queue.run(lanes=["heavy"], names=["*"], until="idle")
        queue.run(lanes={"default": 1}, names=["light.*"], until="idle")
        return raw_commits(queue._node.log)


def crowds() -> list[RawCommit]:
    """Many tasks leased in blocks: priorities, turns, and buckets of two limits at once."""
    with eventq.Queue("memory://", workers=8) as queue:
        queue.set_limit("smtp", running=2, rate="20/100ms", per="host")
        queue.set_limit("disk", running=5)
        queue.set_turns(per="tenant", weights={"t1": 2, "t2": 5})
        orders = [
            eventq.TaskSpec(
                {"host": f"h{number % 5}", "tenant": f"t{number % 4}"},
                limits=[[], ["smtp"], ["smtp", "disk"]][number % 3],
                priority=number % 2,
            )
            for number in range(90)
        ]
        queue.new_many(orders)
        queue.run(lambda _ctx, _task: None, until="idle")
        return raw_commits(queue._node.log)


def many() -> list[RawCommit]:
    """Many tasks retried, cancelled and edited at once; that taken back, and the undo, too."""
    with eventq.Queue("memory://", max_retries=0, max_age="1h") as queue:
        first = queue.new({"n": -1}, name="other")
        queue.new_many([{"n": n} for n in range(9)])
        queue.new(name="other", after=[first])
        queue.run(lambda _ctx, _task: 1 / 0, until="idle")
        retried = queue.select(state="expired").retry(rate="2/1s").apply(by="ada")
        queue.cancel("3")
        undone = queue.undo(retried.id).apply(by="ada")
        queue.undo(undone.id).apply(by="bob")
        updated = queue.select(name="other").update(priority=3, tags={"x": 1}).apply()
        queue.undo(updated.id).apply()
        moved = queue.select(name="other").update(lane="heavy").apply()
        queue.undo(moved.id).apply()
        cancelled = queue.select(name="other").cancel().apply()
        queue.undo(cancelled.id).apply()
        return raw_commits(queue._node.log)


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        retries,
        outcomes,
        lapses,
        hands,
        limits,
        turns,
        pauses,
        flows,
        uniques,
        schedules,
        followers,
        lanes,
        crowds,
        many,
    )
}
