"""``python -m tools.soak.worker URL FOLDER PARENT``: makes tasks and works on them, until SIGTERM.

At its end it writes down how many it was told of. It ends with the process that began it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import eventq
from eventq.host.groups import die_with_parent

WORKERS = 4
BATCH = 40
# No more is asked for while so many are open, in all processes.
MOST_OPEN = 400
REST_S = 0.02
TTL_S = 5.0
MADE, ARCHIVE = "made", "archive"

Meddle = Callable[[int], None]


def make(queue: eventq.Queue, stop: threading.Event, folder: Path) -> None:
    """Makes tasks, some of which fail at first or for good, and cancels some."""
    chance, made = Random(os.getpid()), 0
    while not stop.is_set():
        if queue.stats().open > MOST_OPEN:
            stop.wait(REST_S)
            continue
        tasks = queue.new_many(
            eventq.TaskSpec(
                {"number": chance.randrange(10**9), "fails": chance.choice((0, 0, 0, 1, 9))},
                name="does",
                key=f"t{os.getpid()}-{made + number}",
                max_retries=2,
            )
            for number in range(BATCH)
        )
        made += len(tasks)
        with suppress(eventq.NotAllowedError):
            queue.cancel(chance.choice(tasks).key)
    (folder / MADE / str(os.getpid())).write_text(str(made), encoding="ascii")


def handlers(meddle: Meddle) -> eventq.Handlers:
    """What works on tasks and follows their ends; ``meddle`` is called in each attempt."""
    found = eventq.Handlers()

    @found.task("does")
    def does(ctx: eventq.Context, number: int, fails: int) -> int:
        meddle(number)
        if ctx.task.attempt <= fails:
            raise ValueError(number)
        return number

    @found.follow("ends", kinds=["completed", "expired", "cancelled"])
    def ends(event: eventq.Event) -> None:
        """Reads on, and does nothing."""

    return found


def open_queue(url: str, folder: Path, meddle: Meddle = lambda _number: None) -> eventq.Queue:
    """The queue, ready to work."""
    given = [handlers(meddle)]
    archive = folder / ARCHIVE
    return eventq.Queue(url, workers=WORKERS, backoff="10ms", archive=archive, handlers=given)


def serve(meddle: Meddle = lambda _number: None) -> None:
    """Makes and works until it is told to stop."""
    die_with_parent(int(sys.argv[3]))
    # That tasks fail is meant.
    logging.disable(logging.CRITICAL)
    url, folder = sys.argv[1], Path(sys.argv[2])
    with open_queue(url, folder, meddle) as queue:
        stop = threading.Event()
        maker = threading.Thread(target=make, args=(queue, stop, folder))
        maker.start()
        queue.run(lease_ttl=TTL_S, grace="10s")
        stop.set()
        maker.join()


if __name__ == "__main__":
    serve()
