"""How workers are called: behind decorators, and with context variables of their own."""

from __future__ import annotations

import asyncio
import decimal
import functools
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from eventq import ArgumentError, Queue, Task
from eventq.handlers.context import AsyncContext, Context
from eventq.sandbox import rerun
from tests.checker import check_log
from tests.support import final, kinds, running, wait_until

Worker = Callable[..., Any]
seen_in: ContextVar[str] = ContextVar("seen_in", default="nowhere")


@pytest.fixture
def queue() -> Iterator[Queue]:
    """A queue of one worker; what it leaves must be a good log."""
    with Queue("memory://", workers=1, backoff=0, max_retries=0) as queue:
        yield queue
        check_log(queue.log)


def injecting(worker: Worker) -> Worker:
    """A decorator that gives its function one argument more."""

    @functools.wraps(worker)
    def inner(*args: object) -> object:
        return worker(*args, "a database")

    return inner


def plain(worker: Worker) -> Worker:
    """A decorator that knows nothing of coroutines, nor of `functools.wraps`."""

    def inner(ctx: Context, task: Task) -> object:
        return worker(ctx, task)

    return inner


def wrapping(worker: Worker) -> Worker:
    """The same, with `functools.wraps`."""
    return functools.wraps(worker)(plain(worker))


def synchronous(worker: Worker) -> Worker:
    """A decorator that runs a coroutine by itself, as adapters for other frameworks do."""

    @functools.wraps(worker)
    def inner(ctx: Context, task: Task) -> object:
        return asyncio.run(worker(ctx, task))

    return inner


def declaring(worker: Worker) -> Worker:
    """A decorator that shows others another signature than its own."""
    inner = injecting(worker)
    inner.__signature__ = functools.partial(print)  # type: ignore[attr-defined]
    return inner


class TestDecorated:
    """What can be called is a worker; what it hands out is awaited."""

    @pytest.mark.parametrize("decorate", [injecting, declaring])
    def test_a_decorator_may_give_the_worker_more(self, queue: Queue, decorate: Worker) -> None:
        """What counts is what the decorator takes, not the function behind it."""
        queue.new(key="k")

        @decorate
        def worker(_ctx: Context, _task: Task, database: str) -> str:
            return database

        queue.run(worker, until="idle")

        assert final(queue, "k").result == "a database"
        assert rerun(queue.log, "k", worker).verdict == "same"

    def test_what_cannot_be_called_is_refused(self, queue: Queue) -> None:
        """Also where the function behind the decorator could be."""

        def narrowing(worker: Worker) -> Worker:
            @functools.wraps(worker)
            def inner(task: Task) -> object:
                return worker(None, task)

            return inner

        @narrowing
        def worker(_ctx: Context, _task: Task) -> None:
            """Never called."""

        with pytest.raises(ArgumentError, match="worker: expected a function of"):
            queue.run(worker)

    @pytest.mark.parametrize("decorate", [plain, wrapping, synchronous])
    @pytest.mark.parametrize("run", ["run", "aio.run"])
    def test_an_async_def_behind_a_def_is_run(
        self, queue: Queue, decorate: Worker, run: str
    ) -> None:
        """In one loop, the caller's under `AsyncQueue.run`; its ctx is that of a coroutine."""
        for key in "ab":
            queue.new(key=key)
        loops = set()

        @decorate
        async def worker(ctx: AsyncContext, task: Task) -> str:
            if decorate is not synchronous:
                await ctx.sleep(0)
                loops.add(asyncio.get_running_loop())
            return f"done {task.key}"

        async def use() -> None:
            await queue.aio.run(worker, until="idle")
            assert loops <= {asyncio.get_running_loop()}

        if run == "run":
            queue.run(worker, until="idle")
        else:
            asyncio.run(use())

        assert [final(queue, key).result for key in "ab"] == ["done a", "done b"]
        assert len(loops) == (decorate is not synchronous)
        assert rerun(queue.log, "a", worker).verdict == "same"

    def test_any_awaitable_is_awaited(self, queue: Queue) -> None:
        """Also one of a class of its own, and also what an ``async def`` raises."""
        queue.new(key="good")
        queue.new(key="bad")

        class Later:
            def __await__(self) -> Generator[Any, None, str]:
                yield from asyncio.sleep(0).__await__()
                return "late"

        async def fail() -> str:
            raise ValueError("late")

        def worker(_ctx: Context, task: Task) -> Awaitable[str]:
            return Later() if task.key == "good" else fail()

        queue.run(worker, until="idle")

        assert final(queue, "good").result == "late"
        error = final(queue, "bad").last_error
        assert error is not None
        assert (error.type, error.message) == ("ValueError", "late")
        assert "executors" not in error.traceback

    def test_what_is_awaited_can_be_cancelled(self, queue: Queue) -> None:
        """By a forced stop as an ``async def`` worker is; nothing is left running."""
        queue.new(key="k")
        begun, ended = threading.Event(), threading.Event()

        @plain
        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            begun.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ended.set()

        with running(queue, worker) as run:
            wait_until(begun.is_set)
            queue.stop()
            queue.stop()
            assert run.result().released == 1

        assert ended.is_set()
        assert kinds(queue, "k") == ["created", "leased", "released"]

    def test_an_exit_in_a_child_of_what_is_awaited_fails_it(self, queue: Queue) -> None:
        """As it does behind an ``async def``."""
        queue.new(key="bad")
        queue.new(key="next")

        async def child() -> None:
            raise SystemExit(2)

        @plain
        async def worker(_ctx: AsyncContext, task: Task) -> None:
            if task.key == "bad":
                await asyncio.gather(child())

        queue.run(worker, until="idle")

        assert [kinds(queue, key)[2] for key in ("bad", "next")] == ["failed", "completed"]


