"""``diff``: what changed between two points, of one log or of two.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain, islice

import click

from eventq.audit.diff import LogDifference, diff_logs, diff_points, ended_otherwise, passed_tasks
from eventq.cli.ending import end_with_finding
from eventq.cli.output import (
    is_terminal,
    note,
    say,
    say_json,
    say_lines,
    say_list,
    say_pairs,
    say_table,
)
from eventq.cli.place import Place, placed, point_of
from eventq.cli.views.change import TaskChange, changed_task, passed_task
from eventq.cli.views.compare import CHANGES, COUNT_COLUMNS, count_rows, point_pairs
from eventq.cli.views.snapshot import say_rules
from eventq.cli.words import PointCommand
from eventq.eventlog import EventLog


def _refuse(_context: click.Context, _option: click.Parameter, value: str | None) -> None:
    """Other commands take periods as options."""
    if value is not None:
        raise click.UsageError("the two points are no options here: eventq diff 1041 end")


@click.command(
    cls=PointCommand,
    epilog="""\b
Examples:
  eventq diff -2h end
  eventq diff 1041 2030-01-31T12:00:00Z --all --json
  eventq diff 1041 end --other-url sqlite:///fork.db""",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--from", "--to", hidden=True, is_eager=True, callback=_refuse, expose_value=False)
@click.option("--other-url", metavar="URL", help="B is a point of the log there.")
@click.option("--other-namespace", metavar="NAME", help="B is a point of that queue.")
@click.option("--all", "everything", is_flag=True, help="Also tasks that came and went in between.")
@click.option("--limit", type=click.IntRange(0, 2**31), default=100, help="0 for no limit.")
@placed
def diff(
    *,
    place: Place,
    a: str,
    b: str,
    other_url: str | None,
    other_namespace: str | None,
    everything: bool,
    limit: int,
) -> None:
    """Show what changed from point A to point B: each open task, and the numbers.

    With --other-url or --other-namespace, B is a point of another log; tasks are the same if
    their keys are. Exit code 0 when nothing differs, 1 when something does.

    A and B are positions like 1041, instants like 2030-01-31T12:00:00Z, times ago like -2h,
    numbers of events before the end like -500, or end.
    """
    there = Place(
        place.url if other_url is None else other_url,
        place.namespace if other_namespace is None else other_namespace,
    )
    is_other = other_url is not None or other_namespace is not None
    with place.open_log() as log, there.open_log() if is_other else nullcontext(log) as other:
        before = point_of(log, a, "A")
        after = point_of(other, b, "B")
        if is_other:
            found = diff_logs(log, before, other, after)
        else:
            found = diff_points(log, before, after)
        if place.as_json:
            say_json(found)
        else:
            _say_numbers(found)
        changes = _changes(log, other, found, everything=everything)
        if place.as_json or not found.is_empty:
            _say_changes(changes, limit, as_json=place.as_json)
    if not found.is_empty:
        end_with_finding()


def _changes(
    log: EventLog, other: EventLog, found: LogDifference, *, everything: bool
) -> Iterator[TaskChange]:
    """The tasks that differ, the open ones first, read as they are asked for."""
    for task in found.open.tasks:
        yield changed_task(task, found.elsewhere.get(task.key))
    if other is not log:
        for task in ended_otherwise(log, other, found, one_sided=everything):
            yield changed_task(task)
    elif everything:
        for ended in passed_tasks(log, found.before, found.after):
            yield passed_task(ended)


def _say_numbers(found: LogDifference) -> None:
    if found.is_empty:
        say("nothing differs")
        return
    say_pairs(point_pairs(found))
    passed = [f"{count} {state}" for state, count in found.passed.items() if count]
    if passed:
        say_pairs([("passed", ", ".join(passed))])
    if rows := count_rows(found):
        say()
        say_table(COUNT_COLUMNS, rows)
    say_rules(found.open)


def _say_changes(changes: Iterator[TaskChange], limit: int, *, as_json: bool) -> None:
    """Prints at most ``limit`` tasks (0: all); all, in a pipe, line by line as they are found."""
    shown = islice(changes, limit) if limit else changes
    first = next(shown, None)
    if first is None:
        return
    shown = chain([first], shown)
    if not as_json:
        say()
    if as_json or (not limit and not is_terminal()):
        say_lines(shown, CHANGES, as_json=as_json)
    else:
        say_list(shown, CHANGES, as_json=False)
    if limit and next(changes, None) is not None:
        note(f"there are more than {limit} tasks; see --limit")
