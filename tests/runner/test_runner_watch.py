"""Whatever a worker does to its thread or loop: attempts get an outcome, and the run goes on."""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from eventq import LoopEndedError, Queue, Task
from eventq.handlers.context import AsyncContext, Context
from tests.checker import check_log
from tests.support import (
    HookedLog,
    ManualClock,
    ends,
    final,
    kinds,
    queue_on,
    runner_of,
    running,
    wait_until,
)


class ThrownError(Exception):
    """What libraries for time-outs throw at a thread, sometimes too late."""


class DyingError(Exception):
    """Asked for its text, it exits."""

    def __str__(self) -> str:
        """No text."""
        raise SystemExit(3)


class NamelessError(Exception):
    """Its class has no readable name."""

    __module__ = property(lambda _: 1 // 0)


class Text(str):
    """Text that cannot be cut."""

    __slots__ = ()

    def __getitem__(self, _: object) -> str:
        """No part of it."""
        raise KeyboardInterrupt

    def encode(self, *_: object) -> bytes:
        """Not even this."""
        raise KeyboardInterrupt


class ChattyError(Exception):
    """Its text is of a class of its own."""

    def __str__(self) -> str:
        """Text all the same."""
        return Text("chatty")


class FacelessError(Exception):
    """It breaks when it is asked for its class."""

    def __getattribute__(self, name: str) -> object:
        """Nothing at all."""
        raise KeyboardInterrupt(name)


def broken_syntax_error() -> SyntaxError:
    """What a database driver may build: `traceback` fails to format it."""
    error = SyntaxError("remote")
    error.filename, error.lineno, error.offset = "q.sql", 1, 1
    error.text = b"SELEKT"  # type: ignore[assignment]
    return error


def endless_group() -> ExceptionGroup[Exception]:
    """A group in a group, deeper than Python can go."""
    group: ExceptionGroup[Exception] = ExceptionGroup("deep", [ValueError()])
    for _ in range(3_000):
        group = ExceptionGroup("deep", [group])
    return group


def throw_at(thread: threading.Thread) -> None:
    """Has an error come up in the thread, wherever it is, at its next step."""
    assert thread.ident is not None
    ident = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(ThrownError))


def kill_loop(queue: Queue) -> None:
    """Has an error come up in the event loop itself."""
    host = runner_of(queue).executors[0].host
    assert host.thread is not None
    throw_at(host.thread)
    host.call(lambda: None)


@pytest.fixture
def log() -> HookedLog:
    """The log below the queue."""
    return HookedLog()


@pytest.fixture
def queue(log: HookedLog) -> Iterator[Queue]:
    """A queue of two workers; what it leaves must be a good log."""
    with queue_on(log, workers=2, max_retries=0) as queue:
        yield queue
    check_log(HookedLog(log.storage))


def last_error(queue: Queue, key: str) -> tuple[str, str]:
    """The type and message of the task's last error."""
    error = final(queue, key).last_error
    assert error is not None
    return error.type, error.message


