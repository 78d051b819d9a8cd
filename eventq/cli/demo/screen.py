"""What the demo shows while it runs: a live display on a terminal, lines in a pipe.

A screen is told everything by its caller and changes nothing.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from msgspec import Struct

from eventq import Stats
from eventq.cli.demo.files import Failure, Running
from eventq.cli.output import terminal

if TYPE_CHECKING:
    from rich.console import RenderableType

# The rate shown is that of the last seconds.
RATE_WINDOW_S = 3.0
ROWS = 4


class View(Struct, frozen=True):
    """The demo at one instant."""

    stats: Stats
    elapsed_s: float
    rate: float
    """Tasks that became final, a second."""
    running: list[Running]
    failures: list[Failure]
    foreign: bool
    """Leases of another process are in the way."""
    stopping: bool

    @property
    def final_count(self) -> int:
        """Tasks that are done with, one way or other."""
        return self.stats.total - self.stats.open


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


class Screen(Protocol):
    """Shows views, one after the other."""

    every_s: float
    """How often it wants one."""

    def __enter__(self) -> Self:
        """Begins to show."""

    def __exit__(self, *_: object) -> None:
        """Leaves the last view standing."""

    def show(self, view: View) -> None:
        """Shows the view."""


class LineScreen:
    """One plain line a second."""

    every_s = 1.0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._foreign_told = False
        self._stopping_told = False

    def __enter__(self) -> Self:
        """See Screen."""
        return self

    def __exit__(self, *_: object) -> None:
        """See Screen."""

    def show(self, view: View) -> None:
        """See Screen."""
        if view.foreign and not self._foreign_told:
            self._foreign_told = True
            self._say(FOREIGN)
        if view.stopping and not self._stopping_told:
            self._stopping_told = True
            self._say(STOPPING)
        stats = view.stats
        self._say(
            f"{view.elapsed_s:6.1f} s  {view.final_count} of {stats.total} done, "
            f"{stats.ready} ready, {stats.leased} leased, {stats.scheduled} scheduled, "
            f"{stats.expired} expired, {stats.failures} failures, {view.rate:.0f}/s"
        )

    def _say(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()


class LiveScreen:
    """A display that is drawn anew ten times a second."""

    every_s = 0.1

    def __init__(self, title: str) -> None:
        from rich.live import Live  # noqa: PLC0415 - slow to import, and pipes never need it

        self._title = title
        self._live = Live(console=terminal(), auto_refresh=False)

    def __enter__(self) -> Self:
        """See Screen."""
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """See Screen."""
        self._live.stop()

    def show(self, view: View) -> None:
        """See Screen."""
        self._live.update(self._drawn(view), refresh=True)

    def _drawn(self, view: View) -> RenderableType:
        from rich.console import Group  # noqa: PLC0415 - see __init__
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415

        total = max(1, view.stats.total)
        bar = Table.grid(padding=(0, 2), expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", no_wrap=True)
        bar.add_row(
            ProgressBar(total=total, completed=view.final_count),
            f"{view.final_count:,} of {total:,}  {view.rate:,.0f}/s  {view.elapsed_s:.1f} s",
        )
        now_s = time.monotonic()
        running = [f"{now_s - one.since_s:6.2f} s  {one.path}" for one in view.running]
        failures = [f"attempt {one.attempt}  {one.error}  {one.path}" for one in view.failures]
        return Group(
            _line(self._title, "bold"),
            bar,
            _counts(view),
            *_block("running now", running, "cyan"),
            *_block("recent failures", failures, "red"),
            _line(_notice(view), "yellow"),
        )


FOREIGN = (
    "another process holds leases: it works here too, or has died, and then they lapse "
    "within seconds"
)
STOPPING = "stopping when what runs is done; Ctrl-C again to give it back"


def _notice(view: View) -> str:
    if view.stopping:
        return STOPPING
    return FOREIGN if view.foreign else ""


def _counts(view: View) -> RenderableType:
    from rich.text import Text  # noqa: PLC0415 - see LiveScreen

    stats = view.stats
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, count, style in (
        ("ready", stats.ready, ""),
        ("scheduled", stats.scheduled, "yellow"),
        ("leased", stats.leased, "cyan"),
        ("completed", stats.completed, "green"),
        ("expired", stats.expired, "red"),
        ("failures", stats.failures, "red"),
    ):
        text.append(f"{name} ", "dim").append(f"{count:,}  ", style)
    return text


def _block(title: str, lines: list[str], style: str) -> list[RenderableType]:
    """A titled block that always has the same height, so that nothing below it jumps."""
    rows = [*lines[:ROWS], *[""] * ROWS][:ROWS]
    return [_line(title, "bold"), *(_line(f"  {row}", style) for row in rows)]


def _line(text: str, style: str) -> RenderableType:
    from rich.text import Text  # noqa: PLC0415 - see LiveScreen

    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
