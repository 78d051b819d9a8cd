"""What the demo shows while it runs: a live display on a terminal, lines in a pipe.

The screen gets everything from its caller and changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Self, TextIO

from msgspec import Struct

from eventq import Stats
from eventq.cli.demo.files import Failure, FileInWork
from eventq.cli.output import terminal
from eventq.cli.text import visible

if TYPE_CHECKING:
    from rich.console import RenderableType

# The rate shown is that of the last seconds.
RATE_WINDOW_S = 3.0
ROWS = 4
# How often a display is redrawn, and how often a line is printed.
LIVE_S = 0.1
LINES_S = 1.0

FOREIGN = (
    "another process holds leases: it works here too, or has died, and then they lapse "
    "within seconds"
)
COUNTED = {
    "ready": "", "scheduled": "yellow", "leased": "cyan", "completed": "green", "expired": "red",
    "failures": "red",
}  # fmt: skip
STOPPING = "stopping when what runs is done; Ctrl-C again to give it back"


class DemoProgress(Struct, frozen=True):
    """The demo at one instant."""

    stats: Stats
    elapsed_s: float
    rate: float
    """Tasks that became final, a second."""
    running: list[FileInWork]
    failures: list[Failure]
    foreign: bool
    """Leases of another process are in the way."""
    stopping: bool

    @property
    def final_count(self) -> int:
        """Tasks in a final state."""
        return self.stats.total - self.stats.open

    @property
    def notices(self) -> list[str]:
        """What the user should know, the most important last."""
        return [FOREIGN] * self.foreign + [STOPPING] * self.stopping


class Rate:
    """Tasks a second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def measure(self, now_s: float, count: int) -> float:
        """The rate, now that ``count`` tasks are final."""
        self._seen.append((now_s, count))
        while len(self._seen) > 2 and now_s - self._seen[1][0] >= RATE_WINDOW_S:  # noqa: PLR2004
            self._seen.popleft()
        then_s, before = self._seen[0]
        return (count - before) / (now_s - then_s) if now_s > then_s else 0.0


class Screen:
    """Shows progress: a display that is redrawn if ``live``, else a plain line each time."""

    def __init__(self, root: str, stream: TextIO, *, live: bool) -> None:
        self.every_s = LIVE_S if live else LINES_S
        self._title = f"eventq demo  {visible(root)}"
        self._stream = stream
        self._said: set[str] = set()
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

    def show(self, progress: DemoProgress) -> None:
        """Shows the progress."""
        if self._display is not None:
            self._display.update(self._drawn(progress), refresh=True)
            return
        stats = progress.stats
        news = [notice for notice in progress.notices if notice not in self._said]
        self._said.update(news)
        line = (
            f"{progress.elapsed_s:6.1f} s  {progress.final_count} of {stats.total} done, "
            f"{stats.ready} ready, {stats.leased} leased, {stats.scheduled} scheduled, "
            f"{stats.expired} expired, {stats.failures} failures, {progress.rate:.0f}/s"
        )
        self._stream.write("".join(f"{each}\n" for each in [*news, line]))
        self._stream.flush()

    def _drawn(self, progress: DemoProgress) -> RenderableType:
        from rich.console import Group  # noqa: PLC0415 - see __init__
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        total, done = max(1, progress.stats.total), progress.final_count
        numbers = f"{done:,} of {total:,}  {progress.rate:,.0f}/s  {progress.elapsed_s:.1f} s"
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(ProgressBar(total=total, completed=done), numbers)
        now_s = time.monotonic()
        running = [f"{now_s - one.since_s:6.2f} s  {one.path}" for one in progress.running]
        failures = [f"attempt {one.attempt}  {one.error}  {one.path}" for one in progress.failures]
        return Group(
            _line(self._title, "bold"),
            bar,
            _counts(progress.stats),
            *_block("running now", running, "cyan"),
            *_block("recent failures", failures, "red"),
            _line(["", *progress.notices][-1], "yellow"),
        )


def _counts(stats: Stats) -> RenderableType:
    from rich.text import Text  # noqa: PLC0415 - see Screen

    text = Text(no_wrap=True, overflow="ellipsis")
    for name, style in COUNTED.items():
        text.append(f"{name} ", "dim").append(f"{getattr(stats, name):,}  ", style)
    return text


def _block(title: str, lines: list[str], style: str) -> list[RenderableType]:
    """A titled block that always has the same height, so that nothing below it jumps."""
    rows = [*lines[:ROWS], *[""] * ROWS][:ROWS]
    return [_line(title, "bold"), *(_line(f"  {row}", style) for row in rows)]


def _line(text: str, style: str) -> RenderableType:
    from rich.text import Text  # noqa: PLC0415 - see Screen

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