class TestVariables:
    """Each attempt has a context of its own, a copy of the run's."""

    @pytest.mark.parametrize("kind", ["def", "async def", "decorated"])
    @pytest.mark.parametrize("run", ["run", "aio.run"])
    def test_nothing_leaks_from_one_attempt_into_the_next(
        self, queue: Queue, kind: str, run: str
    ) -> None:
        """Each sees what the caller of `run` had set; what it sets itself is gone with it."""
        queue.new_many([{}] * 3)
        seen: list[tuple[str, int]] = []

        def work(_ctx: Context, task: Task) -> None:
            seen.append((seen_in.get(), decimal.getcontext().prec))
            seen_in.set(task.key)
            decimal.getcontext().prec = 3

        async def coroutine(ctx: AsyncContext, task: Task) -> None:
            work(ctx, task)

        worker: dict[str, Worker] = {
            "def": work,
            "async def": coroutine,
            "decorated": plain(coroutine),
        }

        async def use() -> None:
            seen_in.set("the run")
            decimal.setcontext(decimal.Context(prec=50))
            if run == "run":
                queue.run(worker[kind], until="idle")
            else:
                await queue.aio.run(worker[kind], until="idle")
            seen.append((seen_in.get(), decimal.getcontext().prec))

        asyncio.run(use())

        assert seen == [("the run", 50)] * 4

    def test_a_rerun_leaves_nothing_behind(self, queue: Queue) -> None:
        """Neither for the next one nor for its caller."""
        queue.new(key="k")
        before = decimal.getcontext().prec

        def worker(_ctx: Context, _task: Task) -> list[object]:
            found = [seen_in.get(), decimal.getcontext().prec]
            seen_in.set("the past")
            decimal.getcontext().prec = 3
            return found

        queue.run(worker, until="idle")
        reruns = [rerun(queue.log, "k", worker) for _ in range(2)]

        assert [found.verdict for found in reruns] == ["same", "same"]
        assert (seen_in.get(), decimal.getcontext().prec) == ("nowhere", before)
