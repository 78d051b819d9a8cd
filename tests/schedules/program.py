"""A program whose schedules come every 200 ms: ``python -m tests.schedules.program URL``."""

from __future__ import annotations

import sys

import eventq

SCHEDULES = 3


def main() -> None:
    """Runs until it is told to end, or killed."""
    queue = eventq.Queue(sys.argv[1], workers=1)

    @queue.task("note")
    def note(number: int) -> int:
        return number

    for number in range(SCHEDULES):
        name = f"s{number}"
        queue.every("200ms", note, number, schedule=name, overlap="allow", catch_up=1_000)
    queue.run()


if __name__ == "__main__":
    main()
