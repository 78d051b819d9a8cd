"""``replay``: shows the log as a timeline, or opens the stepper.

Nothing here creates a database or appends an event.
"""

from __future__ import annotations

from typing import Any

import click

from eventq.audit.timeline import Sought, begin_before, timeline
from eventq.cli.ending import misuse
from eventq.cli.output import say_lines
from eventq.cli.place import Place, log_time, note_if_empty, placed, point_of
from eventq.cli.stepper.open import step
from eventq.cli.views.audit import MOMENTS
from eventq.cli.words import point_option, tags_option
from eventq.core.commits import KINDS


@click.command(
    epilog="""\b
Examples:
  eventq replay --from -2h --kind failed --kind refused
  eventq replay --tag kind=video --worker web1-4711-a1b2c3d4
  eventq replay --task 1042 -f
  eventq replay --step --from 1041"""
)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(sorted(KINDS)),
    help="Only these kinds of events; may come several times.",
)
@click.option(
    "--task", "keys", multiple=True, metavar="KEY", help="Only this task; may come several times."
)
@tags_option("Only tasks that have this tag then.")
@click.option("--worker", metavar="NODE", help="Only what this node did, or its leases.")
@point_option("--from", "begin", text="Begin there. [default: the first event]")
@point_option("--to", "end", text="End there. [default: the last event]")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--step", "stepping", is_flag=True, help="Step through it on the full screen.")
@placed
def replay(
    *,
    place: Place,
    kinds: tuple[str, ...],
    keys: tuple[str, ...],
    tags: dict[str, Any],
    worker: str | None,
    begin: str | None,
    end: str | None,
    follow: bool,
    stepping: bool,
) -> None:
    """Show what happened as a timeline: each event, and the time since the previous one shown.

    A POINT is a position like 1041, an instant like 2030-01-31T12:00:00Z, a time ago like -2h, a
    number of events before the end like -500, or end.
    """
    wanted = Sought(frozenset(kinds), frozenset(keys), tags, worker)
    if follow and end is not None:
        misuse("--follow has no end, so it does not go with --to")
    if stepping:
        if wanted != Sought() or end is not None or follow or place.as_json:
            misuse("--step takes --from alone")
        step(place, at=begin)
        return
    with place.open_log() as log:
        note_if_empty(log)
        after = 0
        if begin is not None:
            after = begin_before(log, begin, now=log_time(log), argument="--from")
        until = None if end is None else point_of(log, end, "--to").seq
        if until is not None and until < after:
            misuse(f"--to, position {until}, lies before --from, position {after + 1}")
        moments = timeline(log, after=after, until=until, wanted=wanted, follow=follow)
        say_lines(moments, MOMENTS, as_json=place.as_json, at_once=follow)
