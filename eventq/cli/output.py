"""Printing: tables and bars on a terminal, uncoloured tab-separated lines in a pipe.

Never prints text from a log as it is: callers pass text that text.py has made safe.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click
from msgspec import Struct

from eventq.cli.text import ascii_json, json_text, short, visible
from eventq.cli.views.fields import json_fields

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Pairs = list[tuple[str, str]]

# A message names what was wrong and need not repeat a whole file.
NOTE_CHARACTERS = 500

# On a narrow terminal a key folds to no fewer cells, and long texts are cut to no fewer.
KEY_CELLS = 12
ELASTIC_CELLS = 16

KIND_COLOURS = {
    "completed": "green",
    "failed": "red",
    "expired": "red",
    "cancelled": "yellow",
    "retried": "yellow",
    "refused": "magenta",
}

# What a string of a column's width begins with: a kind or a state, in its colour.
COLOURED = "<"


class Column(NamedTuple):
    """A column of a table, and how its text is got from a thing."""

    title: str
    text: Callable[[Any], str]
    width: str = ""
    """Where things are printed one by one on a terminal: how to pad it, like ``>8``."""


class Listing(Struct, frozen=True):
    """How things of one kind are listed for people."""

    columns: tuple[Column, ...]
    elastic: int = 1
    """How many columns, at the end, share the width that the others leave."""

    @property
    def titles(self) -> list[str]:
        """The head of the table."""
        return [column.title for column in self.columns]

    def row(self, thing: object) -> list[str]:
        """The cells of a thing."""
        return [column.text(thing) for column in self.columns]

    def line(self, thing: object) -> str:
        """A thing on a line of its own: aligned on a terminal, tab-separated in a pipe."""
        cells = self.row(thing)
        if not is_terminal():
            return "\t".join(cells)
        padded = []
        for column, cell in zip(self.columns, cells, strict=True):
            # Padded before it is coloured: colours have no width.
            room = format(cell, column.width)
            is_coloured = column.width.startswith(COLOURED)
            padded.append(room.replace(cell, coloured(cell), 1) if is_coloured else room)
        return "  ".join(padded).rstrip()


def listing(*columns: Column, elastic: int = 1) -> Listing:
    """How things of one kind are listed, a column each."""
    return Listing(columns, elastic)


def say_list(things: Iterable[object], how: Listing, *, as_json: bool) -> None:
    """Prints a table of the things, or each as JSON."""
    if as_json:
        for thing in things:
            say_json(thing)
    else:
        say_table(how.titles, [how.row(thing) for thing in things], how.elastic)


def say_lines(
    things: Iterable[object], how: Listing, *, as_json: bool, at_once: bool = False
) -> None:
    """Prints things as they come, ``at_once`` for a reader who waits for each."""
    for thing in things:
        if as_json:
            say_json(thing)
        else:
            say(how.line(thing))
        if at_once:
            flush()


def say_titles(how: Listing, *, as_json: bool) -> None:
    """Prints the head of a table whose lines follow one by one; a terminal gets none."""
    if not as_json and not is_terminal():
        say("\t".join(how.titles))


def say_section(title: str, things: Iterable[object], how: Listing) -> None:
    """Prints a table below its title; nothing when it has no rows."""
    rows = [how.row(thing) for thing in things]
    if rows:
        say()
        say(click.style(title, bold=True) if is_terminal() else title)
        say_table(how.titles, rows, how.elastic)


def say_record(thing: T, pairs: Callable[[T], Pairs], *, as_json: bool) -> None:
    """Prints one thing: its names and values, or as JSON."""
    if as_json:
        say_json(thing)
    else:
        say_pairs(pairs(thing))


def plain_pairs(thing: Struct | dict[str, Any]) -> Pairs:
    """Each field's name in words, and its value."""
    fields = json_fields(thing).items()
    return [(name.replace("_", " "), visible(str(value))) for name, value in fields]


