"""The tasks that measures create, and workers that do nothing with them."""

from __future__ import annotations

import time
from typing import Any

from eventq import Queue, Task

BATCH = 1_000


def three_tags(number: int) -> dict[str, str]:
    """Three short tags."""
    return {"path": f"images/{number:05}.png", "width": "640", "user": f"u-{number % 100}"}


def fill(queue: Queue, count: int, *, priority: int = 0) -> float:
    """Creates tasks in batches; returns how many a second. Their tags are made before."""
    tags = [three_tags(number) for number in range(count)]
    began_s = time.perf_counter()
    for start in range(0, count, BATCH):
        queue.new_many(tags[start : start + BATCH], priority=priority)
    return count / (time.perf_counter() - began_s)


def no_op(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    """A worker that does nothing."""


async def async_no_op(_ctx: Any, _task: Task) -> None:  # noqa: ANN401 - a worker's two arguments
    """A worker that awaits nothing."""
