"""``pause``, ``resume`` and ``pauses``: what is not leased for a while, and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import click

from eventq.cli.instants import instant_or_word
from eventq.cli.output import plain_pairs, say_list, say_record
from eventq.cli.person import told
from eventq.cli.place import Place, placed, say_done
from eventq.cli.views.rules import PAUSES
from eventq.cli.words import tags_option

F = Callable[..., Any]


def _scope_options(command: F) -> F:
    """What a pause is about; with none of these, it is everything."""
    for option in (
        tags_option("Tasks with this value of a tag (NAME:=JSON for other values than text)."),
        click.option("--value", metavar="TEXT", help="One bucket of the limit."),
        click.option("--limit", metavar="NAME", help="Tasks of this limit."),
        click.option("--name", metavar="NAME", help="Tasks of this name, or like 'mail.*'."),
        click.option("--lane", metavar="NAME", help="Tasks of this lane."),
    ):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  eventq pause --lane mail --reason 'provider down' --by ada --until 2h
  eventq pause --tag tenant=7"""
)
@_scope_options
@click.option(
    "--until",
    type=instant_or_word,
    metavar="DURATION|INSTANT",
    help="It ends by itself after so long, or then.",
)
@click.option("--cancel-running", is_flag=True, help="Cancel what runs, too.")
@told
@placed
def pause(
    *,
    place: Place,
    tags: dict[str, Any],
    until: datetime | str | None,
    cancel_running: bool,
    by: str,
    reason: str,
    **scope: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """Lease no task of a lane, a name, a limit or a tag's value; without these, no task at all."""
    with place.open(create=True) as queue:
        cancelled = queue.pause(
            until=until,
            cancel_running=cancel_running,
            by=by,
            reason=reason,
            via="cli",
            tags=tags or None,
            **scope,
        )
        seq = queue.log.head().seq
    say_record({"seq": seq, "cancelled": cancelled}, plain_pairs, as_json=place.as_json)


@click.command(epilog="Example: eventq resume --lane mail --by ada")
@_scope_options
@told
@placed
def resume(
    *,
    place: Place,
    tags: dict[str, Any],
    by: str,
    reason: str,
    **scope: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """End a pause, told in the same words as it was begun."""
    with place.open(create=False) as queue:
        queue.resume(by=by, reason=reason, via="cli", tags=tags or None, **scope)
        say_done(place, queue, {})


@click.command(epilog="Example: eventq pauses --json")
@placed
def pauses(*, place: Place) -> None:
    """List what is paused, since when, until when, by whom and why."""
    with place.open(create=False) as queue:
        found = queue.pauses()
    say_list(found, PAUSES, as_json=place.as_json)
