"""What the demo shows while it runs: a live display on a terminal, lines in a pipe.

The screen asks the queue, whose log knows what runs and how far it has come, and changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Self, TextIO

from eventq import Queue, Stats, Task
from eventq.audit.phrases import progress_words
from eventq.cli.demo.summary import described, described_error
from eventq.cli.output import terminal
from eventq.cli.text import visible
from eventq.core.durations import SECOND_US

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# The rate shown is that of the last seconds.
RATE_WINDOW_S = 3.0
ROWS = 4
# How often a display is redrawn, and how often a line is printed.
LIVE_S = 0.1
LINES_S = 1.0

COUNTED = {
    "ready": "", "scheduled": "yellow", "leased": "cyan", "completed": "green", "expired": "red",
    "failures": "red",
}  # fmt: skip


class Screen:
    """Shows progress: a display that is redrawn if ``live``, else a plain line each time."""

    def __init__(self, root: str, queue: Queue, stream: TextIO, *, live: bool) -> None:
        self.every_s = LIVE_S if live else LINES_S
        self._title = f"eventq demo  {visible(root)}"
        self._queue = queue
        self._stream = stream
        self._said: set[str] = set()
        self._begun_s = time.monotonic()
        # When it was looked at, and how many tasks were final then.
        self._seen: deque[tuple[float, int]] = deque()
        self._display = None
        if live:
            from rich.live import Live  # noqa: PLC0415 - slow to import, and pipes never need it

            self._display = Live(console=terminal(), auto_refresh=False)

    def __enter__(self) -> Self:
        """Begins to show."""
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops, and leaves the last progress visible."""
        if self._display is not None:
            self._display.stop()

    def show(self, stats: Stats, notices: list[str]) -> None:
        """Shows the numbers, and what the user should know, the most important last."""
        now_s, done = time.monotonic(), stats.total - stats.open
        elapsed_s, rate = now_s - self._begun_s, self._rate(now_s, done)
        if self._display is not None:
            numbers = f"{done:,} of {stats.total:,}  {rate:,.0f}/s  {elapsed_s:.1f} s"
            drawn = self._drawn(stats, numbers, ["", *notices][-1])
            self._display.update(drawn, refresh=True)
            return
        news = [notice for notice in notices if notice not in self._said]
        self._said.update(news)
        line = (
            f"{elapsed_s:6.1f} s  {done} of {stats.total} done, "
            f"{stats.ready} ready, {stats.leased} leased, {stats.scheduled} scheduled, "
            f"{stats.expired} expired, {stats.failures} failures, {rate:.0f}/s"
        )
        self._stream.write("".join(f"{each}\n" for each in [*news, line]))
        self._stream.flush()

    def _rate(self, now_s: float, done: int) -> float:
        """Tasks a second over the last seconds."""
        self._seen.append((now_s, done))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= RATE_WINDOW_S:  # noqa: PLR2004
            self._seen.popleft()
        then_s, before = self._seen[0]
        return (done - before) / (now_s - then_s) if now_s > then_s else 0.0

    def _drawn(self, stats: Stats, numbers: str, notice: str) -> RenderableType:
        from rich.console import Group  # noqa: PLC0415 - see __init__
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        done, total = stats.total - stats.open, max(1, stats.total)
        bar.add_row(ProgressBar(total=total, completed=done), numbers)
        counts = _line("", "")
        for name, style in COUNTED.items():
            counts.append(f"{name} ", "dim").append(f"{getattr(stats, name):,}  ", style)
        running = map(_running, self._queue.tasks(state="leased", limit=ROWS))
        failures = map(_failed, self._queue.tasks(state="scheduled", limit=ROWS))
        return Group(
            _line(self._title, "bold"),
            bar,
            counts,
            *_block("running now", running, "cyan"),
            *_block("to be retried", failures, "red"),
            _line(notice, "yellow"),
        )


def _running(task: Task) -> str:
    told = task.progress
    far = "" if told is None else visible(f"{progress_words(told.done, told.total)} {told.note}")
    begun_us = task.started_at_us or task.seen_at_us
    return f"{(task.seen_at_us - begun_us) / SECOND_US:6.2f} s  {described(task)}  {far}"


def _failed(task: Task) -> str:
    return f"attempt {task.attempt}  {described_error(task)}"


def _block(title: str, lines: Iterable[str], style: str) -> list[Text]:
    """A titled block that always has the same height, so that nothing below it jumps."""
    rows = [*lines, *[""] * ROWS][:ROWS]
    return [_line(title, "bold"), *(_line(f"  {row}", style) for row in rows)]


def _line(text: str, style: str) -> Text:
    from rich.text import Text  # noqa: PLC0415 - see Screen

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
