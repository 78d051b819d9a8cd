"""Transactions in processes that are killed in the middle, again and again; run by itself.

``python -m tests.queue.killed FILE KILLS`` forks one process after another. Each makes orders, or
runs those that are there, until it is killed; the caller looks at what is left.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading

import eventq

TABLES = (
    "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY AUTOINCREMENT, by INTEGER)",
    "CREATE TABLE IF NOT EXISTS done (ordered INTEGER)",
)
# Seconds that a process lives at the most, once it has begun.
LIFE_S = 0.06


def make(queue: eventq.Queue) -> None:
    """Makes orders for ever, each a row and a task; every third is taken back."""
    turn = 0
    while True:
        turn += 1
        try:
            with queue.transaction(timeout="10s") as tx:
                row = tx.execute("INSERT INTO orders (by) VALUES (?) RETURNING id", [os.getpid()])
                tx.new({"order": row.rows[0][0]}, name="pay")
                if turn % 3 == 0:
                    raise LookupError  # noqa: TRY301 - what takes it back
        except LookupError:
            pass


def pay(ctx: eventq.Context, order: int) -> None:
    """Pays an order: the row that says so and the task's completion are one."""
    with ctx.transaction(timeout="10s") as tx:
        tx.execute("INSERT INTO done (ordered) VALUES (?)", [order])


def open_queue(url: str) -> eventq.Queue:
    """The queue with its one handler."""
    queue = eventq.Queue(url, workers=2)
    queue.task("pay", backoff="0s")(pay)
    return queue


def live(url: str, kind: int, begun: int) -> None:
    """One process, until it is killed."""
    queue = open_queue(url)
    os.write(begun, b"x")
    if kind:
        make(queue)
    while True:
        queue.run(until="idle", signals=False, lease_ttl="1s")


def main(url: str, kills: int) -> None:
    """Forks and kills, so many times, two processes at a time."""
    chance = random.Random(kills)
    with eventq.Queue(url) as queue, queue.transaction() as tx:
        for table in TABLES:
            tx.execute(table)
    for kill in range(0, kills, 2):
        reading, begun = os.pipe()
        children = []
        for kind in (1, kill // 2 % 2):
            child = os.fork()
            if not child:
                live(url, kind, begun)
            children.append(child)
            os.read(reading, 1)
        threading.Event().wait(chance.uniform(0, LIFE_S))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(reading)
        os.close(begun)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
