"""Writers and relays that are killed in the middle, again and again; run by itself.

``python -m tests.contrib.killed LOG DATABASE TRANSACTIONS KILLS`` ends at least so many
transactions, of which a third are rolled back, and kills at least so often; the caller compares
what is left. It prints how many there were.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import eventq
from eventq.contrib import Outbox

LIFE_S = 0.15
# More of them at a time would be other tests' time.
LIFE_TRANSACTIONS = 200
TABLE = "CREATE TABLE orders (id TEXT PRIMARY KEY)"


def connect(database: str) -> Any:  # noqa: ANN401 - of either driver
    """A connection to the application's database, by its plain driver."""
    if database.startswith("sqlite:///"):
        return sqlite3.connect(database.removeprefix("sqlite:///"), timeout=30.0)
    import psycopg  # noqa: PLC0415 - where there is a server

    return psycopg.connect(database)


def write(outbox: Outbox, database: str, begun: int, tally: int) -> None:
    """Makes orders, each with its task, then waits to be killed: every third is rolled back."""
    mark = "?" if database.startswith("sqlite") else "%s"
    with closing(connect(database)) as connection:
        for turn in range(LIFE_TRANSACTIONS):
            order = f"{os.getpid()}-{turn}"
            cursor = connection.cursor()
            cursor.execute(f"INSERT INTO orders (id) VALUES ({mark})", [order])  # noqa: S608
            outbox.new({"order": order}, on=connection, key=f"order-{order}")
            if turn % 3 == 0:
                connection.rollback()
            else:
                connection.commit()
            os.write(tally, b"r" if turn % 3 == 0 else b"c")
            if not turn:
                os.write(begun, b"x")
        threading.Event().wait()


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
    # A byte for each transaction that has ended, by whoever made it.
    with tempfile.NamedTemporaryFile() as file:
        tally = os.open(file.name, os.O_WRONLY | os.O_APPEND)

        def begin(kind: str, begun: int) -> None:
            outbox = Outbox(eventq.Queue(log), database, relay=kind == "both")
            if kind == "relay":
                relay(outbox, begun)
            else:
                write(outbox, database, begun, tally)

        killed = 0
        while killed < kills or Path(file.name).stat().st_size < transactions:
            reading, begun = os.pipe()
            kinds = ["write", "both" if killed % 8 else "write", "relay", "relay"]
            children = [fork(partial(begin, kind, begun)) for kind in kinds]
            for _ in children:
                os.read(reading, 1)
            threading.Event().wait(chance.uniform(0, 2 * LIFE_S))
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            killed += len(children)
            os.close(reading)
            os.close(begun)
        ended = Counter(file.read())
    rolled_back = ended[ord("r")]
    sys.stdout.write(f"{ended.total()} transactions, {rolled_back} rolled back, {killed} killed\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
