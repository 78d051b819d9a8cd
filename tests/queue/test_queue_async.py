"""AsyncQueue: each method does what that of Queue does, and the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from eventq import (
    AlreadyRunningError,
    ArgumentError,
    AsyncQueue,
    Event,
    Queue,
    QueueClosedError,
    Task,
    TaskSpec,
    TaskState,
)
from eventq.handlers.context import AsyncContext, Context
from eventq.host.clock import Clock, SystemClock
from tests.checker import check_log
from tests.support import (
    PATIENCE_S,
    Gate,
    ManualClock,
    Spawned,
    is_closed,
    runner_of,
    wait_until,
    wakes_of,
)

METHODS = sorted(
    name
    for name, member in vars(Queue).items()
    if not name.startswith("_") and inspect.isfunction(member)
)

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="nobody's")


@pytest.fixture
def clock() -> Clock:
    """The clock of the queue."""
    return SystemClock()


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Queue]:
    """A queue of two workers; what it leaves must be a good log."""
    url = f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"
    with Queue(url, workers=2, backoff=0, clock=clock) as queue:
        yield queue
        if not is_closed(queue):
            check_log(queue.log)


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_each_method_takes_the_same_arguments(name: str) -> None:
    """Names, kinds and defaults of the arguments are those of Queue.

    But for signals, which belong to a loop's application.
    """
    ours = dict(inspect.signature(getattr(Queue, name)).parameters)
    awaited = dict(inspect.signature(getattr(AsyncQueue, name)).parameters)
    if name == "run":
        assert (ours.pop("signals").default, awaited.pop("signals").default) == (True, False)

    same = {key: (value.kind, value.default) for key, value in awaited.items()}
    assert same == {key: (value.kind, value.default) for key, value in ours.items()}


def test_a_queue_of_its_own_is_closed_at_the_end_of_the_block() -> None:
    """It takes the options of Queue; what comes behind the block is refused."""

    async def use() -> None:
        async with AsyncQueue("memory://", namespace="own", workers=3) as own:
            assert isinstance(own, AsyncQueue)
            assert (own.queue.namespace, own.queue.workers) == ("own", 3)
            await own.new()
            assert (await own.stats()).ready == 1
        with pytest.raises(QueueClosedError):
            await own.stats()

    asyncio.run(use())


@pytest.mark.parametrize("clock", [ManualClock()])
def test_the_methods_do_what_those_of_queue_do(queue: Queue, clock: Clock) -> None:
    """Creating, looking and managing from a coroutine."""
    del clock

    async def use() -> None:
        first = await queue.aio.new({"a": 1}, key="k", priority=2)
        assert await queue.aio.get("k") == queue.get("k")
        assert first.priority == 2
        [second, third] = await queue.aio.new_many([{}, TaskSpec(key="t")], delay="1h")
        assert [task.key for task in await queue.aio.tasks()] == ["k", second.key, "t"]
        found = await queue.aio.tasks(state="ready", tags={"a": 1}, limit=1)
        assert [task.key for task in found] == ["k"]
        assert (await queue.aio.update("t", priority=9, by="ada")).priority == 9
        assert (await queue.aio.cancel(third.key, reason="why")).final_reason == "why"
        assert (await queue.aio.retry(second.key)).state is TaskState.READY
        assert [event.kind for event in await queue.aio.history("t")] == [
            "created", "updated", "cancelled",
        ]  # fmt: skip
        assert await queue.aio.stats() == queue.stats()
        assert [event.seq async for event in queue.aio.events(after=1)] == [2, 3, 4, 5, 6]
        assert await queue.aio.get("nobody") is None

    asyncio.run(use())


def test_errors_are_those_of_queue(queue: Queue) -> None:
    """A wrong argument and a closed queue are told to the awaiting coroutine."""

    async def use() -> None:
        with pytest.raises(ArgumentError, match="tags"):
            await queue.aio.new({"bad name": 1})
        with pytest.raises(ArgumentError, match="after"):
            async for _ in queue.aio.events(after=-1):
                pass
        await queue.aio.close()
        with pytest.raises(QueueClosedError):
            await queue.aio.stats()

    asyncio.run(use())


def test_many_coroutines_create_together(queue: Queue) -> None:
    """Concurrent calls neither lose nor mix up tasks."""

    async def use() -> list[Task]:
        return list(await asyncio.gather(*(queue.aio.new({"n": n}) for n in range(50))))

    tasks = asyncio.run(use())

    assert [task.tags["n"] for task in tasks] == list(range(50))
    assert len({task.number for task in tasks}) == 50


def test_events_are_paged(queue: Queue) -> None:
    """More events than one read holds all come, in order, and then it ends."""
    queue.new_many([{}] * 2_500)

    async def use() -> list[int]:
        return [event.seq async for event in queue.aio.events()]

    assert asyncio.run(use()) == list(range(1, 2_501))


def test_following_wakes_for_what_a_thread_appends(queue: Queue) -> None:
    """A coroutine that waits for events gets each soon after it was appended elsewhere."""

    async def use() -> list[int]:
        seen = []
        producer = None
        async for event in queue.aio.events(follow=True):
            seen.append(event.seq)
            if producer is None:
                producer = Spawned(queue.new_many, [{}, {}])
            if len(seen) == 3:
                break
        return seen

    queue.new()
    assert asyncio.run(use()) == [1, 2, 3]


def test_following_ends_when_the_queue_is_closed(queue: Queue) -> None:
    """A coroutine does not wait for ever on a closed queue."""

    async def follow(started: asyncio.Event) -> list[Event]:
        seen = []
        async for event in queue.aio.events(follow=True):
            seen.append(event)
            started.set()
        return seen

    async def use() -> None:
        started = asyncio.Event()
        following = asyncio.create_task(follow(started))
        await started.wait()
        await queue.aio.close()
        with pytest.raises(QueueClosedError):
            await following

    queue.new()
    asyncio.run(use())
    assert is_closed(queue)


def test_an_awaited_run_calls_async_workers_in_this_loop(queue: Queue) -> None:
    """The worker runs in the caller's own loop and thread; its value is the result."""
    queue.new_many([{"n": n} for n in range(20)])
    places = set()

    async def worker(ctx: AsyncContext, task: Task) -> int:
        places.add((asyncio.get_running_loop(), threading.get_ident()))
        await ctx.sleep(0)
        return int(task.tags["n"]) * 2

    async def use() -> None:
        report = await queue.aio.run(worker, until="idle")
        assert report.completed == 20
        assert places == {(asyncio.get_running_loop(), threading.get_ident())}

    asyncio.run(use())
    assert sorted(task.result for task in queue.tasks(state="completed")) == list(range(0, 40, 2))


