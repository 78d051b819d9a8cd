"""Writers and relays that are killed in the middle, again and again; run by itself.

``python -m tests.contrib.killed LOG DATABASE TRANSACTIONS KILLS`` makes transactions, of which
a third are rolled back; the caller compares what is left.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import eventq
from eventq.contrib import Outbox

LIFE_S = 0.15
TABLE = "CREATE TABLE orders (id TEXT PRIMARY KEY)"


def connect(database: str) -> Any:  # noqa: ANN401 - of either driver
    """A connection to the application's database, by its plain driver."""
    if database.startswith("sqlite:///"):
        return sqlite3.connect(database.removeprefix("sqlite:///"), timeout=30.0)
    import psycopg  # noqa: PLC0415 - where there is a server

    return psycopg.connect(database)


def write(outbox: Outbox, database: str, begun: int, count: int) -> None:
    """Makes orders, each with its task: every third is rolled back."""
    mark = "?" if database.startswith("sqlite") else "%s"
    with closing(connect(database)) as connection:
        for turn in range(count):
            order = f"{os.getpid()}-{turn}"
            cursor = connection.cursor()
            cursor.execute(f"INSERT INTO orders (id) VALUES ({mark})", [order])  # noqa: S608
            outbox.new({"order": order}, on=connection, key=f"order-{order}")
            if turn % 3 == 0:
                connection.rollback()
            else:
                connection.commit()
            if not turn:
                os.write(begun, b"x")


def relay(outbox: Outbox, begun: int) -> None:
    """Relays for ever."""
    os.write(begun, b"x")
    with outbox.relaying():
        threading.Event().wait()


def fork(work: Callable[[], object]) -> int:
    """A child that does this, and no more."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    return child


def main(log: str, database: str, transactions: int, kills: int) -> None:
    """Two writers and two relays at a time, which live for a moment."""
    chance = random.Random(kills)
    with closing(connect(database)) as connection:
        connection.cursor().execute(TABLE)
        connection.commit()

    def begin(kind: str, begun: int) -> None:
        outbox = Outbox(eventq.Queue(log), database, relay=kind == "both")
        if kind == "relay":
            relay(outbox, begun)
        else:
            write(outbox, database, begun, count)

    rounds = max(1, kills // 4)
    count = -(-transactions // (rounds * 2))
    for turn in range(rounds):
        reading, begun = os.pipe()
        kinds = ["write", "both" if turn % 2 else "write", "relay", "relay"]
        children = [fork(partial(begin, kind, begun)) for kind in kinds]
        for _ in children:
            os.read(reading, 1)
        threading.Event().wait(chance.uniform(0, 2 * LIFE_S))
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        os.close(reading)
        os.close(begun)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
