"""Runs until idle beside outboxes: what other relays take away meanwhile is run, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

from eventq import AsyncQueue, Context, Queue, Task


class Rows:
    """An outbox; its rows are made tasks by itself, or by another relay while it looks."""

    def __init__(self, queue: Queue, *, at: int, counts: Callable[[int], int]) -> None:
        self.looks = 0
        self._queue = queue
        self._at = at
        self._counts = counts

    def relay(self) -> int:
        """See Relayed."""
        self.looks += 1
        if self.looks == self._at:
            self._queue.new({"mail": 1}, key="mail")
        return self._counts(self.looks)

    def relaying(self) -> AbstractContextManager[None]:
        """See Relayed."""
        return nullcontext()


@pytest.mark.parametrize("how", ["threads", "a loop"])
def test_what_another_relay_has_taken_is_run(queue: Queue, how: str) -> None:
    """It appended right after the run had found nothing more to do, and left no row."""
    rows = Rows(queue, at=2, counts=lambda _: 0)

    def work(_ctx: Context, _task: Task) -> None:
        """Nothing."""

    async def run() -> int:
        report = await AsyncQueue.of(queue).run(work, until="idle", outboxes=[rows])
        return report.completed

    if how == "a loop":
        completed = asyncio.run(run())
    else:
        completed = queue.run(work, until="idle", signals=False, outboxes=[rows]).completed

    assert completed == 1
    assert rows.looks == 3


def test_a_run_that_is_told_to_stop_looks_no_more(queue: Queue) -> None:
    """However many rows come."""
    rows = Rows(queue, at=1, counts=lambda _: 1)
    report = queue.run(
        lambda _ctx, _task: queue.stop(), until="idle", signals=False, outboxes=[rows]
    )

    assert (report.completed, rows.looks) == (1, 1)
