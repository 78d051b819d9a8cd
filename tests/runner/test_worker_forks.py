"""A child that a worker forks by hand, and that comes back from it, ends there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FORKING = """
import os, sys
import eventq

def work(ctx, task):
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if task.tags["end"] == "exit":
        sys.exit(7)
    if task.tags["end"] == "raise":
        raise ValueError("of the child")
    print("returned")

async def work_async(ctx, task):
    return work(ctx, task)

def behind_decorator(ctx, task):
    return work_async(ctx, task)

with eventq.Queue("memory://", workers=1, max_retries=0) as queue:
    tasks = [queue.new({"end": end}) for end in ("exit", "raise", "return")]
    queue.run(globals()[sys.argv[1]], until="idle")
    print([queue.get(task.key).result for task in tasks])
"""


@pytest.mark.parametrize("worker", ["work", "work_async", "behind_decorator"])
def test_a_forked_child_that_comes_back_from_the_worker_ends(worker: str) -> None:
    """Its exit code is that of its exit, 1 after an error, else 0; its parent's run goes on."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, worker],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout == "returned\n[7, 1, 0]\n", done.stderr
    assert "ValueError: of the child" in done.stderr
