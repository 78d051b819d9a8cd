"""``schedules``: which there are, what comes next; and what a person may do to one.

Only the library decides what is allowed.
"""

from __future__ import annotations

from typing import Any

import click

from eventq import Handlers, Queue
from eventq.cli.ending import misuse
from eventq.cli.instants import instant_option
from eventq.cli.output import say, say_json, say_list, say_record
from eventq.cli.person import told
from eventq.cli.place import Place, placed, say_done
from eventq.cli.target import load_work
from eventq.cli.text import time_text, visible
from eventq.cli.views.rules import SCHEDULES, last_text, next_text
from eventq.core.durations import show_duration
from eventq.schedules.managing import ScheduleState


def _pairs(state: ScheduleState) -> list[tuple[str, str]]:
    within = "-" if state.within_us is None else show_duration(state.within_us)
    said = " ".join(each for each in (state.by and f"by {state.by}", state.reason) if each)
    return [
        ("schedule", visible(state.schedule)),
        ("comes", visible(state.spec)),
        ("cron", visible(state.cron or "-")),
        ("handler", visible(state.name or "-")),
        ("next", next_text(state)),
        ("last", last_text(state)),
        ("last task", "-" if state.task is None else str(state.task)),
        ("catch up", state.catch_up),
        ("within", within),
        ("overlap", state.overlap),
        ("put off by", show_duration(state.shift_us)),
        ("changed", visible(said or "-")),
        ("position", str(state.seq)),
    ]


@click.group(
    name="schedules",
    epilog="""\b
Examples:
  eventq schedules
  eventq schedules pause check_mail --by ada --reason 'provider down'
  eventq schedules backfill check_mail --since 2027-03-01T00:00Z --until 2027-03-02T00:00Z""",
    invoke_without_command=True,
)
@placed
def group(*, place: Place) -> None:
    """List the schedules: when each comes, what comes next, and what became of the last due."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    with place.open(create=False) as queue:
        found = queue.schedules.states()
    say_list(found, SCHEDULES, as_json=place.as_json)


@group.command(epilog="Example: eventq schedules show check_mail")
@click.argument("name")
@placed
def show(*, place: Place, name: str) -> None:
    """Show one schedule with its rules."""
    with place.open(create=False) as queue:
        _say_state(place, queue, name)


@group.command(name="next", epilog="Example: eventq schedules next check_mail -n 10")
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=5, help="How many.")
@placed
def next_command(*, place: Place, name: str, count: int) -> None:
    """Show when a schedule comes next."""
    with place.open(create=False) as queue:
        dues = queue.schedules[name].next(count)
    for due in dues:
        if place.as_json:
            say_json({"schedule": name, "due": due})
        else:
            say(time_text(due))


@group.command(epilog="Example: eventq schedules pause check_mail --reason 'provider down'")
@click.argument("name")
@told
@placed
def pause(*, place: Place, name: str, by: str, reason: str) -> None:
    """Have the dues of a schedule make nothing, until it is resumed."""
    with place.open(create=False) as queue:
        queue.schedules[name].pause(by=by, reason=reason, via="cli")
        _say_state(place, queue, name)


@group.command(epilog="Example: eventq schedules resume check_mail")
@click.argument("name")
@told
@placed
def resume(*, place: Place, name: str, by: str, reason: str) -> None:
    """Have a paused schedule go on; what came meanwhile makes nothing."""
    with place.open(create=False) as queue:
        queue.schedules[name].resume(by=by, reason=reason, via="cli")
        _say_state(place, queue, name)


@group.command(epilog="Example: eventq schedules trigger check_mail --by ada")
@click.argument("name")
@told
@placed
def trigger(*, place: Place, name: str, by: str, reason: str) -> None:
    """Make one more task of a schedule now; its dues stay where they are."""
    with place.open(create=False) as queue:
        task = queue.schedules[name].trigger(by=by, reason=reason, via="cli")
    if place.as_json:
        say_json({"schedule": name, "task": task})
    else:
        say("a task with its unique value is open" if task is None else visible(task.key))


@group.command(
    epilog="""\b
