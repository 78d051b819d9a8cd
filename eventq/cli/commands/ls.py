"""``ls``, ``show``, ``stats``, ``tail`` and ``sql``: look at a queue.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from eventq import Event, Queue, Task
from eventq.audit.lookup import named_events
from eventq.cli.output import (
    cell,
    flush,
    is_terminal,
    note,
    say_json,
    say_lines,
    say_list,
    say_record,
    say_table,
)
from eventq.cli.place import Place, catalog_option, existing_task, note_if_empty, placed
from eventq.cli.text import visible
from eventq.cli.views.fields import ListedTask
from eventq.cli.views.tasks import ATTEMPTS, EVENTS, STORY, TASKS, stats_pairs, task_pairs
from eventq.cli.words import STATES, limit_option, state_option, tags_option
from eventq.core.projection import END_KINDS
from eventq.core.task import FINAL


@click.command(
    epilog="""\b
Examples:
  eventq ls
  eventq ls --state expired --state cancelled --tag kind=video
  eventq ls --state all --limit none --json"""
)
@state_option([*STATES, "all"], "Only these; may come several times. [default: all that are open]")
@click.option("--name", metavar="NAME", help="Only with this name, or with one like 'mail.*'.")
@click.option("--lane", metavar="LANE", help="Only in this lane.")
@click.option("--schedule", metavar="NAME", help="Only those that this schedule made.")
@tags_option("Only with this tag.")
@click.option(
    "--limit",
    type=limit_option,
    default="100",
    metavar="N",
    help="At most this many; none for no limit.",
)
@catalog_option
@placed
def ls(
    *,
    place: Place,
    states: tuple[str, ...],
    name: str | None,
    lane: str | None,
    schedule: str | None,
    tags: dict[str, Any],
    limit: int,
) -> None:
    """List tasks in the order in which they will run.

    Final tasks come last, newest first.
    """
    wanted = STATES if "all" in states else list(states)
    with place.open(create=False) as queue:
        # One more than wanted shows whether there are more.
        tasks = queue.tasks(
            state=wanted or None,
            name=name,
            lane=lane,
            schedule=schedule,
            tags=tags or None,
            limit=limit + 1,
        )
        waits_for = queue.waits_for(tasks)
        listed = [
            ListedTask(task, waits_for.get(task.number), tasks.source) for task in tasks[:limit]
        ]
        say_list(listed, TASKS, as_json=place.as_json)
        if not tasks:
            if is_terminal() and not place.as_json:
                note("no such tasks")
            note_if_empty(queue.log)
        unhandled = queue.stats().unhandled
    if len(tasks) > limit:
        note(f"there are more than {limit}; see --limit")
    if unhandled:
        note(f"no running node handles {', '.join(unhandled)}")


@click.command(
    epilog="""\b
Examples:
  eventq show 1042
  eventq show -f 1042
  eventq show 1042 --attempts --json"""
)
@click.argument("key")
@click.option(
    "--attempts", "lists_attempts", is_flag=True, help="List its attempts instead, oldest first."
)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Go on with what happens to it and what it tells, until its end.",
)
@placed
def show(*, place: Place, key: str, lists_attempts: bool, follow: bool) -> None:
    """Show one task: a key of yours, or its number."""
    with place.open(create=False) as queue:
        if lists_attempts:
            say_list(queue.attempts(key), ATTEMPTS, as_json=place.as_json)
            return
        after = queue.log.head().seq
        task = existing_task(queue, key)
        say_record(task, task_pairs, as_json=place.as_json)
        if follow and task.state not in FINAL:
            events = _until_its_end(queue, task, after)
            say_lines(events, STORY, as_json=place.as_json, at_once=True, titled=False)


def _until_its_end(queue: Queue, task: Task, after: int) -> Iterator[Event]:
    """What happens to the task behind a position, up to the event that ends it."""
    flush()
    for event in queue.events(after=after, follow=True):
        if event.task == task.number:
            yield event
            if event.kind in END_KINDS:
                return


@click.command(epilog="Example: eventq stats --json")
@placed
def stats(*, place: Place) -> None:
    """Count tasks by state, and what happened so far."""
    with place.open(create=False) as queue:
        numbers = queue.stats()
        note_if_empty(queue.log)
    say_record(numbers, stats_pairs, as_json=place.as_json)


@click.command(
    epilog="""\b
Examples:
  eventq tail -f
  eventq tail --after 0 --json > events.jsonl"""
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--after", type=click.IntRange(0), metavar="SEQ", help="Begin after this position, 0 for all."
)
@click.option("-n", "--lines", type=click.IntRange(0), default=10, help="Without --after.")
@placed
def tail(*, place: Place, follow: bool, after: int | None, lines: int) -> None:
    """Show the last events of the log, of all tasks and nodes."""
    with place.open(create=False) as queue:
        if after is None:
            note_if_empty(queue.log)
            after = max(queue.log.start().seq, queue.log.head().seq - lines)
        events = queue.events(after=after, follow=follow)
        shown = events if place.as_json else named_events(queue.log, events)
        say_lines(shown, EVENTS, as_json=place.as_json, at_once=follow)


@click.command(
    epilog="""Example: eventq sql "SELECT kind, count(*) AS n FROM history GROUP BY kind\""""
)
@click.argument("query")
@placed
def sql(*, place: Place, query: str) -> None:
    """Ask the log one read-only SQL statement; SQLite only."""
    with place.open(create=False) as queue:
        found = queue.sql(query)
    if not place.as_json:
        rows = [[cell(value) for value in _shown(row)] for row in found.rows]
        say_table([visible(name) for name in found.columns], rows)
        return
    for row in found.rows:
        say_json(dict(zip(found.columns, _shown(row), strict=True)))


def _shown(row: tuple[object, ...]) -> list[object]:
    """The values of a row; a BLOB, as seals are, stands in hexadecimal, since JSON has no bytes."""
    return [value.hex() if isinstance(value, bytes) else value for value in row]
