"""``followers``: who follows the log, and how far each has come; and forgetting one."""

from __future__ import annotations

import click

from eventq.cli.output import Listing, say_list
from eventq.cli.person import told
from eventq.cli.place import Place, placed, say_done
from eventq.cli.text import short, time_text
from eventq.cli.views.tasks import ERROR_CHARACTERS, error_text
from eventq.core.durations import brief_duration
from eventq.replay.followers import FollowerState


def _what(follower: FollowerState) -> str:
    kinds = "all kinds" if follower.kinds is None else " ".join(follower.kinds)
    return kinds if follower.names is None else f"{kinds} of {' '.join(follower.names)}"


def _behind(follower: FollowerState) -> str:
    if not follower.lag_events:
        return "0"
    return f"{follower.lag_events}, {brief_duration(follower.lag_us)}"


def _error(follower: FollowerState) -> str:
    if follower.error is None:
        return "-"
    return short(f"{follower.failures} times: {error_text(follower.error)}", ERROR_CHARACTERS)


FOLLOWERS = Listing(
    ("NAME", "name"),
    ("POSITION", "position"),
    ("BEHIND", _behind),
    ("NODE", "worker"),
    ("SEEN AT", lambda follower: time_text(follower.seen_at)),
    ("FAILED", _error),
    ("FOLLOWS", _what),
    elastic=2,
)


@click.group(
    name="followers",
    epilog="""\b
Examples:
  eventq followers --json
  eventq followers drop alerts""",
    invoke_without_command=True,
)
@placed
def group(*, place: Place) -> None:
    """List who follows the log: how far each has come, and how far it is behind."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    with place.open(create=False) as queue:
        found = queue.followers()
    say_list(found, FOLLOWERS, as_json=place.as_json)


@group.command(epilog="Example: eventq followers drop alerts --by ada")
@click.argument("name")
@told
@placed
def drop(*, place: Place, name: str, by: str, reason: str) -> None:
    """Forget a follower: archives wait for it no more.

    One that runs stops there. When its code runs again later, it begins anew.
    """
    with place.open(create=False) as queue:
        queue.drop_follower(name, by=by, reason=reason, via="cli")
        say_done(place, queue, {"dropped": name})
