"""Printing: tables and bars on a terminal, uncoloured tab-separated lines in a pipe.

Never prints text from a log as it is: callers pass text that text.py has made safe.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain, islice
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import click
from msgspec import Struct

from eventq.cli.text import json_text, short, time_text, visible
from eventq.cli.views.fields import json_fields

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
Pairs = list[tuple[str, Any]]
"""Names and values of one thing; `cell` shows each value."""

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

Getter = str | Callable[[Any], object]
"""The path of an attribute, or a function: how a column gets its value from a thing."""


class Listing:
    """How things of one kind are listed for people.

    A column is its title, its getter and, where things are printed one by one on a terminal, how
    to pad it, like ``>8``. The last ``elastic`` columns share the width that the others leave.
    """

    def __init__(
        self, *columns: tuple[str, Getter] | tuple[str, Getter, str], elastic: int = 1
    ) -> None:
        self.titles = [column[0] for column in columns]
        self.elastic = elastic
        self._getters = [attrgetter(get) if isinstance(get, str) else get for _, get, *_ in columns]
        self._widths = ["".join(column[2:]) for column in columns]

    def row(self, thing: object) -> list[str]:
        """The cells of a thing."""
        return [cell(get(thing)) for get in self._getters]

    def line(self, thing: object) -> str:
        """A thing on a line of its own: aligned on a terminal, tab-separated in a pipe.

        On a terminal what does not fit stands on further lines, below its column.
        """
        cells = self.row(thing)
        return self._aligned(cells, coloured=True) if is_terminal() else "\t".join(cells)

    @property
    def head(self) -> str:
        """The titles, as `line` aligns what stands below them."""
        if not is_terminal():
            return "\t".join(self.titles)
        return click.style(self._aligned(self.titles, coloured=False), bold=True)

    def _aligned(self, cells: list[str], *, coloured: bool) -> str:
        padded = [format(text, width) for text, width in zip(cells, self._widths, strict=True)]
        begin = sum(len(each) + 2 for each in padded[:-1])
        room = shutil.get_terminal_size().columns - begin
        if room >= ELASTIC_CELLS and len(padded[-1]) > room:
            rest = textwrap.wrap(cells[-1], room, break_on_hyphens=False)
            padded[-1] = ("\n" + " " * begin).join(rest)
        for place, (width, text) in enumerate(zip(self._widths, cells, strict=True)):
            # Padded before it is coloured: colours have no width.
            if coloured and width.startswith(COLOURED):
                padded[place] = padded[place].replace(text, _coloured(text), 1)
        return "  ".join(padded).rstrip()


def cell(value: object) -> str:
    """A value on one line, safe to print: an instant in UTC, a hyphen for none."""
    if value is None or isinstance(value, datetime):
        return time_text(value)
    return value.hex() if isinstance(value, bytes) else visible(str(value))


def say_list(things: Iterable[object], how: Listing, *, as_json: bool) -> None:
    """Prints a table of the things, or each as JSON."""
    if as_json:
        for thing in things:
            say_json(thing)
    else:
        say_table(how.titles, [how.row(thing) for thing in things], how.elastic)


def say_lines(
    things: Iterable[object],
    how: Listing,
    *,
    as_json: bool,
    at_once: bool = False,
    titled: bool = True,
) -> None:
    """Prints things as they come, ``at_once`` for a reader who waits for each.

    ``titled``: the head of the table comes before them, once the first is there.
    """
    things = iter(things)
    first = list(islice(things, 1))
    if titled and not as_json and (first or not is_terminal()):
        say(how.head)
    for thing in chain(first, things):
        if as_json:
            say_json(thing)
        else:
            say(how.line(thing))
        if at_once:
            flush()


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
    return [(name.replace("_", " "), str(value)) for name, value in json_fields(thing).items()]


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
    encoding = sys.stdout.encoding
    # Streams that keep text, as tests have them, have no encoding and lose nothing.
    is_utf8 = encoding is None or codecs.lookup(encoding).name == "utf-8"
    say(json_text(json_fields(value), ascii_only=not is_utf8))


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


def say_pairs(pairs: Pairs) -> None:
    """Prints names and values: aligned on a terminal, tab-separated in a pipe."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        if is_terminal():
            say(f"{click.style(name.ljust(width), bold=True)}  {cell(value)}")
        else:
            say(f"{name}\t{cell(value)}")


def _coloured(kind: str) -> str:
    """An event's kind or a task's state, in its colour; rich heeds NO_COLOR too."""
    colour = None if os.environ.get("NO_COLOR") else KIND_COLOURS.get(kind)
    return click.style(kind, fg=colour) if colour else kind
