"""Signals that stop a run: asked, forced, and at last torn away."""

from __future__ import annotations

import asyncio
import signal

import pytest

from eventq import Queue, Task
from eventq.runner import Context, stopping_on_signals
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
        with Queue("memory://", workers=2, max_retries=3, backoff="0s") as queue:
            queue.new_many([{"n": number} for number in range(20)])
            cancelled = 0

            async def work(_: Context, __: Task) -> None:
                nonlocal cancelled
                for other in asyncio.all_tasks():
                    name = getattr(other.get_coro(), "__name__", "")
                    if name == "_run" and other is not asyncio.current_task() and cancelled < 5:
                        cancelled += other.cancel()

            await queue.run_async(work, until="idle")
            check_log(queue._node.log)
            return [task.state for task in queue.tasks(state="completed")], cancelled

    states, cancelled = asyncio.run(program())

    assert len(states) == 20
    assert cancelled == 5
