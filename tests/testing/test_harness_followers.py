"""Followers in a harness: called before time passes, at their instants, and again after a crash."""

from __future__ import annotations

import asyncio

import pytest

from eventq import AlreadyRunningError, ArgumentError, Event, Handlers, Task
from eventq.testing import harness


def shop_with(seen: list[tuple[str, object]]) -> Handlers:
    """A handler that refuses odd orders, and a follower of what ends."""
    shop = Handlers()

    @shop.task("send")
    def _send(order: int) -> None:
        if order % 2:
            raise ValueError(order)

    @shop.task("tell")
    def _tell(order: int) -> None:
        seen.append(("told", order))

    @shop.follow("ends", kinds=["completed", "expired"], names=["send"])
    def _ends(event: Event, task: Task) -> None:
        seen.append((event.kind, task.tags["order"]))

    return shop


def test_followers_are_called_at_the_instant_of_what_they_follow() -> None:
    """In order, and what they make is run on the way."""
    seen: list[tuple[str, object]] = []
    shop = shop_with(seen)
    with harness([shop]) as t:

        @shop.follow("tells", kinds=["expired"])
        def _tells(_event: Event, task: Task) -> None:
            seen.append(("at", t.now.hour))
            t.queue.new(task.tags, name="tell", delay="10m")

        t.queue.new({"order": 1}, name="send", delay="1h", max_retries=0)
        t.queue.new({"order": 2}, name="send", delay="3h")
        t.run()
        assert seen == []

        t.forward("1d")

        assert seen == [
            ("expired", 1),
            ("at", 1),
            ("told", 1),
            ("completed", 2),
        ]
        assert [state.lag_events for state in t.queue.followers()] == [0, 0]


def test_a_follower_that_raises_is_called_again_as_time_passes() -> None:
    """After a second, then two, at those instants."""
    handlers = Handlers()
    at: list[float] = []
    with harness([handlers]) as t:

        @handlers.follow("fragile", kinds=["created"])
        def _fragile(event: Event) -> None:
            del event
            at.append(t.clock.monotonic())
            if len(at) < 3:
                raise ConnectionError

        t.queue.new()
        t.run()
        assert at == [0]
        t.forward("10s")

        assert at == [0, 1, 3]


def test_a_follower_may_be_async_and_sleep() -> None:
    """Its sleep moves the clock, and takes no real time."""
    handlers = Handlers()
    at: list[float] = []
    with harness([handlers]) as t:

        @handlers.follow("slow", kinds=["created"])
        async def _slow(event: Event) -> None:
            del event
            await asyncio.sleep(3_600)
            at.append(t.clock.monotonic())

        t.queue.new()
        t.run()

        assert at == [3_600]


def test_after_a_crash_another_node_takes_the_followers_on() -> None:
    """When the lease of the dead one is over: nothing is missed."""
    seen: list[tuple[str, object]] = []
    with harness([shop_with(seen)]) as t:
        t.queue.new({"order": 2}, name="send")
        t.run()
        t.queue.new({"order": 4}, name="send")
        t.crash_node("send", after=True)

        t.run()
        assert seen == [("completed", 2)]
        t.forward("30s")

        assert seen == [("completed", 2), ("completed", 4)]


def test_a_follower_cannot_have_the_harness_work() -> None:
    """What it makes within `inline` is run once it has returned."""
    handlers = Handlers()
    seen: list[object] = []
    handlers.task("tell")(lambda: seen.append("told"))
    with harness([handlers]) as t:

        @handlers.follow("nested", kinds=["created"], names=["first"])
        def _nested(event: Event) -> None:
            del event
            t.queue.new(name="tell")
            with pytest.raises(AlreadyRunningError, match="a handler or follower"):
                t.run()
            seen.append("returned")

        with t.inline():
            t.queue.new(name="first")

        assert seen == ["returned", "told"]


def test_two_followers_of_one_name_are_refused() -> None:
    """As for a queue."""
    seen: list[tuple[str, object]] = []
    shop, other = shop_with(seen), Handlers()
    other.follow("ends")(lambda _event: None)

    with pytest.raises(ArgumentError, match="no other follower has"), harness([shop, other]):
        pass
