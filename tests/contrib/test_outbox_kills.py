"""Writers and relays that are killed: a committed row is one task, a rolled back one none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import eventq
from eventq.contrib import Outbox
from eventq.verify import verify
from tests.contrib.killed import connect

ROOT = Path(__file__).parents[2]
# 10,000 transactions and 200 kills where somebody asks for them.
KILLS = int(os.environ.get("EVENTQ_KILLS", "24"))
TRANSACTIONS = 50 * KILLS


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_committed_rows_are_made_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Whoever was killed when: the orders that are there have their tasks, and no other has."""
    log = f"sqlite:///{tmp_path}/tasks.db"
    database = f"sqlite:///{tmp_path}/shop.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").new_url()
    with eventq.Queue(log) as queue:
        Outbox(queue, database, relay=False).create()
    words = [log, database, str(TRANSACTIONS), str(KILLS)]
    command = [sys.executable, "-m", "tests.contrib.killed", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)

    with eventq.Queue(log) as queue, closing(connect(database)) as connection:
        outbox = Outbox(queue, database, relay=False)
        outbox.relay()
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM orders")
        orders = sorted(row[0] for row in cursor.fetchall())
        made = [task.tags["order"] for task in queue.tasks()]
        assert sorted(made) == orders
        ended, rolled_back, killed = [int(n) for n in re.findall(r"[0-9]+", done.stdout)]
        assert ended >= TRANSACTIONS
        assert killed >= KILLS
        # One may be committed and not counted: killed in between.
        assert 0 <= len(orders) - (ended - rolled_back) <= killed
        assert outbox.aside() == []
        assert verify(queue.log).ok
        sys.stdout.write(f"{kind}: {done.stdout.strip()}; {len(made)} tasks\n")
