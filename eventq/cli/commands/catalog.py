"""``catalog``: the index of tasks and attempts that may be deleted at any time.

Only prints it; eventq.catalog makes, keeps and asks it.
"""

from __future__ import annotations

from contextlib import closing

import click

from eventq.catalog.catalog import Catalog
from eventq.catalog.following import follow_log
from eventq.catalog.place import catalog_path
from eventq.catalog.store import delete
from eventq.cli.ending import end_with_finding
from eventq.cli.output import note, plain_pairs, progress, say_record
from eventq.cli.place import Place, catalog_option, expect_command, note_if_empty, placed


@click.group(name="catalog", epilog="Example: eventq catalog build", invoke_without_command=True)
@placed
def group(*, place: Place) -> None:
    """Keep an index of all tasks and attempts, which finds any of them in a moment.

    It is a file of its own, made of the log alone: it may be deleted at any time, and built again.
    """
    del place
    expect_command()


@group.command(
    epilog="""\b
Examples:
  eventq catalog build
  eventq catalog build --follow"""
)
@click.option("-f", "--follow", is_flag=True, help="Go on with the log, until Ctrl-C.")
@catalog_option
@placed
def build(*, place: Place, follow: bool) -> None:
    """Make the catalog, or bring it up to the log's end."""
    with place.open_log() as log, closing(Catalog.open(log, place.catalog)) as catalog:
        note_if_empty(log)
        if catalog.rebuilt is not None:
            note(f"{catalog.path}: built anew, since {catalog.rebuilt}")
        with progress("building the catalog") as tell:
            catalog.catch_up(tell)
        say_record(catalog.info(), plain_pairs, as_json=place.as_json)
        if follow:
            follow_log(catalog)


@group.command(epilog="Example: eventq catalog info --json")
@catalog_option
@placed
def info(*, place: Place) -> None:
    """Show how far the catalog has come, and how large it is; exit code 1 without one."""
    with place.open_log() as log, closing(Catalog.open(log, place.catalog)) as catalog:
        if not catalog.is_there:
            why = "there is none" if catalog.rebuilt is None else catalog.rebuilt
            note(f"{catalog.path}: {why}; see: eventq catalog build")
            end_with_finding()
        say_record(catalog.info(), plain_pairs, as_json=place.as_json)


@group.command(epilog="Example: eventq catalog drop")
@catalog_option
@placed
def drop(*, place: Place) -> None:
    """Delete the catalog; the log does not need it."""
    with place.open_log() as log:
        found = catalog_path(log, place.catalog)
        was_there = delete(found)
    done = {"path": found, "dropped": was_there}
    say_record(done, plain_pairs, as_json=place.as_json)
