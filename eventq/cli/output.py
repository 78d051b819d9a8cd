"""Printing: tables on a terminal, tab-separated lines in a pipe; no colour ever enters a pipe.

Callers hand in text that is safe to print already, see text.py.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

import click

from eventq.cli.text import json_text, visible

if TYPE_CHECKING:
    from rich.console import Console

KIND_COLOURS = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "retried": "yellow",
    "refused": "magenta",
}


def prepare_streams() -> None:
    """Makes output in any encoding possible: what it lacks is printed as an escape."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def is_terminal(stream: IO[Any] | None = None) -> bool:
    """Whether a person looks at the stream (standard output unless told) on a real terminal."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def say(line: str = "") -> None:
    """Prints one line to standard output."""
    sys.stdout.write(f"{line}\n")


def say_json(value: object) -> None:
    """Prints one value as one line of JSON."""
    say(json_text(value))


def flush() -> None:
    """Hands on what was said so far, so that a reader of the pipe sees it now."""
    sys.stdout.flush()


def note(message: str) -> None:
    """Tells the person, not the program that reads the output, one thing on standard error."""
    # One write: several processes may share the stream, and lines must stay whole.
    sys.stderr.write(f"eventq: {visible(message)}\n")
    sys.stderr.flush()


def terminal(*, stderr: bool = False) -> Console:
    """A rich console that takes all text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and pipes never need it

    return Console(markup=False, emoji=False, highlight=False, stderr=stderr)


def say_table(names: list[str], rows: list[list[str]], *, folded: int = 0) -> None:
    """Prints rows below their column names; the column ``folded`` is never cut on a terminal."""
    if not is_terminal():
        for row in [names, *rows]:
            say("\t".join(row))
        return
    from rich.table import Table  # noqa: PLC0415 - see terminal
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(names):
        if index == folded:
            table.add_column(name, overflow="fold", min_width=min(12, _width(rows, index)))
        else:
            table.add_column(name, overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*[Text(cell, style=KIND_COLOURS.get(cell, "")) for cell in row])
    terminal().print(table)


def say_pairs(pairs: list[tuple[str, str]]) -> None:
    """Prints names and values: aligned on a terminal, tab-separated in a pipe."""
    if is_terminal():
        width = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            say(f"{click.style(name.ljust(width), bold=True)}  {value}")
    else:
        for name, value in pairs:
            say(f"{name}\t{value}")


def coloured(kind: str) -> str:
    """An event's kind or a task's state, in its colour on a terminal."""
    colour = KIND_COLOURS.get(kind)
    return click.style(kind, fg=colour) if colour and is_terminal() else kind


def _width(rows: list[list[str]], index: int) -> int:
    return max((len(row[index]) for row in rows), default=0)
