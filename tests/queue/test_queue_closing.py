"""A queue that is closed in, or around, the event loop that it runs in: nothing hangs or hides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eventq import EventLoopError, Queue, Task
from eventq.handlers.context import AsyncContext, Context
from tests.checker import check_log
from tests.support import PATIENCE_S, Gate, Spawned, is_closed, runner_of, slot_of, wait_until


@pytest.fixture(params=["memory", "sqlite"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    """A queue of two workers; what it leaves must be a good log."""
    url = f"sqlite:///{tmp_path}/eventq.db" if request.param == "sqlite" else "memory://"
    with Queue(url, workers=2, backoff=0) as queue:
        yield queue
        if not is_closed(queue):
            check_log(queue.log)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_block_left_by_an_error_ends_the_run_and_shows_the_error(
    queue: Queue, *, asynchronous: bool
) -> None:
    """``async with`` waits for the run in the same loop; the attempt that runs finishes."""
    queue.new()
    begun = threading.Event()
    runs = []

    def work(_ctx: Context, _task: Task) -> str:
        begun.set()
        wait_until(lambda: slot_of(queue).closing)
        return "finished"

    async def work_async(ctx: AsyncContext, _task: Task) -> str:
        begun.set()
        while not slot_of(queue).closing:
            await ctx.sleep(0.001)
        return "finished"

    async def use() -> None:
        async with queue.aio as same:
            assert same.queue is queue
            worker = work_async if asynchronous else work
            runs.append(asyncio.create_task(queue.aio.run(worker)))
            await asyncio.to_thread(begun.wait, PATIENCE_S)
            raise LookupError("the error of the block")
        raise AssertionError

    async def main() -> int:
        with pytest.raises(LookupError, match="the error of the block") as left:
            await asyncio.wait_for(use(), PATIENCE_S)
        assert not hasattr(left.value, "__notes__")
        return (await runs[0]).completed

    assert asyncio.run(main()) == 1
    assert is_closed(queue)


def test_the_plain_block_names_the_right_one_at_once(queue: Queue) -> None:
    """``with`` in a loop is refused before anything is done in it; outside it is not."""

    async def use() -> None:
        with queue:
            raise AssertionError("not reached")

    with pytest.raises(EventLoopError, match="async with"):
        asyncio.run(use())
    assert not slot_of(queue).closing


def test_waiting_calls_are_refused_in_the_loop_of_the_run(queue: Queue) -> None:
    """`close` and a follower would hold up the loop for ever; the run goes on."""

    async def work(_ctx: AsyncContext, _task: Task) -> None:
        """Nothing to do."""

    async def use() -> int:
        running = asyncio.create_task(queue.aio.run(work, until="idle"))
        await asyncio.sleep(0)
        with pytest.raises(EventLoopError, match=r"queue\.aio\.close"):
            queue.close()
        with pytest.raises(EventLoopError, match=r"queue\.aio\.events"):
            queue.events(follow=True)
        return (await running).completed

    queue.new()
    assert asyncio.run(use()) == 1


def test_a_plain_block_around_the_loop_keeps_the_error(tmp_path: Path) -> None:
    """An error that passes a closing which is refused says so in a note, and is still it."""

    async def use() -> None:
        running = asyncio.create_task(queue.aio.run(print))
        await asyncio.sleep(0)
        try:
            queue.__exit__(LookupError, error, None)
        finally:
            queue.stop()
            await running

    error = LookupError("the error of the block")
    with Queue(f"sqlite:///{tmp_path}/q.db") as queue:
        asyncio.run(use())

    assert "queue.aio.close" in error.__notes__[0]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_worker_that_awaits_the_closing_is_told(queue: Queue, *, asynchronous: bool) -> None:
    """It would wait for itself; others in its loop may close the queue."""
    queue.new(max_retries=0)

    async def work(_ctx: AsyncContext, _task: Task) -> None:
        await queue.aio.close()

    async def use() -> None:
        await queue.aio.run(work, until="idle")

    if asynchronous:
        asyncio.run(use())
    else:
        queue.run(work, until="idle")

    [task] = queue.tasks(state="expired")
    assert task.last_error is not None
    assert "it may call stop()" in task.last_error.message


def test_closing_needs_no_thread_of_the_pool_to_ask(queue: Queue) -> None:
    """Workers that hold all threads of the loop's pool are asked to stop all the same."""
    queue.new_many([{}] * 4)
    gate = Gate()

    async def work(_ctx: AsyncContext, _task: Task) -> None:
        await asyncio.to_thread(gate)

    async def use() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        running = asyncio.create_task(queue.aio.run(work))
        while not gate.reached.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(queue.aio.close())
        await asyncio.sleep(0)
        asked = runner_of(queue).stopping.asked_count
        gate.open()
        assert asked == 1
        await asyncio.wait_for(closing, PATIENCE_S)
        await running

    asyncio.run(use())
    assert is_closed(queue)


def test_a_loop_that_was_given_up_does_not_hold_the_queue(queue: Queue) -> None:
    """`close` outside waits for the run itself, not for its coroutine, which never goes on."""
    queue.new()
    gate = Gate()

    async def use() -> None:
        runs.append(asyncio.ensure_future(queue.aio.run(lambda _ctx, _task: gate())))
        await asyncio.to_thread(gate.reached.wait, PATIENCE_S)

    runs: list[asyncio.Future[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use())
    gate.open()
    Spawned(queue.close).result()

    assert is_closed(queue)
    loop.run_until_complete(asyncio.gather(*runs))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
