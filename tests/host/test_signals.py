"""Signals that stop a run: asked, forced, and at last torn away; shared with others' handlers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import pytest

from eventq import AsyncQueue, Queue, Task
from eventq.handlers.context import Context
from eventq.host.signals import stopping_on_signals
from tests.checker import check_log


def test_two_signals_ask_and_the_third_interrupts() -> None:
    """Whoever presses Ctrl-C a third time gets out, wherever the program hangs."""
    calls: list[str] = []
    before = signal.getsignal(signal.SIGINT)

    with stopping_on_signals(lambda: calls.append("stop")):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    assert calls == ["stop", "stop"]
    assert signal.getsignal(signal.SIGINT) is before


class Application:
    """A program with a SIGTERM handler of its own, which counts."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self.count += 1


@pytest.fixture
def application() -> Iterator[Application]:
    """Its handler is in force, and the one before it comes back."""
    found = Application()
    before = signal.signal(signal.SIGTERM, found.handle)
    yield found
    signal.signal(signal.SIGTERM, before)


def test_the_application_is_told_too(application: Application) -> None:
    """A handler that was there is called at each signal, and is there again afterwards."""
    calls: list[str] = []

    with stopping_on_signals(lambda: calls.append("stop")):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    assert (application.count, calls) == (2, ["stop", "stop"])
    assert signal.getsignal(signal.SIGTERM) == application.handle


@pytest.mark.parametrize("chains", [False, True])
@pytest.mark.parametrize("order", ["abs", "asb", "bas", "bsa", "sab", "sba"])
def test_runs_and_a_server_end_in_any_order(
    application: Application, order: str, *, chains: bool
) -> None:
    """Two runs and a server between them: whoever goes on is told, once; the first comes back."""
    calls: list[str] = []
    blocks = {name: ExitStack() for name in "abs"}
    blocks["a"].enter_context(stopping_on_signals(lambda: calls.append("a")))
    covered = signal.getsignal(signal.SIGTERM)
    assert callable(covered)

    def serve(number: int, frame: FrameType | None) -> None:
        calls.append("s")
        if chains:
            covered(number, frame)

    signal.signal(signal.SIGTERM, serve)
    blocks["s"].callback(signal.signal, signal.SIGTERM, covered)
    blocks["b"].enter_context(stopping_on_signals(lambda: calls.append("b")))

    signal.raise_signal(signal.SIGTERM)
    assert (sorted(calls), application.count) == (["a", "b", "s"], int(chains))
    for name in order:
        blocks[name].close()
    signal.raise_signal(signal.SIGTERM)

    assert (len(calls), application.count) == (3, 1 + chains)
    assert signal.getsignal(signal.SIGTERM) == application.handle


@pytest.mark.parametrize("ended", ["s", "sa", "as"])
def test_a_run_is_told_after_a_server_put_an_old_handler_back(ended: str) -> None:
    """A server that ends restores what it found, above the later run's handler."""
    calls: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    blocks = {name: ExitStack() for name in "abs"}
    blocks["a"].enter_context(stopping_on_signals(lambda: calls.append("a")))
    covered = signal.signal(signal.SIGTERM, lambda *_: calls.append("s"))
    blocks["s"].callback(signal.signal, signal.SIGTERM, covered)
    with blocks["b"]:
        blocks["b"].enter_context(stopping_on_signals(lambda: calls.append("b")))

        for name in ended:
            blocks[name].close()
        signal.raise_signal(signal.SIGTERM)
        blocks["a"].close()

    assert calls == [name for name in "ab" if name not in ended]
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_overlapping_runs_are_both_told(application: Application, order: str) -> None:
    """One signal reaches every run; whichever ends first, the other is still told."""
    calls: list[str] = []
    blocks = {name: ExitStack() for name in "ab"}
    blocks["a"].enter_context(stopping_on_signals(lambda: calls.append("a")))
    blocks["b"].enter_context(stopping_on_signals(lambda: calls.append("b")))

    signal.raise_signal(signal.SIGTERM)
    blocks[order[0]].close()
    signal.raise_signal(signal.SIGTERM)
    blocks[order[1]].close()

    assert calls == ["a", "b", order[1]]
    assert application.count == 2
    assert signal.getsignal(signal.SIGTERM) == application.handle


