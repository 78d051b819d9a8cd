"""``relay`` and ``outbox``: rows of the application's database become tasks; what was set aside."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from eventq import EventqError
from eventq.cli.ending import refuse
from eventq.cli.output import Listing, plain_pairs, say_list, say_record
from eventq.cli.place import Place, expect_command, placed
from eventq.cli.text import short
from eventq.contrib.outbox import Outbox
from eventq.errors import shown
from eventq.host.signals import stopping_on_signals

PROBLEM_CHARACTERS = 200
ASIDE = Listing(
    ("KEY", "key"),
    ("NAME", lambda row: row.name or "-"),
    ("MADE AT", lambda row: row.made_at.isoformat()),
    ("PROBLEM", lambda row: short(row.problem or "-", PROBLEM_CHARACTERS)),
    elastic=1,
)


@contextmanager
def _opened(place: Place, database: str, *, makes: bool = False) -> Iterator[Outbox]:
    """The outbox, whose table is there unless the command ``makes`` it.

    What the database's own driver raises is told as refused.
    """
    with place.open(create=True) as queue:
        try:
            with Outbox(queue, database, relay=False) as outbox:
                path = getattr(outbox.place, "path", None)
                if not (makes or path is None or os.path.exists(path)):  # noqa: PTH110 - as typed
                    refuse(f"the outbox's database cannot be used: there is no file {shown(path)}")
                if not makes:
                    outbox.check()
                yield outbox
        except (EventqError, click.ClickException):
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            refuse(f"the outbox's database cannot be used: {type(error).__name__}: {error}")


@click.command(
    epilog="""\b
Examples:
  eventq relay postgresql://shop@localhost/shop
  eventq relay sqlite:///shop.db --once"""
)
@click.argument("database")
@click.option("--once", is_flag=True, help="Relay what is there, and end.")
@placed
def relay(*, place: Place, database: str, once: bool) -> None:
    """Append the rows of an outbox in the application's DATABASE to the log, until a signal."""
    stopped = threading.Event()
    with _opened(place, database) as outbox:
        if once:
            say_record({"relayed": outbox.relay()}, plain_pairs, as_json=place.as_json)
            return
        with stopping_on_signals(stopped.set), outbox.relaying():
            stopped.wait()


@click.group(
    name="outbox",
    epilog="""\b
Examples:
  eventq outbox create postgresql://shop@localhost/shop
  eventq outbox ls sqlite:///shop.db""",
    invoke_without_command=True,
)
@placed
def outbox_group(*, place: Place) -> None:
    """Make an outbox's table, and look after rows that were set aside."""
    del place
    expect_command()


@outbox_group.command(epilog="Example: eventq outbox create sqlite:///shop.db")
@click.argument("database")
@placed
def create(*, place: Place, database: str) -> None:
    """Make the outbox's table in the application's DATABASE, unless it is there."""
    with _opened(place, database, makes=True) as outbox:
        try:
            outbox.create()
        except EventqError:
            raise
        except Exception as error:  # noqa: BLE001 - each driver has errors of its own
            words = f"{type(error).__name__}: {error}"
            refuse(f"the outbox's table cannot be made: {words}")
        say_record({"created": outbox.place.shown}, plain_pairs, as_json=place.as_json)


@outbox_group.command(name="ls", epilog="Example: eventq outbox ls sqlite:///shop.db --json")
@click.argument("database")
@placed
def list_aside(*, place: Place, database: str) -> None:
    """List the rows that were set aside, and why."""
    with _opened(place, database) as outbox:
        found = outbox.aside()
    say_list(found, ASIDE, as_json=place.as_json)


@outbox_group.command(
    name="retry", epilog="Example: eventq outbox retry sqlite:///shop.db outbox:5979adec"
)
@click.argument("database")
@click.argument("key", required=False)
@placed
def retry_row(*, place: Place, database: str, key: str | None) -> None:
    """Have rows that were set aside relayed again: that with a KEY, or all."""
    with _opened(place, database) as outbox:
        say_record({"retried": outbox.retry(key)}, plain_pairs, as_json=place.as_json)
