"""What came of an attack, as items of a page of the docs, in lines that people can read."""

from __future__ import annotations

import os
import platform
import textwrap
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from eventq.core.version import __version__

LINE_CHARACTERS = 120


def add_figures(page: Path, title: str, said: str, lines: Iterable[str] = ()) -> None:
    """Adds an item to the page, which ends with figures: what was played, when, on what machine.

    Below it each of the lines is an item of its own. Raises OSError.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime())
    machine = (
        f"eventq {__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[1]:.1f}"
    )
    items = [_item(f"{title}, {day} ({machine}): {said}."), *(_item(each, "  ") for each in lines)]
    before = page.read_text(encoding="utf-8").rstrip("\n")
    page.write_text("\n".join([before, *items, ""]), encoding="utf-8")


def lines_of(outcomes: Counter[str]) -> list[str]:
    """A line for each kind of outcomes, which stands before a colon, and one for all others."""
    kinds: dict[str, list[str]] = {}
    for outcome, times in sorted(outcomes.items()):
        kind, _, name = outcome.rpartition(": ")
        kinds.setdefault(kind, []).append(f"{name} ({times:,})")
    return [
        f"{kind}: {'; '.join(counts)}" if kind else "; ".join(counts)
        for kind, counts in sorted(kinds.items())
    ]


def _item(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        LINE_CHARACTERS,
        initial_indent=f"{indent}- ",
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
