"""What log and journals show when all is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import eventq
from eventq.core.events import Created
from eventq.verify import verify
from tools.history.checker import Checker
from tools.history.clients import judge_clients
from tools.history.facts import Finding
from tools.history.journals import calls_of, read_folder
from tools.history.reading import read_log
from tools.history.workers import judge_workers
from tools.rough.judging import judge_follower
from tools.torture.roles import SHOP


def judge(queue: eventq.Queue, folder: Path, *, has_one_clock: bool) -> Iterator[Finding]:
    """All that a log at rest and the journals in the folder show."""
    checker = Checker("default", retries_by_policy=True)
    for commit in read_log(queue.url, "default"):
        checker.add(commit, true_at=commit.at if has_one_clock else None)
    yield from checker.finish(drained_at=checker.chain.at)
    yield from judge_clients(checker, calls_of(read_folder(folder / "calls")))
    yield from judge_workers(checker, read_folder(folder / "workers"))
    yield from judge_follower(checker)
    yield from judge_orders(queue, folder / SHOP)
    for line in read_folder(folder / "broken"):
        yield Finding("broke", None, line["text"])
    for found in verify(queue.log, limit=10).findings:
        yield Finding("verify", found.seq, f"{found.rule}: {found.problem}")


def judge_orders(queue: eventq.Queue, shop: Path) -> Iterator[Finding]:
    """Each order that was committed has its task, and no other order has."""
    with closing(sqlite3.connect(shop)) as session:
        orders = {key for (key,) in session.execute("SELECT key FROM orders")}
    bodies = (event.body for event in queue.events())
    keys = [body.key for body in bodies if isinstance(body, Created)]
    made = {key for key in keys if key is not None and key.startswith("o")}
    for key in sorted(orders - made):
        yield Finding("outbox", None, f"the order {key} has no task")
    for key in sorted(made - orders):
        yield Finding("outbox", None, f"the order {key} was rolled back, and has a task")