def test_an_awaited_run_takes_plain_workers_too(queue: Queue) -> None:
    """A ``def`` worker runs in threads, so that the loop goes on meanwhile."""
    queue.new()
    gate = Gate()

    async def use() -> None:
        running = asyncio.create_task(queue.aio.run(lambda _ctx, _task: gate(), until="idle"))
        await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
        with pytest.raises(AlreadyRunningError, match="already running"):
            await queue.aio.run(print)
        gate.open()
        assert (await running).completed == 1

    asyncio.run(use())
    assert queue.stats().completed == 1


def test_cancelling_an_awaited_run_gives_the_tasks_back(queue: Queue) -> None:
    """The awaited run ends, its attempts are cancelled, and their tasks are ready again."""
    queue.new_many([{}] * 3)
    ended: list[str] = []

    async def worker(_ctx: AsyncContext, task: Task) -> None:
        started.add(task.key)
        if len(started) == queue.workers:
            both.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.append(task.key)
            raise

    started: set[str] = set()
    both = asyncio.Event()

    async def use() -> None:
        running = asyncio.create_task(queue.aio.run(worker))
        await both.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(use())
    assert sorted(ended) == sorted(started)
    assert [(task.state, task.attempt) for task in queue.tasks()] == [(TaskState.READY, 0)] * 3


def test_a_run_takes_no_thread_of_the_pool_its_workers_need(queue: Queue) -> None:
    """A worker that awaits `new` is served, however small the loop's pool of threads."""
    queue.new(key="k")

    async def worker(_ctx: AsyncContext, task: Task) -> None:
        if task.key == "k":
            await asyncio.wait_for(queue.aio.new(), PATIENCE_S)

    async def use() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        await asyncio.wait_for(queue.aio.run(worker, until="idle"), PATIENCE_S)

    asyncio.run(use())

    assert queue.stats().completed == 2


def test_an_awaited_run_that_is_cancelled_twice_ends_before_it_returns(queue: Queue) -> None:
    """However often it is cancelled, nothing of the run is left in the loop or on the log."""
    queue.new()
    gate = Gate()

    async def use() -> None:
        running = asyncio.create_task(queue.aio.run(lambda _ctx, _task: gate()))
        await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
        runner = runner_of(queue)
        for _ in range(3):
            running.cancel()
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, gate.open)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert runner.bell.ring not in wakes_of(queue)

    asyncio.run(use())


def test_an_awaited_run_waits_for_workers_that_clean_up(queue: Queue) -> None:
    """When a forced stop returns, the workers it cancelled have closed what they had open."""
    queue.new()
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def worker(ctx: AsyncContext, _task: Task) -> None:
        begun.set()
        try:
            await ctx.sleep("1h")
        finally:
            await asyncio.to_thread(wait_until, lambda: not queue.tasks(state="leased"))
            await asyncio.sleep(0.01)
            cleaned.set()

    async def use() -> None:
        running = asyncio.create_task(queue.aio.run(worker))
        await begun.wait()
        queue.stop()
        queue.stop()
        await running
        assert cleaned.is_set()

    asyncio.run(use())


def test_stop_ends_an_awaited_run(queue: Queue) -> None:
    """`stop` from another thread lets what runs finish."""
    queue.new()

    async def worker(ctx: AsyncContext, _task: Task) -> str:
        assert queue.stop()
        await ctx.sleep(0.001)
        return "finished"

    report = asyncio.run(queue.aio.run(worker))

    assert report.completed == 1
    found = queue.get("1")
    assert found is not None
    assert found.result == "finished"


def test_an_async_worker_has_its_own_loop_under_run(queue: Queue) -> None:
    """`run` takes an ``async def`` worker too, also an object with one, and a plain context."""
    queue.new()
    seen: list[Any] = []

    class Worker:
        async def __call__(self, ctx: Context, task: Task) -> None:
            seen.append((isinstance(ctx, AsyncContext), task.key, threading.current_thread().name))

    queue.run(Worker(), until="idle")

    assert seen == [(True, "1", "eventq-loop")]
    wait_until(lambda: "eventq-loop" not in {thread.name for thread in threading.enumerate()})


def test_a_worker_sees_the_context_variables_of_the_caller(queue: Queue) -> None:
    """What was set before `run` is set in a worker, in the loop that called it."""
    queue.new()
    seen = []

    async def worker(_ctx: AsyncContext, _task: Task) -> None:
        seen.append(REQUEST.get())

    async def use() -> None:
        REQUEST.set("mine")
        await queue.aio.run(worker, until="idle")

    asyncio.run(use())

    assert seen == ["mine"]
