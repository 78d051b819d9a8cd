"""``history``, ``state`` and ``why``: asking a log what happened, and for what reason.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

import click

from eventq.audit import QueueState, Rank, Step, state_at, story, task_at, why
from eventq.cli.options import Place, end_with_finding, placed, point_of
from eventq.cli.output import coloured, is_terminal, say, say_json, say_pairs, say_table
from eventq.cli.text import iso_text, time_text
from eventq.cli.views.audit import (
    LEASE_COLUMNS,
    LOAD_COLUMNS,
    RIVAL_COLUMNS,
    SCHEDULE_COLUMNS,
    STEP_COLUMNS,
    held_row,
    instant_row,
    load_row,
    rival_row,
    state_form,
    state_pairs,
    step_form,
    step_row,
    why_form,
    why_pairs,
)
from eventq.cli.views.tasks import TASK_COLUMNS, task_form, task_pairs, task_row
from eventq.replay.points import END

at_option = click.option(
    "--at",
    default=END,
    show_default=True,
    metavar="POINT",
    help="As it stood then: a position, an instant, -2h for a time ago, -500 for events back.",
)
limit_option = click.option(
    "--limit",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Name at most so many tasks in each list.",
)


@click.command(
    epilog="""\b
Examples:
  eventq history 1042
  eventq history 1042 --at -2h --json"""
)
@click.argument("key")
@at_option
@placed
def history(*, place: Place, key: str, at: str) -> None:
    """Tell all that happened to one task, oldest first, and why.

    Exit code 1 when an event is no legal move; it is shown as damage.
    """
    with place.open_log() as log:
        steps = story(log, key, point_of(log, at, "--at"))
    if not place.as_json and not is_terminal():
        say("\t".join(STEP_COLUMNS))
    for step in steps:
        if place.as_json:
            say_json(step_form(step))
        else:
            _say_step(step)
    if any(step.is_damage for step in steps):
        end_with_finding()


@click.command(
    epilog="""\b
Examples:
  eventq state --at 2026-11-23T12:00:00Z
  eventq state 1042 --at -2h
  eventq state --at 1041 --json"""
)
@click.argument("key", required=False)
@at_option
@limit_option
@placed
def state(*, place: Place, key: str | None, at: str, limit: int) -> None:
    """Show the queue, or one task, as it stood at a point.

    The queue: tasks by state, which would have run next, leases, and the schedule.
    """
    with place.open_log() as log:
        point = point_of(log, at, "--at")
        if key is None:
            _say_state(place, state_at(log, point, limit=limit))
            return
        task = task_at(log, key, point)
    if place.as_json:
        say_json({**task_form(task), "seq": point.seq, "at": iso_text(point.at)})
    else:
        say_pairs(
            [("at", time_text(point.at)), ("position", str(point.seq)), *task_pairs(task)],
        )


@click.command(
    "why",
    epilog="""\b
Examples:
  eventq why 1042
  eventq why 1042 --at 1058""",
)
@click.argument("key")
@at_option
@limit_option
@placed
def why_command(*, place: Place, key: str, at: str, limit: int) -> None:
    """Say why a task was dispatched, or was not.

    For a task that waits: what blocks it, its rank, and who is ahead. For one that is leased or
    final: which tasks its last lease beat, and on which field; give the position of an earlier
    lease for that one.
    """
    with place.open_log() as log:
        answer = why(log, key, point_of(log, at, "--at"), limit=limit)
    if place.as_json:
        say_json(why_form(answer))
        return
    say_pairs(why_pairs(answer))
    rank = answer.rank if answer.grant is None else answer.grant.rank
    if rank is not None:
        _say_rivals(rank, beaten=answer.grant is not None)
    loads = [load_row(load, answer.at) for load in answer.loads]
    _say_section("nodes", LOAD_COLUMNS, loads, elastic=0)


COMMANDS: list[click.Command] = [history, state, why_command]


def _say_step(step: Step) -> None:
    row = step_row(step)
    if not is_terminal():
        say("\t".join(row))
        return
    seq, at, since, kind, after, what = row
    # Padded before they are coloured: colours have no width.
    kind = coloured(kind) + " " * (9 - len(kind))
    after = coloured(after) + " " * (9 - len(after))
    say(f"{seq:>8}  {at}  {since:>8}  {kind}  {after}  {what}")


def _say_state(place: Place, found: QueueState) -> None:
    if place.as_json:
        say_json(state_form(found))
        return
    say_pairs(state_pairs(found))
    now = found.at
    _say_section("next", TASK_COLUMNS, [task_row(task) for task in found.ready], elastic=2)
    _say_section("leases", LEASE_COLUMNS, [held_row(held, now) for held in found.leases], elastic=1)
    becoming = [instant_row(task, task.scheduled_at_us, now) for task in found.waiting]
    _say_section("next to become ready", SCHEDULE_COLUMNS, becoming, elastic=1)
    expiring = [instant_row(task, task.expires_at_us or 0, now) for task in found.expiring]
    _say_section("next to expire", SCHEDULE_COLUMNS, expiring, elastic=1)


def _say_rivals(rank: Rank, *, beaten: bool) -> None:
    ahead = [rival_row(rival) for rival in rank.ahead]
    _say_section("ahead of it", RIVAL_COLUMNS, ahead, elastic=1)
    if beaten:
        behind = [rival_row(rival) for rival in rank.behind]
        _say_section("beaten by it", RIVAL_COLUMNS, behind, elastic=1)


def _say_section(title: str, names: list[str], rows: list[list[str]], *, elastic: int) -> None:
    """A table below its title; nothing when it has no rows."""
    if rows:
        say()
        say(click.style(title, bold=True) if is_terminal() else title)
        say_table(names, rows, elastic=elastic)
