"""``bulk`` and ``undo``: change many tasks at once, seen before it is done; and take it back.

Without ``--apply`` nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from eventq.catalog.plan import Applied, Plan
from eventq.catalog.undo_rules import RulePlan
from eventq.cli.ending import end_with_finding, misuse
from eventq.cli.instants import instant_option
from eventq.cli.output import note, progress, say, say_json, say_list, say_table
from eventq.cli.person import told
from eventq.cli.place import Place, catalog_option, placed
from eventq.cli.selecting import selector_of, selector_options
from eventq.cli.text import visible
from eventq.cli.views.bulks import BULKS, RECORDS

SAMPLE = 5
# So many that had moved on are named.
NAMED = 20

Command = Callable[..., Any]


def _applying(command: Command) -> Command:
    """The options of a command that shows a plan first."""
    for option in (
        click.option("--apply", "applies", is_flag=True, help="Do it; else it is only shown."),
        click.option(
            "--require-reason",
            is_flag=True,
            envvar="EVENTQ_REQUIRE_REASON",
            help="Refuse --apply without --reason.",
        ),
        told,
    ):
        command = option(command)
    return command


@click.group(
    "bulk",
    invoke_without_command=True,
    epilog="""\b
Examples:
  eventq bulk retry --state expired --error ConnectionError --since today
  eventq bulk retry --state expired --since today --apply --reason 'DNS is back'
  eventq bulk""",
)
@placed
def group(*, place: Place) -> None:
    """Change many tasks at once; without a command, list such changes."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    with place.open(create=False) as queue:
        found = queue.bulks()
    say_list(found, BULKS, as_json=place.as_json)
    unfinished = [str(each.id) for each in found if not each.is_finished]
    if unfinished:
        note(f"not finished: {', '.join(unfinished)}; see eventq bulk finish")


@group.command()
@catalog_option
@selector_options
@click.option("--rate", metavar="N/DURATION", help="Let no more become ready, like 100/1m.")
@_applying
@placed
def retry(*, place: Place, rate: str | None, **given: Any) -> None:  # noqa: ANN401 - checked there
    """Run scheduled tasks now, and reopen expired and cancelled ones."""
    selector = selector_of(given)
    with place.open(create=False) as queue:
        _go_on(place, queue.select(**selector).retry(rate=rate), given)


@group.command()
@catalog_option
@selector_options
@_applying
@placed
def cancel(*, place: Place, **given: Any) -> None:  # noqa: ANN401 - checked there
    """Cancel open tasks; running attempts are asked to stop."""
    selector = selector_of(given)
    with place.open(create=False) as queue:
        _go_on(place, queue.select(**selector).cancel(), given)


@group.command()
@catalog_option
@selector_options
@click.option("--priority", type=int, help="Their new priority.")
@click.option("--delay", metavar="DURATION", help="Run them this much later than now.")
@click.option(
    "--at", "scheduled_at", type=instant_option, metavar="INSTANT", help="Run them no earlier."
)
@click.option("--to-lane", metavar="LANE", help="Move them to this lane.")
@_applying
@placed
def update(
    *,
    place: Place,
    priority: int | None,
    delay: str | None,
    scheduled_at: datetime | None,
    to_lane: str | None,
    **given: Any,  # noqa: ANN401 - checked there
) -> None:
    """Edit tasks that wait to run."""
    if priority is None and delay is None and scheduled_at is None and to_lane is None:
        misuse("say what to change: --priority, --delay, --at or --to-lane")
    selector = selector_of(given)
    with place.open(create=False) as queue:
        selection = queue.select(**selector)
        plan = selection.update(
            priority=priority, delay=delay, scheduled_at=scheduled_at, lane=to_lane
        )
        _go_on(place, plan, given)


@group.command(epilog="Example: eventq bulk finish 1042")
@click.argument("number", type=int)
@catalog_option
@placed
def finish(*, place: Place, number: int) -> None:
    """Make what is left of a change that broke off; what is done stays so."""
    with place.open(create=False) as queue:
        _say_applied(place, queue.finish_bulk(number))


@click.command(
    epilog="""\b
Examples:
  eventq undo 1042
  eventq undo 1042 --apply --reason 'too early'"""
)
@click.argument("change", type=int, metavar="NUMBER|POSITION")
@_applying
@placed
def undo(*, place: Place, change: int, **given: Any) -> None:  # noqa: ANN401 - as above
    """Take back a change to many tasks, or what one event by hand did.

    What something else has happened to since stays as it is, and is listed.
    """
    with place.open(create=False) as queue:
        _go_on(place, queue.undo(change), given)


def _go_on(place: Place, plan: Plan | RulePlan, given: dict[str, Any]) -> None:
    """Shows a plan, or applies it."""
    by, reason, applies = given["by"], given["reason"], given["applies"]
    if not applies:
        _say_plan(place, plan)
        return
    if given["require_reason"] and not reason:
        misuse("say why: --reason")
    if isinstance(plan, Plan):
        _note_moved(plan)
    if not plan.count:
        note("no such tasks")
        end_with_finding()
    if isinstance(plan, RulePlan):
        _say_applied(place, plan.apply(by=by, reason=reason, via="cli"))
        return
    with progress("changing") as tell:
        done = plan.apply(by=by, reason=reason, via="cli", progress=tell)
    _say_applied(place, done)


def _say_plan(place: Place, plan: Plan | RulePlan) -> None:
    """How many tasks a plan is about, and some of them; nothing is changed."""
    if isinstance(plan, RulePlan):
        answer: dict[str, Any] = {"action": "undo", "count": 1, "undoes": plan.position}
        if place.as_json:
            say_json(answer)
        else:
            say(f"would take back the {plan.undone.kind} event at {plan.position}; --apply does it")
        return
    if place.as_json:
        say_json(
            {
                "action": plan.action,
                "count": plan.count,
                "left_out": plan.left_out,
                "moved_on": len(plan.moved_on),
                "position": plan.position,
                "source": plan.source,
                "sample": [each.key for each in plan.sample(SAMPLE)],
            }
        )
    else:
        tasks = "task" if plan.count == 1 else "tasks"
        say(f"would {plan.action} {plan.count} {tasks}, as of position {plan.position}")
        sample = plan.sample(SAMPLE)
        say_table(RECORDS.titles, [RECORDS.row(each) for each in sample], RECORDS.elastic)
        if plan.left_out:
            note(f"{plan.left_out} more fit, but there is nothing to {plan.action} about them")
        _note_moved(plan)
    if not plan.count:
        note("no such tasks")
        end_with_finding()
    if not place.as_json:
        note("nothing is changed yet; --apply does it, to just these tasks")


def _note_moved(plan: Plan) -> None:
    for each in plan.moved_on[:NAMED]:
        note(f"task {each.number} stays: {visible(each.why)}")


def _say_applied(place: Place, done: Applied) -> None:
    if place.as_json:
        moved_on = [{"task": each.number, "why": each.why} for each in done.moved_on]
        say_json({"id": done.id, "changed": done.changed, "moved_on": moved_on})
        return
    tasks = "task" if done.changed == 1 else "tasks"
    say(f"{done.changed} {tasks} changed; eventq undo {done.id} takes it back")
    for each in done.moved_on[:NAMED]:
        note(f"task {each.number} stays: {visible(each.why)}")
    if len(done.moved_on) > NAMED:
        note(f"{len(done.moved_on) - NAMED} more had moved on")
