"""Processes that are killed inside transactions: rows and tasks always agree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eventq.verify import verify
from tests.queue.killed import open_queue

ROOT = Path(__file__).parents[2]
# 1,000 where somebody asks for them.
KILLS = int(os.environ.get("EVENTQ_KILLS", "100"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_orders_and_tasks_agree_after_kills(tmp_path: Path) -> None:
    """Each order has its task and each task its order; each that was paid was paid once."""
    url = f"sqlite:///{tmp_path}/own.db"
    command = [sys.executable, "-W", "error", "-m", "tests.queue.killed", url, str(KILLS)]
    subprocess.run(command, cwd=ROOT, check=True)

    with open_queue(url) as queue:
        orders = [row[0] for row in queue.sql("SELECT id FROM orders ORDER BY id").rows]
        made = sorted(task.tags["order"] for task in queue.tasks())
        paid = {task.tags["order"] for task in queue.tasks(state="completed")}
        done = [row[0] for row in queue.sql("SELECT ordered FROM done").rows]
        final = sorted(task.tags["order"] for task in queue.tasks(state="completed")) + made
        assert sorted(final) == orders
        assert sorted(done) == sorted(paid)
        assert verify(queue.log).ok
        queue.run(until="idle", signals=False)
        done = [row[0] for row in queue.sql("SELECT ordered FROM done").rows]
        assert sorted(done) == orders
        assert len(orders) > KILLS // 10