def prepare_streams() -> None:
    """Makes output possible in any encoding, and to streams that are closed."""
    # A file of ours must never get the number of a closed stream, and be written to by mistake.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open as a stream does
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - see above
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            # What the encoding lacks is printed as an escape.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def is_terminal(stream: IO[Any] | None = None) -> bool:
    """Whether the stream, by default standard output, is a real terminal."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def say(line: str = "") -> None:
    """Prints one line to standard output."""
    sys.stdout.write(f"{line}\n")


def say_json(value: object) -> None:
    """Prints one value as one line of JSON, in ASCII where the output is not UTF-8.

    Structs in it have the fields of views/fields.py.
    """
    text = json_text(json_fields(value))
    if not (text.isascii() or _is_utf8(sys.stdout.encoding)):
        text = ascii_json(text)
    say(text)


def flush() -> None:
    """Flushes standard output, so that a reader of the pipe sees it now."""
    sys.stdout.flush()


def give_up(stream: IO[Any]) -> None:
    """Redirects a stream to the null device, so that the flush at exit cannot fail again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def note(message: str) -> None:
    """Prints a message for the person, on standard error, apart from the answer."""
    # One write: several processes may share the stream, and lines must stay whole.
    with suppress(OSError, ValueError):
        sys.stderr.write(f"eventq: {short(visible(message), NOTE_CHARACTERS)}\n")
        sys.stderr.flush()


def end_notes() -> None:
    """Gives up a standard error that fails: its exit code would hide the command's."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        give_up(sys.stderr)


def terminal(*, stderr: bool = False) -> Console:
    """A rich console that prints text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console  # noqa: PLC0415 - slow to import, and pipes never need it

    return Console(markup=False, emoji=False, highlight=False, stderr=stderr)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shows a bar on a terminal, on standard error, so that a pipe gets only the answer."""
    if not is_terminal(sys.stderr):
        yield None
        return
    from rich.progress import Progress  # noqa: PLC0415 - slow to import, and pipes never need it

    with Progress(console=terminal(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def say_table(names: list[str], rows: list[list[str]], elastic: int = 1) -> None:
    """Prints rows below their column names: as a table on a terminal, tab-separated in a pipe.

    On a terminal the first column is never cut, the last ``elastic`` ones share what is left, and
    empty columns and a table without rows are left out.
    """
    if not is_terminal():
        for row in [names, *rows]:
            say("\t".join(row))
        return
    if not rows:
        return
    from rich.table import Table  # noqa: PLC0415 - see terminal
    from rich.text import Text  # noqa: PLC0415

    console = terminal()
    used = [i for i in range(len(names)) if any(row[i] not in {"", "-"} for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    widths = _widths(names, rows, used, room=console.width, rigid=len(names) - elastic)
    for index in used:
        overflow: Literal["fold", "ellipsis"] = "fold" if index == 0 else "ellipsis"
        width = widths[index]
        table.add_column(names[index], width=width, overflow=overflow, no_wrap=index > 0)
    for row in rows:
        table.add_row(*[Text(row[i], style=KIND_COLOURS.get(row[i], "")) for i in used])
    console.print(table, no_wrap=True, crop=False)


def _widths(
    names: list[str], rows: list[list[str]], used: list[int], *, room: int, rigid: int
) -> dict[int, int]:
    """The width of each column; the first folds before the others shrink."""
    from rich.cells import cell_len  # noqa: PLC0415 - see terminal

    widths = {i: max(cell_len(row[i]) for row in [names, *rows]) for i in used}
    # Rich separates columns by two spaces.
    room -= 2 * (len(used) - 1) + sum(widths[i] for i in used if 0 < i < rigid)
    wide = [i for i in used if i >= rigid]
    widths[0] = min(widths[0], max(KEY_CELLS, room - ELASTIC_CELLS * len(wide)))
    room -= widths[0]
    for place, index in enumerate(wide):
        widths[index] = max(1, min(widths[index], room // (len(wide) - place)))
        room -= widths[index]
    return widths


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
    """An event's kind or a task's state, in its colour on a terminal; rich heeds NO_COLOR too."""
    colour = None if os.environ.get("NO_COLOR") else KIND_COLOURS.get(kind)
    return click.style(kind, fg=colour) if colour and is_terminal() else kind


def _is_utf8(encoding: str | None) -> bool:
    # Streams that keep text, as tests have them, have no encoding and lose nothing.
    return encoding is None or codecs.lookup(encoding).name == "utf-8"