@pytest.mark.parametrize(
    "make",
    [
        broken_syntax_error,
        endless_group,
        DyingError,
        NamelessError,
        ChattyError,
        FacelessError,
        lambda: ExceptionGroup("group", [broken_syntax_error(), DyingError()]),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_an_error_that_cannot_be_described_is_an_outcome(
    queue: Queue, make: Callable[[], Exception], kind: str
) -> None:
    """The attempt fails, with what can be told, and the next task runs on the same thread."""
    queue.new_many([{"bad": True}, {"bad": False}] * 3)

    def worker(_ctx: Context, task: Task) -> None:
        if task.tags["bad"]:
            raise make()

    async def coroutine(ctx: AsyncContext, task: Task) -> None:
        worker(ctx, task)

    report = queue.run(worker if kind == "def" else coroutine, until="idle")

    assert (report.completed, report.failed) == (3, 3)


def test_a_broken_error_keeps_its_stack(queue: Queue) -> None:
    """Where only the message cannot be formatted, type, message and frames are there."""
    queue.new(key="k")

    def worker(_ctx: Context, _task: Task) -> None:
        raise broken_syntax_error()

    queue.run(worker, until="idle")

    error = final(queue, "k").last_error
    assert error is not None
    assert error.type == "SyntaxError"
    assert error.message.startswith("remote")
    assert "in worker" in error.traceback


def test_a_forced_stop_waits_for_no_outcome_that_is_not_handed_out(queue: Queue) -> None:
    """An attempt that has ended is settled, whatever keeps it from being collected."""
    queue.new(key="k")
    done = threading.Event()

    def worker(_ctx: Context, _task: Task) -> None:
        runner_of(queue).executors[0].take_ended = list  # type: ignore[method-assign]
        done.set()

    with running(queue, worker) as run:
        wait_until(done.is_set)
        queue.stop()
        queue.stop()
        run.result()

    assert kinds(queue, "k")[2] in {"completed", "released"}
    assert not queue.tasks(state="leased")


def test_the_type_is_told_where_the_text_cannot_be(queue: Queue) -> None:
    """And what became of the text."""
    queue.new(key="k")

    def worker(_ctx: Context, _task: Task) -> None:
        raise DyingError

    queue.run(worker, until="idle")

    kind, message = last_error(queue, "k")
    assert kind.endswith("DyingError")
    assert message == "<its __str__ raised SystemExit>"


class TestLoops:
    """Loops of a run's own."""

    @pytest.mark.parametrize("exits", [SystemExit(2), KeyboardInterrupt()])
    def test_an_exit_in_a_child_fails_the_attempt_that_awaits_it(
        self, queue: Queue, exits: BaseException
    ) -> None:
        """It passes through the loop, which goes on: the other attempt and the next complete."""
        queue.new(key="bad", priority=1)
        queue.new(key="beside")
        queue.new(key="next")
        gone = asyncio.Event()

        async def child() -> None:
            raise exits

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            if task.key == "beside":
                await gone.wait()
            if task.key == "bad":
                try:
                    await asyncio.gather(child())
                finally:
                    gone.set()

        report = queue.run(worker, until="idle")

        assert (report.completed, report.failed) == (2, 1)
        assert last_error(queue, "bad")[0] == type(exits).__name__

    def test_an_exit_in_the_background_and_a_stopped_loop_harm_no_attempt(
        self, queue: Queue
    ) -> None:
        """The loop goes on where it was."""
        queue.new_many([{"n": n} for n in range(6)])

        async def child() -> None:
            sys.exit(2)

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            if task.tags["n"] % 2:
                exits = asyncio.create_task(child())
                await asyncio.wait([exits])
                assert isinstance(exits.exception(), SystemExit)
            else:
                asyncio.get_running_loop().stop()
                await asyncio.sleep(0)

        assert queue.run(worker, until="idle").completed == 6

    def test_a_loop_that_dies_is_replaced(self, queue: Queue) -> None:
        """Its attempts fail with what killed it, no lease is held, and the next task runs."""
        queue.new(key="a")
        queue.new(key="b")
        loops: list[asyncio.AbstractEventLoop] = []

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            loops.append(asyncio.get_running_loop())
            if task.key != "next":
                await asyncio.get_running_loop().create_future()

        with running(queue, worker, lease_ttl="1h"):
            wait_until(lambda: len(loops) == 2)
            kill_loop(queue)
            wait_until(lambda: ends(queue, "a")() and ends(queue, "b")())
            queue.new(key="next")
            wait_until(ends(queue, "next"))

        assert last_error(queue, "a")[0].endswith("ThrownError")
        assert last_error(queue, "b")[0].endswith("ThrownError")
        assert kinds(queue, "next") == ["created", "leased", "completed"]
        assert loops[2] is not loops[0]

    def test_what_waits_its_turn_goes_to_the_new_loop(self, log: HookedLog) -> None:
        """An attempt that had not begun when the loop died is run."""
        with queue_on(log, workers=1, max_retries=0) as queue:
            begun = threading.Event()

            async def worker(_ctx: AsyncContext, task: Task) -> None:
                if task.caller_key == "kills":
                    begun.set()
                    await asyncio.get_running_loop().create_future()

            queue.new_many([{}] * 50, priority=1)
            queue.new(key="kills")
            queue.new(key="next")
            with running(queue, worker):
                wait_until(begun.is_set)
                kill_loop(queue)
                wait_until(ends(queue, "next"))

            assert kinds(queue, "kills")[-2:] == ["failed", "expired"]
            assert kinds(queue, "next")[-1] == "completed"

    def test_background_tasks_are_cancelled_and_awaited_at_the_end(self, queue: Queue) -> None:
        """What a worker leaves running cleans up before `run` returns; what will not, is left."""
        queue.new()
        left: list[str] = []

        async def background(name: str) -> None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0.01)
                left.append(name)

        async def worker(_ctx: AsyncContext, _task: Task) -> None:
            kept.extend(asyncio.create_task(background(name)) for name in "ab")
            await asyncio.sleep(0)

        kept: list[asyncio.Task[None]] = []
        report = queue.run(worker, until="idle")

        assert report.completed == 1
        assert sorted(left) == ["a", "b"]
        assert all(task.cancelled() for task in kept)

    def test_a_forced_stop_ends_although_a_task_exits_while_it_is_cancelled(
        self, queue: Queue
    ) -> None:
        """The loop goes on until all have been told."""
        queue.new_many([{}, {}])
        begun: list[int] = []

        async def child() -> None:
            sys.exit(2)

        async def worker(_ctx: AsyncContext, task: Task) -> None:
            begun.append(task.number)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.gather(child())

        with running(queue, worker) as run:
            wait_until(lambda: len(begun) == 2)
            queue.stop()
            queue.stop()
            report = run.result()

        assert report.released == 2
        assert not queue.tasks(state="leased")


class TestGivenLoops:
    """The loop that `AsyncQueue.run` was called in, whose end is its owner's affair."""

    @pytest.mark.parametrize("kind", ["def", "async def", "decorated"])
    @pytest.mark.parametrize("closes", [True, False])
    def test_a_run_ends_with_its_loop(self, log: HookedLog, kind: str, closes: bool) -> None:  # noqa: FBT001
        """Closed or given up: no lease outlives it, and the run ends and says why."""
        clock = ManualClock()
        queue = queue_on(log, clock=clock, workers=1, max_retries=5)
        queue.new(key="k")
        begun = threading.Event()

        def worker(ctx: Context, _task: Task) -> None:
            begun.set()
            ctx.sleep("1h")

        async def coroutine(_ctx: AsyncContext, _task: Task) -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        def decorated(ctx: AsyncContext, task: Task) -> object:
            return coroutine(ctx, task)

        workers: dict[str, Callable[..., Any]] = {
            "def": worker,
            "async def": coroutine,
            "decorated": decorated,
        }
        loop = asyncio.new_event_loop()
        kept = []

        async def begin() -> None:
            kept.append(asyncio.create_task(queue.aio.run(workers[kind], lease_ttl="1h")))
            await asyncio.to_thread(wait_until, begun.is_set)
            await asyncio.get_running_loop().shutdown_default_executor()

        loop.run_until_complete(begin())
        runner = runner_of(queue)
        if closes:
            loop.close()

        def has_ended() -> bool:
            clock.advance(0.3)
            return runner.stopping.cause is not None

        wait_until(has_ended)
        wait_until(lambda: not queue.tasks(state="leased"))

        assert isinstance(runner.stopping.cause, LoopEndedError)
        assert kinds(queue, "k")[2] == ("released" if kind == "def" else "failed")
        assert "renewed" not in {event.kind for event in queue.events()}
        if closes:
            abandon(loop)
        else:
            with pytest.raises(LoopEndedError):
                loop.run_until_complete(kept[0])
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


def abandon(loop: asyncio.AbstractEventLoop) -> None:
    """Ends what is left in a closed loop, so that nothing is said of it later."""
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()
