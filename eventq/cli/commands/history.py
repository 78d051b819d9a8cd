"""``history``, ``state`` and ``why``: ask a log what happened, and why.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

import click

from eventq.audit import QueueState, Rival, state_at, story, task_at, why
from eventq.cli.ending import end_with_finding
from eventq.cli.output import note, say_lines, say_record, say_section
from eventq.cli.place import Place, note_if_empty, placed, point_of
from eventq.cli.views.audit import (
    RIVALS,
    STEPS,
    leases_at,
    nodes_at,
    state_pairs,
    task_at_pairs,
    tasks_by,
    why_pairs,
)
from eventq.cli.views.fields import ListedTask, TaskAtPoint
from eventq.cli.views.rules import BUCKETS, HELD, PAUSES, SCHEDULES
from eventq.cli.views.tasks import TASKS
from eventq.cli.words import point_option
from eventq.replay.points import END

at_option = point_option(
    "--at",
    text="As it stood then: a position, an instant, -2h for a time ago, -500 for events back.",
    default=END,
)
list_limit_option = click.option(
    "--limit",
    type=click.IntRange(1, 2**31),
    default=10,
    help="At most this many tasks in each list.",
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
    """Show all that happened to one task, oldest first, and why.

    Exit code 1 when an event is not a legal move; it is shown as damage.
    """
    with place.open_log() as log:
        steps = story(log, key, point_of(log, at, "--at"))
    say_lines(steps, STEPS, as_json=place.as_json)
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
@list_limit_option
@placed
def state(*, place: Place, key: str | None, at: str, limit: int) -> None:
    """Show the queue, or one task, as it stood at a point.

    The queue: tasks by state, which would have run next, what is held back, leases, what becomes
    ready and expires, limits, pauses and schedules.
    """
    with place.open_log() as log:
        point = point_of(log, at, "--at")
        if key is None:
            note_if_empty(log)
            _say_state(place, state_at(log, point, limit=limit), limit)
            return
        task = task_at(log, key, point)
    say_record(TaskAtPoint(task, point), task_at_pairs, as_json=place.as_json)


@click.command(
    "why",
    epilog="""\b
Examples:
  eventq why 1042
  eventq why 1042 --at 1058""",
)
@click.argument("key")
@at_option
@list_limit_option
@placed
def why_command(*, place: Place, key: str, at: str, limit: int) -> None:
    """Explain why a task was dispatched, or was not.

    For a task that waits: what blocks it, its rank, and who is ahead. For one that is leased or
    final: which tasks its last lease beat, and on which field; give the position of an earlier
    lease for that one.
    """
    with place.open_log() as log:
        answer = why(log, key, point_of(log, at, "--at"), limit=limit)
    say_record(answer, why_pairs, as_json=place.as_json)
    if place.as_json:
        return
    rank = answer.rank if answer.grant is None else answer.grant.rank
    if rank is not None:
        say_section(_cut("ahead of it", rank.ahead, rank.ahead_count), rank.ahead, RIVALS)
    say_section(
        _cut("overtook it", answer.overtaken, answer.overtaken_count), answer.overtaken, RIVALS
    )
    if answer.grant is not None:
        beaten = answer.grant.rank
        say_section(_cut("beaten by it", beaten.behind, beaten.behind_count), beaten.behind, RIVALS)
    say_section("nodes", answer.loads, nodes_at(answer.at))


def _cut(title: str, shown: list[Rival], count: int) -> str:
    """The title of a list, and how many of how many it shows where that is not all."""
    if len(shown) == count:
        return title
    return f"{title} (the first {len(shown)} of {count:,}; see --limit)"


def _say_state(place: Place, found: QueueState, limit: int) -> None:
    say_record(found, state_pairs, as_json=place.as_json)
    if place.as_json:
        return
    say_section("next", map(ListedTask, found.ready), TASKS)
    say_section("held back", found.held.items(), HELD)
    say_section("leases", found.leases, leases_at(found.at))
    say_section("next to become ready", found.waiting, tasks_by("scheduled_at_us", found.at))
    say_section("next to expire", found.expiring, tasks_by("expires_at_us", found.at))
    say_section("limits", found.limits, BUCKETS)
    say_section("pauses", found.pauses, PAUSES)
    say_section("schedules", found.schedules, SCHEDULES)
    if found.cut:
        names = {"ready": "next", "waiting": "next to become ready", "expiring": "next to expire"}
        cut = ", ".join(names.get(name, name) for name in found.cut)
        note(f"there are more than {limit} in: {cut}; see --limit")
