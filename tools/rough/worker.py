"""A process of workers that write down what they do: its arguments are a URL and two folders.

What a task does stands in its tags. It works until SIGTERM.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import eventq

TTL_S = 2.0
SLOTS = 4
# What a task of the kind ``slow`` takes: longer than a lease that nobody renews. In seconds.
SLOW_S = 3.0
PARTS = 12
DEADLINE_S = 0.3
# A stubborn one ignores its deadline for so much longer.
STUBBORN_S = 2.7


class Journal:
    """A file of lines, each of which is with the system before anything else happens."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8")

    def write(self, what: str, **fields: object) -> None:
        """Writes one line, with the time since boot."""
        self._file.write(json.dumps({"what": what, "clock": boot_us(), **fields}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @contextmanager
    def attempt(self, ctx: eventq.Context) -> Iterator[None]:
        """Writes that an attempt begins, and how it ends; not that one is told to."""
        entry = {"task": ctx.task.number, "fence": ctx.fence, "node": ctx.task.worker}
        self.write("start", **entry)
        try:
            yield
        except eventq.AttemptStoppedError:
            raise
        except BaseException:
            self.write("end", outcome="failed", **entry)
            raise
        self.write("end", outcome="completed", **entry)


def boot_us() -> int:
    """Microseconds since boot, which all processes of a machine share."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


def act(ctx: eventq.Context, what: str, number: int) -> None:
    """Does what a task's tags say."""
    if what == "slow" and number % 3 == 0:
        time.sleep(SLOW_S)
    elif what == "slow":
        # It tells how far it is, as long as it is let.
        for part in range(PARTS):
            time.sleep(SLOW_S / PARTS)
            ctx.progress(part, PARTS)
    elif what == "late":
        # It does not look at its deadline.
        time.sleep(STUBBORN_S)
    else:
        ctx.sleep(length_s(number))
    conclude(ctx, what, number)


def length_s(number: int) -> float:
    """How long most tasks take, in seconds."""
    return 0.002 + number % 5 * 0.004


def conclude(ctx: eventq.Context, what: str, number: int) -> None:
    """Fails, waits or makes tasks, as a task's tags say."""
    if (what == "fails" and ctx.task.attempt <= 2) or what == "hopeless":
        raise ValueError(what)
    if what == "snoozes" and not ctx.task.snoozes:
        raise eventq.Snooze(0.4)
    if what == "makes":
        ctx.progress(1, 2)
        ctx.save(number)
        for child in range(2):
            ctx.new({"what": "does", "number": child}, name="does")


def call(queue: eventq.Queue, calls: Journal, fence: int) -> None:
    """Makes tasks as any caller does, in the process that leases."""
    for number in range(4):
        entry = {"call": f"w{fence}-{number}"}
        tags = {"what": "does", "number": -fence * 10 - number}
        calls.write("call", state="invoked", op="new", tags=tags, **entry)
        task = queue.new(tags, name="does", priority=number)
        calls.write("call", state="ok", task=task.number, **entry)


def main() -> None:
    """Runs the queue until it is told to stop."""
    url, journal, calls = sys.argv[1], Journal(Path(sys.argv[2])), Journal(Path(sys.argv[3]))
    queue = eventq.Queue(url, workers=SLOTS, backoff="50ms")
    refused: set[int] = set()

    @queue.task("does")
    def does(ctx: eventq.Context, what: str, number: int, host: int = 0) -> int:  # noqa: ARG001
        with journal.attempt(ctx):
            act(ctx, what, number)
            if what == "calls":
                call(queue, calls, ctx.fence)
        return number

    @queue.follow("ends", kinds=["completed", "expired", "cancelled"])
    def ends(event: eventq.Event) -> None:
        if event.seq % 400 == 0 and event.seq not in refused:
            refused.add(event.seq)
            raise ValueError("not at first")
        journal.write("called", follower="ends", seq=event.seq)

    @queue.task("beats")
    def beats(ctx: eventq.Context) -> None:
        with journal.attempt(ctx):
            # Longer than until the next one.
            ctx.sleep(0.9)

    queue.every("400ms", beats)
    queue.run(lease_ttl=TTL_S, grace="10s")
    queue.close()


if __name__ == "__main__":
    main()