Examples:
  eventq schedules update check_mail --spec '*/5 * * * *'
  eventq schedules update refresh --every 1m --reason 'too often'"""
)
@click.argument("name")
@click.option("--spec", metavar="CRON", help="Another cron expression.")
@click.option("--tz", metavar="ZONE", help="By the clock of another time zone.")
@click.option("--every", metavar="DURATION", help="An interval instead.")
@click.option("--catch-up", metavar="WHAT", help="none, last, all, or a number of dues.")
@click.option("--within", metavar="DURATION", help="Make none that is later than this.")
@click.option("--overlap", metavar="HOW", help="skip, allow or cancel.")
@told
@placed
def update(*, place: Place, name: str, by: str, reason: str, **changes: Any) -> None:  # noqa: ANN401
    """Change a schedule by hand, until its definition in code changes."""
    if all(value is None for value in changes.values()):
        misuse("say what to change: --spec, --tz, --every, --catch-up, --within or --overlap")
    caught = changes["catch_up"]
    if caught is not None and caught.isdecimal():
        changes["catch_up"] = int(caught)
    with place.open(create=False) as queue:
        queue.schedules[name].update(by=by, reason=reason, via="cli", **changes)
        _say_state(place, queue, name)


@group.command(
    epilog="Example: eventq schedules backfill report --since 2027-03-01 --until 2027-03-08 --yes"
)
@click.argument("name")
@click.option("--since", type=instant_option, required=True, metavar="INSTANT", help="From here.")
@click.option("--until", type=instant_option, required=True, metavar="INSTANT", help="Before it.")
@click.option("--limit", type=int, default=100, help="Refuse to make more.")
@click.option("--yes", is_flag=True, help="Make them; without it they are only shown.")
@told
@placed
def backfill(
    *,
    place: Place,
    name: str,
    yes: bool,
    by: str,
    reason: str,
    **span: Any,  # noqa: ANN401
) -> None:
    """Make the tasks of past dues; without --yes, show which."""
    with place.open(create=False) as queue:
        schedule = queue.schedules[name]
        if yes:
            made = schedule.backfill(**span, by=by, reason=reason, via="cli")
            rows = [{"schedule": name, "due": task.due, "task": task.number} for task in made]
        else:
            rows = [
                {"schedule": name, "due": due, "task": None}
                for due in schedule.backfill(**span, preview=True)
            ]
    for row in rows:
        if place.as_json:
            say_json(row)
        else:
            say(f"{time_text(row['due'])} {row['task'] or 'would be made'}")


@group.command(epilog="Example: eventq schedules prune jobs:queue --yes")
@click.argument("target", metavar="MODULE:NAME")
@click.option("--yes", is_flag=True, help="Forget them; without it they are only shown.")
@told
@placed
def prune(*, place: Place, target: str, yes: bool, by: str, reason: str) -> None:
    """Forget the schedules that the code of a queue does not define; without --yes, show which."""
    work = load_work(target)
    if not isinstance(work, (Queue, Handlers)):
        misuse(f"{target} is neither a queue nor eventq.Handlers, and defines no schedules")
    collections = [work] if isinstance(work, Handlers) else work._registry.collections  # noqa: SLF001
    with place.open(create=False, handlers=collections) as queue:
        found = queue.schedules.prune(preview=not yes, by=by, reason=reason, via="cli")
    for name in found:
        if place.as_json:
            say_json({"schedule": name, "forgotten": yes})
        else:
            say(f"{visible(name)} {'is forgotten' if yes else 'would be forgotten'}")


@group.command(epilog="Example: eventq schedules drop refresh --by ada")
@click.argument("name")
@told
@placed
def drop(*, place: Place, name: str, by: str, reason: str) -> None:
    """Forget one schedule; a run whose code defines it plans it anew."""
    with place.open(create=False) as queue:
        queue.schedules[name].drop(by=by, reason=reason, via="cli")
        say_done(place, queue, {"dropped": name})


def _say_state(place: Place, queue: Queue, name: str) -> None:
    state = queue.schedules[name].state
    say_record(state, _pairs, as_json=place.as_json)
