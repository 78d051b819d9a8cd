"""``ls``, ``show``, ``stats`` and ``tail``: looking at a queue.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from typing import Any

import click

from eventq import Event, TaskNotFoundError
from eventq.cli.options import STATES, Place, joined_tags, placed, tags_option
from eventq.cli.output import (
    coloured,
    flush,
    is_terminal,
    note,
    say,
    say_json,
    say_pairs,
    say_table,
)
from eventq.cli.text import visible
from eventq.cli.views.tasks import (
    TASK_COLUMNS,
    event_form,
    event_row,
    stats_form,
    task_form,
    task_pairs,
    task_row,
)


@click.command(
    epilog="""\b
Examples:
  eventq ls
  eventq ls --state expired --state cancelled --tag kind=video
  eventq ls --state all --limit 0 --json"""
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([*STATES, "all"]),
    help="Only these; may come several times. [default: all that are open]",
)
@tags_option("Only with this tag.")
@click.option(
    "--limit", type=click.IntRange(0), default=100, show_default=True, help="0 for no limit."
)
@placed
def ls(
    *, place: Place, states: tuple[str, ...], tags: tuple[tuple[str, Any], ...], limit: int
) -> None:
    """List tasks in the order in which they will run.

    Final tasks come last, newest first; finding them reads the whole log.
    """
    wanted = list(STATES) if "all" in states else list(states)
    with place.open(create=False) as queue:
        # One more than wanted tells whether there are more.
        tasks = queue.tasks(
            state=wanted or None,
            tags=joined_tags(tags, "tag") or None,
            limit=limit + 1 if limit else None,
        )
    more = bool(limit) and len(tasks) > limit
    tasks = tasks[:limit] if more else tasks
    if place.as_json:
        for task in tasks:
            say_json(task_form(task))
    elif tasks or not is_terminal():
        say_table(TASK_COLUMNS, [task_row(task) for task in tasks], elastic=2)
    else:
        note("no such tasks")
    if more:
        note(f"there are more than {limit}; see --limit")


@click.command(epilog="Example: eventq show 1042")
@click.argument("key")
@placed
def show(*, place: Place, key: str) -> None:
    """Show one task: a key of yours, or its number."""
    with place.open(create=False) as queue:
        task = queue.get(key)
    if task is None:
        raise TaskNotFoundError(key)
    if place.as_json:
        say_json(task_form(task))
    else:
        say_pairs(task_pairs(task))


@click.command(epilog="Example: eventq stats --json")
@placed
def stats(*, place: Place) -> None:
    """Count tasks by state, and what happened so far."""
    with place.open(create=False) as queue:
        numbers = queue.stats()
    if place.as_json:
        say_json(stats_form(numbers))
        return
    pairs = [(state, str(getattr(numbers, state))) for state in STATES]
    pairs += [
        ("total", str(numbers.total)),
        ("attempts", str(numbers.attempts)),
        ("failures", str(numbers.failures)),
        ("refused", str(numbers.refused)),
        ("events", str(numbers.seq)),
        ("nodes", " ".join(visible(node) for node in numbers.nodes) or "-"),
    ]
    say_pairs(pairs)


@click.command(
    epilog="""\b
Examples:
  eventq tail -f
  eventq tail --after 0 --json > events.jsonl"""
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--after", type=click.IntRange(0), metavar="SEQ", help="Begin behind this position, 0 for all."
)
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=10, show_default=True, help="Without --after."
)
@placed
def tail(*, place: Place, follow: bool, after: int | None, lines: int) -> None:
    """Show the last events of the log, of all tasks and nodes."""
    with place.open(create=False) as queue:
        if after is None:
            after = _position_before(place, lines)
        for event in queue.events(after=after, follow=follow):
            if place.as_json:
                say_json(event_form(event))
            else:
                say_event(event)
            if follow:
                flush()


@click.command(
    epilog="""Example: eventq sql "SELECT kind, count(*) AS n FROM history GROUP BY kind\""""
)
@click.argument("query")
@placed
def sql(*, place: Place, query: str) -> None:
    """Ask the log one read-only SQL statement; SQLite only."""
    with place.open(create=False) as queue:
        found = queue.sql(query)
    if place.as_json:
        for row in found.rows:
            say_json(dict(zip(found.columns, map(_json_value, row), strict=True)))
        return
    cells = [["-" if cell is None else visible(str(cell)) for cell in row] for row in found.rows]
    say_table([visible(name) for name in found.columns], cells, elastic=1)


COMMANDS: list[click.Command] = [ls, show, stats, tail, sql]


def say_event(event: Event) -> None:
    """Prints an event on one line: aligned on a terminal, tab-separated in a pipe."""
    row = event_row(event)
    if not is_terminal():
        say("\t".join(row))
        return
    seq, at, task, kind, what = row
    # Padded before it is coloured: colours have no width.
    kind = coloured(kind) + " " * (9 - len(kind))
    say(f"{seq:>8}  {at}  {task:>7}  {kind}  {what}".rstrip())


def _json_value(cell: object) -> object:
    """The cell as JSON has it: a BLOB, as seals are, in hexadecimal."""
    return cell.hex() if isinstance(cell, bytes) else cell


def _position_before(place: Place, lines: int) -> int:
    with place.open_log() as log:
        return max(log.start().seq, log.head().seq - lines)