def test_a_handler_that_raises_is_heard_once_the_run_has_ended() -> None:
    """The usual ``sys.exit`` at SIGTERM neither tears the run away nor is it swallowed."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(7)

    def work(_: Context, __: Task) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return "finished"

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with Queue("memory://", workers=1) as queue:
            queue.new(key="k")
            with pytest.raises(SystemExit) as left:
                queue.run(work)
            ended = queue.get("k")
    finally:
        signal.signal(signal.SIGTERM, before)

    assert left.value.code == 7
    assert ended is not None
    assert ended.result == "finished"


def test_a_handler_that_is_not_pythons_is_left_alone(
    application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could be neither called nor put back."""
    in_force = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda _: None)

    with stopping_on_signals(lambda: None):
        assert in_force(signal.SIGTERM) == application.handle

    assert in_force(signal.SIGTERM) == application.handle


@pytest.mark.parametrize("way", ["run", "aio.run"])
def test_a_run_takes_no_signal_that_it_was_not_given(application: Application, way: str) -> None:
    """``run(signals=False)``, and `AsyncQueue.run` unless asked, leave signals to the program."""
    seen = []

    def work(_: Context, __: Task) -> None:
        seen.append((signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)))

    async def program() -> None:
        seen.append((application.handle, signal.getsignal(signal.SIGINT)))
        if way == "run":
            await asyncio.to_thread(queue.stats)
            queue.run(work, until="idle", signals=False)
        else:
            await queue.aio.run(work, until="idle")

    with Queue("memory://", workers=1) as queue:
        queue.new()
        asyncio.run(program())

    assert seen[0] == seen[1]


def test_an_awaited_run_listens_when_asked(application: Application) -> None:
    """With ``signals`` each of several runs stops, gracefully at Ctrl-C too, under asyncio.run."""

    async def work(_: Context, __: Task) -> str:
        signal.raise_signal(signal.SIGINT)
        return "finished"

    async def program(one: Queue, other: Queue) -> list[int]:
        runs = [queue.aio.run(work, signals=True) for queue in (one, other)]
        return [report.completed for report in await asyncio.gather(*runs)]

    with Queue("memory://", namespace="one") as one, Queue("memory://", namespace="other") as other:
        one.new()

        assert asyncio.run(program(one, other)) == [1, 0]
    assert signal.getsignal(signal.SIGTERM) == application.handle


FORKING = """
import multiprocessing, signal, sys, time
import eventq

fork = multiprocessing.get_context("fork")
signal.signal(signal.SIGTERM, signal.SIG_DFL)
queue = eventq.Queue(sys.argv[1], workers=1, max_retries=0)
queue.new()

def ended(_):
    return [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before

def work(ctx, task):
    child = fork.Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(60)
    for _ in range(5):
        with fork.Pool(2) as pool:
            clean = pool.map(ended, range(2))
    return [child.exitcode, clean]

before = [signal.SIG_DFL, signal.getsignal(signal.SIGINT)]
queue.run(work, until="idle")
print(queue.get("1").result)
"""


def test_a_forked_child_has_the_handlers_from_before_the_run(tmp_path: Path) -> None:
    """A worker's `multiprocessing` children end at SIGTERM, and so do the pool's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, f"sqlite:///{tmp_path}/q.db"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == f"[{-signal.SIGTERM}, [True, True]]\n", done.stderr


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_worker_cannot_close_its_own_queue(*, asynchronous: bool) -> None:
    """It would wait for itself: it is told, its attempt fails, and the run goes on."""

    def work(_: Context, __: Task) -> None:
        queue.close()

    async def work_async(_: Context, __: Task) -> None:
        queue.close()

    with Queue("memory://", workers=1, max_retries=0) as queue:
        task = queue.new()
        queue.run(work_async if asynchronous else work, until="idle")
        ended = queue.get(task.key)

    assert ended is not None
    assert ended.state == "expired"
    assert ended.last_error is not None
    assert "it may call stop()" in ended.last_error.message


def test_a_stranger_who_cancels_all_tasks_loses_none() -> None:
    """An asyncio task cancelled before its first step is a failed attempt, and its slot is free."""

    async def program() -> tuple[list[str], int]:
        async with AsyncQueue("memory://", workers=2, max_retries=3, backoff="0s") as queue:
            await queue.new_many([{"n": number} for number in range(20)])
            cancelled = 0

            async def work(_: Context, __: Task) -> None:
                nonlocal cancelled
                for other in asyncio.all_tasks():
                    name = getattr(other.get_coro(), "__name__", "")
                    if name == "_run" and other is not asyncio.current_task() and cancelled < 5:
                        cancelled += other.cancel()

            await queue.run(work, until="idle")
            check_log(queue.queue.log)
            return [task.state for task in await queue.tasks(state="completed")], cancelled

    states, cancelled = asyncio.run(program())

    assert len(states) == 20
    assert cancelled == 5
