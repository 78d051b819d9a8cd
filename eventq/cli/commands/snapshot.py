"""``snapshot``: projections kept with the log, so that it need not be replayed from its start.

Only prints them; eventq.snapshot takes, keeps and checks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

from eventq import ArgumentError, SnapshotError, snapshot
from eventq.cli.ending import misuse, refuse
from eventq.cli.output import note, progress, say_json, say_list, say_record
from eventq.cli.place import Place, expect_command, log_time, placed, point_of
from eventq.cli.views.snapshot import (
    ENTRIES,
    VERDICTS,
    difference_fields,
    say_difference,
    snapshot_pairs,
)
from eventq.cli.words import PointCommand, point_option
from eventq.core.projection import Projection
from eventq.eventlog import EventLog
from eventq.replay.points import END
from eventq.snapshot.verifying import stored_sources

_POSITION = re.compile(r"\d{1,19}", re.ASCII)


@click.group(name="snapshot", epilog="Example: eventq snapshot create", invoke_without_command=True)
@placed
def group(*, place: Place) -> None:
    """Keep projections with the log, so that it need not be replayed from its start.

    Nodes write snapshots themselves, and start from the newest. The log does not need them: each
    can be deleted at any time, and made again.
    """
    del place
    expect_command()


@group.command(
    epilog="""\b
Examples:
  eventq snapshot create
  eventq snapshot create --at 2026-11-23T12:00:00Z
  eventq snapshot create --every 100000"""
)
@point_option(
    "--at",
    "point",
    text="Of this point: a position, an instant, a time ago like -2h. [default: end]",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="EVENTS",
    help="One after each EVENTS events, over the whole log.",
)
@placed
def create(*, place: Place, point: str | None, every: int | None) -> None:
    """Take a snapshot and put it into the log's database.

    It is taken at the end of the last commit up to the point.
    """
    if point is not None and every is not None:
        misuse("either --at or --every, not both")
    with place.open_log() as log:
        if every is None:
            found = point_of(log, point or END, "--at")
            one = snapshot.create(log, found, now=log_time(log))
            say_list([one], ENTRIES, as_json=place.as_json)
        else:
            with progress("folding") as tell:
                made = snapshot.create_every(log, every, now=log_time(log), progress=tell)
                say_list(made, ENTRIES, as_json=place.as_json)


@group.command(name="list", epilog="Example: eventq snapshot list --json")
@placed
def list_all(*, place: Place) -> None:
    """List the snapshots in the log's database."""
    with place.open_log() as log:
        entries = log.snapshots.entries()
    say_list(entries, ENTRIES, as_json=place.as_json)
    if not entries:
        note("there are no snapshots")


@group.command(epilog="Example: eventq snapshot show 100000")
@click.argument("source", metavar="SEQ|FILE")
@placed
def show(*, place: Place, source: str) -> None:
    """Show what a snapshot holds: tasks by state, nodes with leases, events by kind.

    One from the log's database is compared with the commit it stands at; a file needs no log.
    """
    if _is_position(source):
        with place.open_log() as log:
            found = snapshot.get(log, int(source))
    else:
        found = _load(source)
    say_record(found, snapshot_pairs, as_json=place.as_json)


@group.command(
    epilog="""\b
Examples:
  eventq snapshot verify
  eventq snapshot verify 100000 kept.snapshot"""
)
@click.argument("sources", metavar="[SEQ|FILE]...", nargs=-1)
@placed
def verify(*, place: Place, sources: tuple[str, ...]) -> None:
    """Prove that snapshots are what the log folds to, by one replay from its first event.

    Without arguments: all in the log's database. Ends with 1 if one is not.
    """
    with place.open_log() as log, progress("replaying") as tell:
        chosen = [_source(log, word) for word in sources] if sources else None
        verdicts = snapshot.verify(log, chosen, progress=tell)
    if verdicts:
        say_list(verdicts, VERDICTS, as_json=place.as_json)
    elif not place.as_json:
        note("there are no snapshots")
    wrong = sum(not verdict.is_proven for verdict in verdicts)
    if wrong:
        refuse(f"{wrong} of {len(verdicts)} are not what the log folds to")


@group.command(
    cls=PointCommand,
    epilog="""\b
Examples:
  eventq snapshot diff 100000 200000
  eventq snapshot diff kept.snapshot end""",
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@placed
def diff(*, place: Place, before: str, after: str) -> None:
    """Show what differs between A and B: tasks by state, open tasks, nodes with leases.

    Each is the position of a snapshot, a file, or any point of the log, which is replayed.
    """
    old, new = _projection(place, before), _projection(place, after)
    difference = snapshot.compare(old, new)
    if place.as_json:
        say_json(difference_fields(difference, old, new))
    else:
        say_difference(difference, old, new)


@group.command(epilog="Example: eventq snapshot export 100000 kept.snapshot")
@click.argument("seq", type=click.IntRange(1))
@click.argument("file")
@placed
def export(*, place: Place, seq: int, file: str) -> None:
    """Write a snapshot of the log's database to a file, and replace one that is there."""
    with place.open_log() as log:
        found = snapshot.get(log, seq)
    size_bytes = snapshot.save(found, file)
    if place.as_json:
        say_json({"seq": found.seq, "file": file, "bytes": size_bytes})
    else:
        note(f"position {found.seq} is in {file}, {size_bytes:,} bytes")


@group.command(
    cls=PointCommand,
    epilog="""\b
Examples:
  eventq snapshot prune --keep 3
  eventq snapshot prune --before -30d""",
)
@click.option("--keep", type=click.IntRange(0), metavar="N", help="All but the newest N.")
@point_option("--before", text="Those before this point.")
@placed
def prune(*, place: Place, keep: int | None, before: str | None) -> None:
    """Delete snapshots from the log's database. The log itself loses nothing."""
    if keep is None and before is None:
        misuse("say which: --keep N or --before POINT")
    with place.open_log() as log:
        seq = None if before is None else point_of(log, before, "--before").seq
        gone = snapshot.prune(log, keep=keep, before=seq)
    say_list(gone, ENTRIES, as_json=place.as_json)
    if not gone:
        note("nothing to delete")


def _is_position(word: str) -> bool:
    return _POSITION.fullmatch(word) is not None


def _file(path: str) -> str:
    """The path of a snapshot's file, which must be there."""
    if not Path(path).exists():
        raise ArgumentError("snapshot", path, "a position, or a file that is there")
    return path


def _load(path: str) -> snapshot.Snapshot:
    try:
        return snapshot.load(_file(path))
    except SnapshotError as error:
        refuse(f"{path}: {error}")


def _source(log: EventLog, word: str) -> tuple[str, Callable[[], snapshot.Snapshot]]:
    if _is_position(word):
        [source] = stored_sources(log, [int(word)])
        return source
    path = _file(word)
    return word, lambda: snapshot.load(path)


def _projection(place: Place, word: str) -> Projection:
    """The projection a word means: of a snapshot, a file, or else a point of the log."""
    if not _is_position(word) and Path(word).is_file():
        return snapshot.restore(_load(word))
    with place.open_log() as log:
        if _is_position(word) and log.snapshots.get(int(word)) is not None:
            return snapshot.restore(snapshot.get(log, int(word)))
        return snapshot.projection_at(log, point_of(log, word, "snapshot"))
