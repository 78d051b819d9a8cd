"""``diff`` and ``bisect``: what changed between two points, and which event changed it.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TypeVar

import click

from eventq.audit.bisect import Found, NotFound, bisect
from eventq.audit.diff import (
    LogDifference,
    diff_logs,
    diff_points,
    ended_otherwise,
    passed_tasks,
)
from eventq.audit.expression.parser import parse_expression
from eventq.cli.options import Place, PointCommand, end_with_finding, misuse, placed, point_of
from eventq.cli.output import (
    is_terminal,
    note,
    say,
    say_json,
    say_lines,
    say_list,
    say_pairs,
    say_table,
    say_titles,
)
from eventq.cli.text import time_text, visible
from eventq.cli.views.change import TaskChange, changed_task, passed_task
from eventq.cli.views.compare import (
    CHANGES,
    COUNT_COLUMNS,
    count_rows,
    found_rows,
    point_pairs,
    task_changes,
)
from eventq.cli.views.tasks import event_text
from eventq.eventlog import EventLog
from eventq.replay.points import END

T = TypeVar("T")


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
@click.option("--other-url", metavar="URL", help="B is a point of the log there.")
@click.option("--other-namespace", metavar="NAME", help="B is a point of that queue.")
@click.option("--all", "everything", is_flag=True, help="Also tasks that came and went in between.")
@click.option(
    "--limit", type=click.IntRange(0), default=100, show_default=True, help="0 for no limit."
)
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
    with place.open_log() as log, _other_log(place, log, other_url, other_namespace) as other:
        before = point_of(log, a, "A")
        after = point_of(other, b, "B")
        if other is log:
            found = diff_points(log, before, after)
        else:
            found = diff_logs(log, before, other, after)
        changes = _changes(log, other, found, everything=everything)
        _say_difference(place, found, changes, limit)
    if not found.is_empty:
        end_with_finding()


@click.command(
    "bisect",
    epilog="""\b
Examples:
  eventq bisect --expr 'refused > 0'
  eventq bisect --expr 'task("thumb:a").state == "expired"' --good -2h --bad end
  eventq bisect --expr 'ready > 1000 and leases("web1-4711-a1b2c3d4") == 0'""",
)
@click.option(
    "--expr",
    "text",
    required=True,
    metavar="EXPR",
    help="The condition, in quotes.",
)
@click.option(
    "--good", default="0", show_default=True, metavar="POINT", help="Where it does not hold yet."
)
@click.option(
    "--bad", default=END, show_default=True, metavar="POINT", help="Look at events up to here."
)
@placed
def bisect_command(*, place: Place, text: str, good: str, bad: str) -> None:
    """Find the first event after which a condition holds.

    It looks at each event in between, so the first is found even if the condition comes and
    goes. Exit code 1 when it holds after none, 2 when it holds at --good already.

    A condition compares, with == < > in and or not: tasks by state (scheduled, ready, leased,
    completed, expired, cancelled, open, total), attempts, failures, refused, nodes, seq, at,
    count("KIND") of events, leases("NODE"), and a task's fields, like task("KEY").state, priority,
    attempt, worker, last_error_type, final_reason, result, tags.NAME.
    """
    condition = parse_expression(text, "--expr")
    with place.open_log() as log:
        begin = point_of(log, good, "--good")
        end = point_of(log, bad, "--bad")
        if end.seq < begin.seq:
            misuse(f"--bad, position {end.seq}, lies before --good, position {begin.seq}")
        found = bisect(log, condition, good=begin, bad=end)
    if isinstance(found, NotFound):
        _say_nothing_found(found)
        end_with_finding()
    elif place.as_json:
        say_json(found)
    else:
        _say_found(found)


@contextmanager
def _other_log(
    place: Place, log: EventLog, url: str | None, namespace: str | None
) -> Iterator[EventLog]:
    """The log of the second point: the first one's, unless another is named."""
    if url is None and namespace is None:
        yield log
        return
    there = Place(
        place.found_url if url is None else url,
        place.found_namespace if namespace is None else namespace,
    )
    with there.open_log() as other:
        yield other


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


def _say_difference(
    place: Place, found: LogDifference, changes: Iterator[TaskChange], limit: int
) -> None:
    if place.as_json:
        say_json(found)
    elif found.is_empty:
        say("nothing differs")
        return
    else:
        say_pairs(point_pairs(found))
        passed = [f"{count} {state}" for state, count in found.passed.items() if count]
        if passed:
            say_pairs([("passed", ", ".join(passed))])
        rows = count_rows(found)
        if rows:
            say()
            say_table(COUNT_COLUMNS, rows)
    shown, more = _cut(changes, limit)
    if place.as_json:
        say_lines(shown, CHANGES, as_json=True)
    else:
        _say_changes(shown, whole=not limit)
    if more:
        note(f"there are more than {limit} tasks; see --limit")


def _say_changes(changes: Iterator[TaskChange], *, whole: bool) -> None:
    """The tasks as a table; without a limit, in a pipe, line by line as they are found."""
    first = next(changes, None)
    if first is None:
        return
    say()
    shown = chain([first], changes)
    if whole and not is_terminal():
        say_titles(CHANGES, as_json=False)
        say_lines(shown, CHANGES, as_json=False)
    else:
        say_list(shown, CHANGES, as_json=False)


def _cut(lines: Iterator[T], limit: int) -> tuple[Iterator[T], bool]:
    """At most ``limit`` of them (0: all), and whether there are more."""
    if not limit:
        return lines, False
    first = list(islice(lines, limit))
    return iter(first), next(lines, None) is not None


def _say_found(found: Found) -> None:
    event = found.event
    task = found.task_after
    key = "-" if task is None else visible(task.key)
    pairs = [
        ("position", str(event.seq)),
        ("at", time_text(event.at)),
        ("task", key),
        ("kind", visible(event.kind)),
        ("what", event_text(event)),
    ]
    if task is not None and found.task_before is not None:
        changes = task_changes(found.task_before, task)
        pairs += [("changed" if not place else "", text) for place, text in enumerate(changes)]
    say_pairs(pairs)
    say()
    say_table(COUNT_COLUMNS, found_rows(found.before, found.after))


def _say_nothing_found(found: NotFound) -> None:
    if found.by_time:
        note(f"it holds after none of {found.events} events, but at --bad: time alone made it hold")
    else:
        note(f"it holds after none of {found.events} events")
