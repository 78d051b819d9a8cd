"""``limit``, ``limits`` and ``fair``: how many tasks may run, how often, and whose turn it is."""

from __future__ import annotations

import click

from eventq.cli.ending import misuse
from eventq.cli.output import say_list
from eventq.cli.person import told
from eventq.cli.place import Place, expect_command, placed, say_done
from eventq.cli.views.rules import BUCKETS
from eventq.cli.words import weight_option


@click.group(
    name="limit",
    epilog="""\b
Examples:
  eventq limit set smtp --running 2 --by ada
  eventq limit lift smtp""",
    invoke_without_command=True,
)
@placed
def limit(*, place: Place) -> None:
    """Set or lift a limit by hand; it holds until the code's own definition changes."""
    del place
    expect_command()


@limit.command(name="set", epilog="Example: eventq limit set smtp --running 2 --rate 100/1m")
@click.argument("name")
@click.option("--running", type=int, metavar="N", help="So many at a time.")
@click.option("--rate", metavar="N/DURATION", help="So many in any window, like 100/1m.")
@click.option("--per", metavar="TAG", help="For each value of this tag.")
@told
@placed
def set_(
    *,
    place: Place,
    name: str,
    running: int | None,
    rate: str | None,
    per: str | None,
    by: str,
    reason: str,
) -> None:
    """Bound how many tasks that name a limit run at a time, or begin in a window."""
    if running is None and rate is None:
        misuse("expected --running or --rate; `eventq limit lift` is what leaves no bound")
    with place.open(create=True) as queue:
        queue.set_limit(name, running=running, rate=rate, per=per, by=by, reason=reason, via="cli")
        say_done(place, queue, {"limit": name})


@limit.command(epilog="Example: eventq limit lift smtp --by ada")
@click.argument("name")
@click.option("--per", metavar="TAG", help="The tag that it is counted by, if there is one.")
@told
@placed
def lift(*, place: Place, name: str, per: str | None, by: str, reason: str) -> None:
    """Lift a limit: its tasks run without bound."""
    with place.open(create=False) as queue:
        queue.set_limit(name, per=per, by=by, reason=reason, via="cli")
        say_done(place, queue, {"lifted": name})


@click.command(epilog="Example: eventq limits --json")
@placed
def limits(*, place: Place) -> None:
    """List the buckets of limits: bounds, what is taken, who holds, how many wait."""
    with place.open(create=False) as queue:
        found = queue.limits()
    say_list(found, BUCKETS, as_json=place.as_json)


@click.command(
    epilog="""\b
Examples:
  eventq fair --per tenant --weight big=3
  eventq fair --lift"""
)
@click.option("--per", metavar="TAG", help="The tag whose value is a task's share.")
@weight_option("N turns for one.")
@click.option("--lift", is_flag=True, help="No turns any more.")
@told
@placed
def fair(
    *,
    place: Place,
    per: str | None,
    weights: tuple[tuple[str, int], ...],
    lift: bool,
    by: str,
    reason: str,
) -> None:
    """Have shares take turns among tasks of equal priority, or no more."""
    found = dict(weights)
    with place.open(create=True) as queue:
        queue.set_turns(per=per, weights=found, lifted=lift, by=by, reason=reason, via="cli")
        done = {"lifted": "turns"} if lift else {"per": per, "weights": found}
        say_done(place, queue, done)
