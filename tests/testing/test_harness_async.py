"""The harness and coroutines: their loop's time is the clock's, and threads are waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from eventq import Context, Handlers
from eventq.handlers.context import AsyncContext
from eventq.testing import START, Harness, harness

shop = Handlers()
ends: list[str] = []


@shop.task("fetch", deadline="5m", max_retries=0)
async def fetch(seconds: float) -> float:
    """Waits for as long in its loop."""
    await asyncio.sleep(seconds)
    return seconds


@shop.task("poll")
async def poll(ctx: AsyncContext, times: int) -> int:
    """Waits by its context."""
    for _ in range(times):
        await ctx.sleep("1h")
    return times


@pytest.fixture
def t() -> Iterator[Harness]:
    """A harness with the shop; its log is verified at the end."""
    ends.clear()
    with harness([shop]) as opened:
        yield opened


def passed_s(t: Harness) -> float:
    """Seconds since the harness was opened."""
    return (t.now - START).total_seconds()


def test_what_a_coroutine_waits_for_comes_at_once(t: Harness) -> None:
    """By asyncio's timers and by its context; time has passed as if it had been waited for."""
    first, second = fetch.new(60.5), poll.new(3)

    t.run()

    assert t.queue.wait(first.key).result == 60.5
    assert t.queue.wait(second.key).result == 3
    assert passed_s(t) == 60.5 + 3 * 3_600


def test_timers_come_in_their_order(t: Harness) -> None:
    """Also those of several tasks in one coroutine."""

    @t.queue.task
    async def races() -> list[str]:
        async def note(seconds: float) -> None:
            await asyncio.sleep(seconds)
            ends.append(f"{seconds} at {passed_s(t)}")

        async with asyncio.timeout(100):
            await asyncio.gather(note(30), note(10), note(20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await note(6)
        return ends

    task = races.new()
    t.run()

    assert t.queue.wait(task.key).result == ["10 at 10.0", "20 at 20.0", "30 at 30.0"]
    assert passed_s(t) == 35


def test_a_deadline_cancels_a_coroutine(t: Harness) -> None:
    """At that instant, wherever it waits."""
    task = fetch.new(3_600.0)

    t.run()

    [attempt] = t.queue.attempts(task.key)
    assert attempt.error is not None
    assert attempt.error.type == "eventq.DeadlineExceededError"
    assert passed_s(t) == 300


def test_a_deadline_that_is_put_off_cancels_later(t: Harness) -> None:
    """`ctx.extend` moves it."""

    @t.queue.task(deadline="1m", max_retries=0)
    async def extends(ctx: Context) -> None:
        await asyncio.sleep(30)
        ctx.extend("10m")
        await asyncio.sleep(3_600)

    extends.new()
    t.run()

    assert passed_s(t) == 630


def test_threads_are_waited_for_in_earnest(t: Harness) -> None:
    """A timeout that runs beside a thread does not come before its time."""
    let = threading.Event()

    @t.queue.task(max_retries=0)
    async def asks() -> str:
        threading.Timer(0.01, let.set).start()
        async with asyncio.timeout(3_600):
            await asyncio.to_thread(let.wait)
        return "answered"

    task = asks.new()
    t.run()

    assert t.queue.wait(task.key).result == "answered"


def test_what_a_coroutine_leaves_running_ends_with_the_run(t: Harness) -> None:
    """It is cancelled, as at the end of any run."""

    @t.queue.task
    async def leaves() -> None:
        async def stays() -> None:
            try:
                await asyncio.sleep(10**6)
            finally:
                ends.append("cancelled")

        t.left = asyncio.create_task(stays())  # type: ignore[attr-defined]
        await asyncio.sleep(1)

    leaves.new()
    t.run()

    assert ends == ["cancelled"]
    assert passed_s(t) == 1


def test_it_works_inside_a_loop(t: Harness) -> None:
    """A test may be a coroutine itself; whoever waits there has time pass as well."""

    async def test() -> None:
        now = fetch.new(1.0)
        later = fetch.using(delay="1d").new(2.0)
        with t.context(is_async=True) as ctx:
            assert await poll(2) == 2
            assert ctx.cancelled is False
        assert t.run().completed == 1
        assert (await t.queue.aio.wait(now.key)).state == "completed"
        assert (await t.queue.aio.wait(later.key, timeout="2d")).result == 2.0

    asyncio.run(test())

    assert t.now == datetime(2030, 1, 2, 0, 0, 2, tzinfo=UTC)


def test_awaited_calls_are_run_inline(t: Harness) -> None:
    """`queue.aio.new` gives the task back run, too."""

    async def test() -> str:
        with t.inline():
            return (await t.queue.aio.new(fetch.spec(1.0))).state

    assert asyncio.run(test()) == "completed"


def test_a_node_that_dies_takes_its_coroutine_along(t: Harness) -> None:
    """What it would have done afterwards is not done."""

    @t.queue.task
    async def dies(ctx: Context) -> str:
        await asyncio.sleep(1)
        if ctx.task.attempt == 1:
            t.crash_node()
        ends.append("done")
        return "done"

    task = dies.new()

    assert t.queue.wait(task.key, timeout="1h").attempt == 2
    assert ends == ["done"]
