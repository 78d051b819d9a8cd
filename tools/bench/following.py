"""How soon ``tail -f`` and ``replay -f`` show an event that another process appends."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import IO

from eventq import Queue
from tools.bench.bench import CHILD_PATIENCE_S, Bench
from tools.bench.report import Figure, Floor
from tools.bench.waiting import GAP_S, WARM_UP

COMMANDS = {
    "tail -f": ["tail", "-f", "--after", "0"],
    "replay -f": ["replay", "-f"],
}
BOUND_MS = 50


def follow(bench: Bench) -> Iterator[Figure]:
    """From right before ``new()`` to the line's arrival at the reader of the command's pipe.

    The append, with its wait for the disk, is a part of it.
    """
    for name, words in COMMANDS.items():
        delays_ms = _delays_ms(bench.url(), words, WARM_UP + bench.pick(200, 10))[WARM_UP:]
        floor = Floor(BOUND_MS, at_most=True)
        yield Figure(f"{name}: half", median(delays_ms), "ms", floor)
        yield Figure(f"{name}: the slowest of {len(delays_ms)}", max(delays_ms), "ms", floor)


def _delays_ms(url: str, words: list[str], count: int) -> list[float]:
    draw, sent_ns = random.Random(7), [0] * count
    with Queue(url) as queue:
        # Before anybody follows, so that there is something to open.
        queue.new({"number": -1})
        command = [sys.executable, "-m", "eventq", *words, "--json", "--url", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reader = _Reader(process.stdout, count)
            try:
                reader.wait_for_the_first()
                for number in range(count):
                    time.sleep(draw.uniform(*GAP_S))
                    sent_ns[number] = time.monotonic_ns()
                    queue.new({"number": number})
                reader.join(CHILD_PATIENCE_S)
            finally:
                process.terminate()
    if len(reader.seen_ns) != count:
        raise RuntimeError(f"of {count} events {len(reader.seen_ns)} were shown")
    return [(reader.seen_ns[number] - sent_ns[number]) / 1e6 for number in range(count)]


class _Reader(threading.Thread):
    """Notes when each line arrives."""

    def __init__(self, lines: IO[str], count: int) -> None:
        super().__init__(daemon=True)
        self.seen_ns: dict[int, int] = {}
        self._lines = lines
        self._count = count
        self._began = threading.Event()
        self.start()

    def wait_for_the_first(self) -> None:
        """Returns once the command shows what was there before."""
        if not self._began.wait(CHILD_PATIENCE_S):
            raise RuntimeError("the command shows nothing; its own error stands above")

    def run(self) -> None:
        """Reads until the last number has come."""
        for line in self._lines:
            now_ns = time.monotonic_ns()
            number = json.loads(line)["body"]["tags"]["number"]
            self._began.set()
            if number >= 0:
                self.seen_ns[number] = now_ns
            if len(self.seen_ns) == self._count:
                return
