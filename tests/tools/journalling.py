"""A process of workers that write down what they do: its arguments are a URL and a folder."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import eventq

TTL = "1s"


class Journal:
    """A file of lines, each of which is with the system before anything else happens."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / f"{os.getpid()}.jsonl").open("a", encoding="utf-8")

    def write(self, what: str, **fields: object) -> None:
        """Writes one line, with the time since boot."""
        clock = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
        line = json.dumps({"what": what, "clock": clock, **fields})
        self._file.write(line + "\n")
        self._file.flush()


def main() -> None:
    """Runs the queue until it is idle, and says so in between."""
    url, folder = sys.argv[1], Path(sys.argv[2])
    journal = Journal(folder)
    queue = eventq.Queue(url, workers=2, max_retries=3, backoff="10ms")

    @queue.task("does", limits=["three"])
    def does(ctx: eventq.Context, number: int) -> int:
        task = ctx.task
        entry = {"task": task.number, "fence": ctx.fence, "node": task.worker}
        journal.write("start", **entry)
        # A task goes on for a while, so that a process that is killed is killed amid some.
        ctx.sleep("20ms")
        if number % 7 == task.attempt:
            journal.write("end", outcome="failed", **entry)
            raise ValueError
        journal.write("end", outcome="completed", **entry)
        return number

    @queue.follow("ends", kinds=["completed", "expired"])
    def ends(event: eventq.Event) -> None:
        journal.write("called", follower="ends", seq=event.seq)

    queue.run(until="idle", lease_ttl=TTL)
    queue.close()


if __name__ == "__main__":
    main()
