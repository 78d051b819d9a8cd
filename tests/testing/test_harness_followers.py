"""Followers in a harness: called at the instant of what happened, in order, in virtual time."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from eventq import AlreadyRunningError, ArgumentError, Event, Handlers, Task
from eventq.testing import harness
from tests.support import kinds


def shop_with(seen: list[object]) -> Handlers:
    """Handlers whose follower notes what ends, and makes a task for it."""
    shop = Handlers()

    @shop.task
    def send(order: int) -> None:
        del order

    @shop.task
    def thank(order: int) -> None:
        del order

    @shop.follow("thanks", kinds=["completed"], names=["send"])
    def _thank(event: Event, task: Task | None) -> None:
        assert task is not None
        seen.append((event.kind, task.tags["order"]))
        thank.new(task.tags["order"])

    return shop


def test_what_a_follower_makes_runs_at_the_instant_of_the_event() -> None:
    """Not when all time has passed."""
    seen: list[object] = []
    shop = shop_with(seen)
    send, thank = shop

    with harness([shop]) as t:
        send.using(delay="1h").new(1)
        send.new(2)
        began = t.now
        report = t.forward("1d")

        assert seen == [("completed", 2), ("completed", 1)]
        assert report.completed == 4
        assert [(made.created_at - began).total_seconds() for made in t.all_created(thank)] == [
            0,
            3_600,
        ]


def test_what_was_made_before_the_first_run_is_followed() -> None:
    """All that is in the log of a harness is the test's."""
    shop, seen = Handlers(), list[str]()

    @shop.follow("all", kinds=["created"])
    def _note(event: Event) -> None:
        seen.append(event.kind)

    with harness([shop]) as t:
        t.queue.new()
        t.run()

        assert seen == ["created"]
        [state] = t.queue.followers()
        assert (state.worker, state.lag_events) == (None, 0)


def test_one_that_raises_is_called_again_in_virtual_time() -> None:
    """After one second, then two; where no time passes, it is not."""
    shop, at = Handlers(), list[datetime]()

    with harness([shop]) as t:

        @shop.follow("fragile", kinds=["created"])
        def _note(_event: Event) -> None:
            at.append(t.now)
            if len(at) < 3:
                raise ConnectionError

        t.queue.new()
        t.run()
        assert len(at) == 1
        t.forward("1m")

        assert [round((each - at[0]).total_seconds(), 3) for each in at] == [0, 1, 3]


def test_a_coroutine_takes_virtual_time() -> None:
    """As handlers do."""
    shop, seen = Handlers(), list[int]()

    @shop.follow("slow", kinds=["created"])
    async def _note(event: Event) -> None:
        await asyncio.sleep(600)
        seen.append(event.task)

    with harness([shop]) as t:
        task, began = t.queue.new(), t.now
        t.run()

        assert seen == [task.number]
        assert (t.now - began).total_seconds() == 600


def test_equal_harnesses_make_equal_logs() -> None:
    """Also with followers."""
    logs = []
    for _ in range(2):
        shop = shop_with([])
        send, _ = shop
        with harness([shop], seed=1) as t, t.inline():
            send.new(1)
            send.using(delay="5s").new(2)
            t.forward("1h")
            logs.append([(event.seq, event.at, event.kind) for event in t.queue.events()])

    assert logs[0] == logs[1]
    assert "followed" in {kind for _, _, kind in logs[0]}


def test_a_crash_between_leaves_followers_in_order() -> None:
    """They go on where the log says."""
    seen: list[object] = []
    shop = shop_with(seen)
    send, _ = shop

    with harness([shop]) as t:
        first = send.new(1)
        t.crash_node(send, after=True)
        t.forward("1m")

        assert seen == [("completed", 1)]
        assert kinds(t.queue, first.key)[-1] == "completed"


def test_two_followers_of_one_name_are_refused() -> None:
    """As two handlers are."""
    one, other = shop_with([]), Handlers()
    other.follow("thanks")(print)

    with pytest.raises(ArgumentError, match="thanks"), harness([one, other]):
        pass


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
