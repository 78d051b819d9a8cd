"""``cancel``, ``retry``, ``repeat`` and ``update``: change a task; the log records who did it.

Only the library decides what is allowed.
"""

from __future__ import annotations

from typing import Any

import click

from eventq import Task
from eventq.cli.ending import misuse
from eventq.cli.instants import instant_option
from eventq.cli.output import note, say, say_json
from eventq.cli.person import told
from eventq.cli.place import Place, existing_task, placed
from eventq.cli.text import time_text, visible
from eventq.cli.words import tags_option


@click.command(epilog="Example: eventq cancel 1042 --reason 'wrong bucket'")
@click.argument("key")
@told
@placed
def cancel(*, place: Place, key: str, by: str, reason: str) -> None:
    """Cancel a task; a running attempt is asked to stop."""
    with place.open(create=False) as queue:
        _answer(place, queue.cancel(key, by=by, reason=reason, via="cli"))


@click.command(epilog="Example: eventq retry 1042")
@click.argument("key")
@told
@placed
def retry(*, place: Place, key: str, by: str, reason: str) -> None:
    """Run a waiting task now, or reopen an expired or cancelled one."""
    with place.open(create=False) as queue:
        before = queue.get(key)
        _answer(place, queue.retry(key, by=by, reason=reason, via="cli"))
        if before is not None and before.state == "ready":
            note("it was ready already: nothing was done, and no reason is kept")


@click.command(epilog="Example: eventq repeat 1042")
@click.argument("key")
@placed
def repeat(*, place: Place, key: str) -> None:
    """Make a new task like one that has ended, without its key."""
    with place.open(create=False) as queue:
        _answer(place, queue.repeat(key))


@click.command(
    epilog="""\b
Examples:
  eventq update 1042 --priority 9 --delay 0s
  eventq update 1042 --lane heavy
  eventq update 1042 --tag width:=800"""
)
@click.argument("key")
@click.option("--priority", type=int, help="Higher runs first.")
@tags_option("Set a tag (NAME:=JSON for other values than text); the others stay.")
@click.option("--clear-tags", is_flag=True, help="Drop the tags that were there first.")
@click.option("--delay", metavar="DURATION", help="Run this much later than now.")
@click.option(
    "--at", "scheduled_at", type=instant_option, metavar="INSTANT", help="Run no earlier."
)
@click.option("--lane", metavar="LANE", help="Move it to this lane.")
@told
@placed
def update(
    *,
    place: Place,
    key: str,
    tags: dict[str, Any],
    clear_tags: bool,
    by: str,
    reason: str,
    **changes: Any,  # noqa: ANN401 - the library checks them
) -> None:
    """Edit a task that is not running."""
    if not (tags or clear_tags) and all(value is None for value in changes.values()):
        misuse("say what to change: --priority, --tag, --clear-tags, --delay, --at or --lane")
    with place.open(create=False) as queue:
        if tags and not clear_tags:
            tags = {**existing_task(queue, key).tags, **tags}
        changes["tags"] = tags if tags or clear_tags else None
        _answer(place, queue.update(key, by=by, reason=reason, via="cli", **changes))


def _answer(place: Place, task: Task) -> None:
    if place.as_json:
        say_json(task)
    else:
        when = f" for {time_text(task.scheduled_at)}" if task.state == "scheduled" else ""
        say(f"{visible(task.key)} is {task.state}{when}, priority {task.priority}")
